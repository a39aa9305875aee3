"""One call on its way, from submission to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmqkit.core.instance import Instance


@dataclass(slots=True, eq=False)
class Call:
    """One call from submission to its end.

    slots: where the wheel keeps its deadlines. attempts: how many further instances it may try.
    copies: packets with it that the link of its present instance took. exposed: an earlier
    instance may have run it. epoch: the ping token that was current when it was last sent.
    refused_by: the instances that refused it.
    """

    sequence: int
    method: str
    body: bytes
    raw: bytes | None
    deadline_at: float
    give_up_at: float
    priority: int
    attempts: int
    oneway: bool
    waiter: object
    instance: Instance | None = None
    slots: tuple[dict[int, None], ...] = ()
    copies: int = 0
    exposed: bool = False
    epoch: int = 0
    refused_by: tuple[int, ...] = ()

    @property
    def may_have_run(self) -> bool:
        """False only if no packet with the call can have reached a handler."""
        return self.copies > 0 or self.exposed
