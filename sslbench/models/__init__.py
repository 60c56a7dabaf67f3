"""The encoders; each file declares one, and `conf/model/` its variants."""
