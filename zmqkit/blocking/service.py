"""The blocking service: handlers in the thread that serves, or in a pool."""

from __future__ import annotations

from zmqkit.blocking.role import Life, Role
from zmqkit.blocking.runner import Runner
from zmqkit.core.calls.service import ServiceCore
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.handlers import Handlers, Registers, check_concurrency, end_of
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding


class Service(Registers, BoundShown, Role):
    """Answers calls to a name, in the thread that is inside `serve`.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers run at once; above 1 they run in a pool of
    threads. insecure: be reachable from other machines, in plain text. advertise: the address
    that other machines are told, for containers. Raises UsageError or ConfigError for a wrong
    value. Clients can find the service once it is opened: by its `with` block, or else by
    `start` or `serve`. Add the handlers before that.
    """

    _kind = "zmqkit.Service"
    _life: Life[Binding]

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        concurrency: int = 1,
        insecure: bool | None = None,
        advertise: str | None = None,
    ) -> None:
        check_concurrency(concurrency)
        place = Binding("service", name, bind, advertise, insecure=insecure)
        handlers = self._handlers = Handlers(plain=True)
        core = self._core = ServiceCore(
            place.incarnation, handlers.idempotent, concurrency, handlers.streams
        )
        threads = concurrency if concurrency > 1 else 0
        runner = self._runner = Runner(core, handlers, threads, f"zmqkit-{name}")
        self._life = Life(
            Plan(
                f"service {name!r}",
                place,
                core,
                runner.hooks(),
                about=core.about,
                opened=runner.begin,
            )
        )

    def start(self) -> None:
        """Listen and announce the service, unless that was done already.

        Requests wait until a thread serves. Raises AddressTaken when the address is in use.
        """
        self._life.open()

    def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`.

        Only one thread may serve at a time; UsageError while another thread does.
        """
        until = end_of(timeout_s)
        self._life.open()
        self._runner.serve(until)

    def stop(self) -> None:
        """Have `serve` return after the request at hand; any thread may call this."""
        self._runner.stopping = True
        self._life.wake()

    def stats(self) -> dict[str, object]:
        """Return the counters.

        Always accepted = delivered + failed + expired + dropped + in flight.
        """
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish the accepted ones within `timeout_s`, then close.

        Returns how many accepted requests were left unanswered.
        """
        core, runner = self._core, self._runner
        return self._life.close(
            timeout_s,
            lambda: core.in_flight,
            core.close,
            leave=lambda now: core.leave(),
            drain=runner.drain,
            linger_s=lambda left_s: max(LEAVE_S, left_s if core.owes else 0.0),
            over=lambda unanswered: runner.close(wait=not unanswered),
            says="with {} unanswered".format,
        )
