"""What zmqkit is tested with, for programs that use it too: virtual time, a network that fails."""
