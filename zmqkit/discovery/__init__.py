"""How processes find each other: hints of who is where, never proof that anybody lives."""
