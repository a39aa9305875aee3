"""The blocking service: handlers in the thread that serves, or in a pool."""

from __future__ import annotations

from zmqkit.blocking.serving import Serving
from zmqkit.core.calls.service import ServiceCore
from zmqkit.roles.handlers import Handlers, Registers, check_concurrency, check_imported
from zmqkit.roles.scheme import Binding


class Service(Registers, Serving):
    """Answers calls to a name, in the thread that is inside `serve`.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers run at once; above 1 they run in a pool of
    threads. insecure: be reachable from other machines, in plain text. advertise: the address
    that other machines are told, for containers. Raises UsageError or ConfigError for a wrong
    value. Clients can find the service once it is opened: by its `with` block, or else by
    `start` or `serve`. Add the handlers before that.
    """

    _kind = "zmqkit.Service"

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
        handlers = Handlers(plain=True)
        core = ServiceCore(
            place.incarnation, handlers.idempotent, concurrency, handlers.streams
        )
        super().__init__("service", place, core, handlers, concurrency)

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
