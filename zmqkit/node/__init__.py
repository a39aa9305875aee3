"""What each process has once: its control connection, discovery's engines, the keeper."""
