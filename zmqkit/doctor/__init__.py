"""Names the cause of "A cannot see B": facts are gathered first, and pure rules judge them."""
