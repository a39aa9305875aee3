"""What `zmqkit bench` runs: loads, the other side of a pair, and raw pyzmq beside them."""
