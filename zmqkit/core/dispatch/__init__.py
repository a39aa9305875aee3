"""What all patterns share: the receiver's memory of the ids of its peers."""
