"""The project's own simulation: real cores in virtual time, on a network driven by a seed."""
