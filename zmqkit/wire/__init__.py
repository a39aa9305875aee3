"""Bytes on the network: pure functions from values to frames and back."""
