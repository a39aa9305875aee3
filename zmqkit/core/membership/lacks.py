"""Which wanted names have no instance that answers, and when discovery asks anew for them.

Theory of operation. Each instance announces itself, and where announcements arrive, nobody has
to ask. They do not arrive where a firewall of this machine drops what comes in at UDP port
5353, the port of multicast DNS. Such a machine is deaf: it hears only the answers to questions
that left from other ports, since these come back there. So while a name lacks an instance,
discovery asks from a port of its own: at the next look, then after ASK_S, and after twice as
long each time up to ASK_S_MAX. While no name lacks an instance, discovery does not ask in this
way. Only a machine that is known to be deaf does: every DEAF_S, for instances beside those that
it has.

Among more than LEVEL_PEERS all pauses are longer, in proportion: each of them may answer.
"""

from __future__ import annotations

from math import inf

from zmqkit.core.effects import Ask, Effect
from zmqkit.core.membership.interests import EVERYBODY, Interests
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life
from zmqkit.core.membership.neighbours import Neighbours
from zmqkit.limits import LEVEL_PEERS
from zmqkit.model import Reach

ASK_S = 1.0
"""The pause between two looks, and between the first two questions for a name."""
ASK_S_MAX = 5.0
"""The longest pause between two questions for a name."""
DEAF_S = 30.0
"""The pause between two questions of a deaf machine that lacks nothing."""


class Lacks:
    """Looks every ASK_S whether a wanted name lacks an instance, and asks while one does."""

    def __init__(self, known: KnownRoles, interests: Interests, neighbours: Neighbours) -> None:
        self._known = known
        self._interests = interests
        self._neighbours = neighbours
        # The reaches within which announcements do not arrive here.
        self.deaf: set[Reach] = set()
        self.due_at = inf  # when `tick` is due next
        self._lacking: set[str] = set()
        self._pause_s = ASK_S
        self._asked_at = -inf
        self._asks: list[Effect] = []

    def wake(self, now: float) -> None:
        """Look after ASK_S, because there is a new want; discovery asks once as it starts."""
        self.due_at = min(self.due_at, now + ASK_S)

    def tick(self, now: float) -> None:
        """Look whether a name lacks an instance, if it is time to; `flush` asks if one does."""
        if now < self.due_at:
            return
        if not self._interests:
            self.due_at, self._lacking = inf, set()
            return
        slower = max(1.0, len(self._known.by_role) / LEVEL_PEERS)
        lacking = self._look()
        is_new = not lacking.keys() <= self._lacking
        self._lacking = {*lacking}
        self._pause_s = min(2 * self._pause_s, ASK_S_MAX) if lacking and not is_new else ASK_S
        self.due_at = now + self._pause_s * slower
        reaches = [*lacking.values()]
        if now >= self._asked_at + DEAF_S * slower:
            reaches += self.deaf
        if reaches:
            self._asked_at = now
            self._asks = [Ask(max(reaches))]

    def flush(self) -> list[Effect]:
        """Ask, if the last look showed that it is of use."""
        asks, self._asks = self._asks, []
        return asks

    def _look(self) -> dict[str, Reach]:
        """Return the names that lack an instance, and the furthest reach of each want."""
        served = {
            key
            for neighbour in self._neighbours.values()
            if neighbour.life is Life.ALIVE and not neighbour.silent
            for _, key in neighbour.told
        }
        pairs = self._interests.pairs()  # the furthest reach of a key comes last
        names = [pair for pair in pairs if pair[0] != EVERYBODY and "://" not in pair[0]]
        return {key: reach for key, reach in names if key not in served}
