"""The blocking service: handlers in the thread that serves, or in a pool."""

from __future__ import annotations

from zmqkit.blocking.serving import Serving
from zmqkit.limits import DRAIN_S
from zmqkit.roles.foreign import service_place
from zmqkit.roles.handlers import Handlers, Registers, check_concurrency, check_imported
from zmqkit.roles.serving import AnswersVia, service_core


class Service(Registers, AnswersVia, Serving):
    """Answers calls to a name, in the thread that is inside `serve`.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. via: the name of brokers or routers, or the address of one; it then listens
    nowhere, and answers through all of them, also those that come later. concurrency: how many
    handlers run at once; above 1 they run in a pool of threads. insecure: be reachable from
    other machines, in plain text. advertise: the address that other machines are told, for
    containers. protocol: "mdp1" or "mdp2" if the broker at the URL `via` speaks RFC 7 or RFC 18
    alone; it asks for the method `mdp`. space: the space that it is in, in place of that of
    ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts. Raises
    UsageError or ConfigError for a wrong value. Clients can find the service once it is opened:
    by its `with` block, or else by `start` or `serve`. Add the handlers before that.
    """

    _kind = "zmqkit.Service"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        via: str | None = None,
        concurrency: int = 1,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        protocol: str | None = None,
    ) -> None:
        check_concurrency(concurrency)
        place = service_place(
            name, bind, via, advertise, protocol=protocol, insecure=insecure, space=space
        )
        handlers = Handlers(plain=True)
        core = service_core(place, handlers, concurrency, protocol)
        super().__init__("service", place, core, handlers, concurrency, statistics=statistics)

    def start(self) -> None:
        """Listen and announce the service, unless that was done already.

        Requests wait until a thread serves. Raises AddressTaken when the address is in use.
        """
        self._life.open()

    def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`.

        Only one thread may serve at a time; UsageError while another thread does.
        """
        check_imported("serve")
        self._serve(timeout_s)

    def run(self, *, drain_s: float = DRAIN_S) -> int:
        """Serve until SIGTERM or SIGINT, finish what was taken, close; return the exit code.

        For the end of a program: `sys.exit(service.run())`. `stop` ends it, too. drain_s: how
        long the end may take. The code is 0, or 1 if requests were left unanswered then. A
        handler that goes on in a thread, or holds the main thread, ends with the process. A
        second signal ends the process at once: with 130 after SIGINT, else as SIGTERM does.
        Raises the errors of `start`, and UsageError outside the main thread.
        """
        return self._run("request", drain_s, self.serve)
