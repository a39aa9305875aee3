"""What patterns share: connections, jobs under way, and what a receiver knows of a sender."""
