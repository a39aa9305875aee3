"""When a use that stalls a program is warned of."""

LOOP_HELD_S = 0.1
"""For how long a plain handler may hold an event loop."""

OTHERS_S = 0.2
"""How long a call to one's own only place waits to hear of another instance."""
