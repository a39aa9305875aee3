"""Publish-subscribe: publishers, their audience, subscribers and their inbox."""
