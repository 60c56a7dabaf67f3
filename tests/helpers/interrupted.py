"""A part whose import is interrupted by Ctrl-C."""

raise KeyboardInterrupt
