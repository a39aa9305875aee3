"""How processes find each other: hints of where a process is, never proof that it is alive."""
