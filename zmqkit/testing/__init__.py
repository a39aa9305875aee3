"""What zmqkit is tested with, and programs that use it may be: virtual time, a bad network."""
