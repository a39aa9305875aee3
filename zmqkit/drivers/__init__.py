"""Drivers perform the effects of cores on links and handlers, and feed the results back."""
