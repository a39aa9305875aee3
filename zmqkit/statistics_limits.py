"""The limits of the statistics that a process keeps and tells, with their units."""

from __future__ import annotations

PARTS_MAX = 100
"""The methods, topics or services of a role that have a row each; the others share one."""
LOOKED_S = 75.0
"""For how long a forwarder or bridge counts by topic after somebody asked. `zmqkit top` asks
each second; a scraper once a minute, as a rule, and it may be late."""
STATISTICS_BYTES = 60 << 10
"""How many bytes of rows one answer has; the row that goes beyond this is its last."""
STATISTICS_BYTES_MAX = 64 << 10
"""How long an answer is at most."""
PART_CHARS_MAX = 200
"""How much is told of the name of a method, a topic or a service."""
TALKS_MAX = 100
"""Of how many peers a role tells their numbers."""
WORDS_MAX = 50
"""How many reasons, or states, a row tells of."""
GLANCE_S = 0.01
"""How long an answer waits at most for the lock of a role."""
GLANCES = 5
"""How often a role on an event loop is asked that changes while it is asked."""
PAGES_MAX = 1000
"""How many answers a process may need for all of its rows; what follows is not asked for."""
UNHEARD_S = 4.5
"""How long a process may say nothing on the control connection until its clients count no more:
as long as such a connection takes to break, and to be given up by the other side."""
