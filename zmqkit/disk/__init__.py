"""What outlives the process: the journal of tasks, a file on this machine's disk."""
