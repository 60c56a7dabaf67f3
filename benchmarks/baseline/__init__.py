"""What sslbench is measured against."""
