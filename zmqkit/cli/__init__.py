"""The command line: one file for each group of commands, the rest of zmqkit beneath it."""
