"""Request-reply: a client's calls, a service's work, and streams of many values."""
