"""The blocking roles: verbs wait in the calling thread, and any thread may call them."""
