"""A service of the demo: counts words for a broker's clients until its standard input ends."""

from __future__ import annotations

import logging
import sys

from zmqkit.blocking.service import Service
from zmqkit.demo.words import count
from zmqkit.demo.worker import stop_at_eof


def main() -> None:
    """Serve under the name that the command line gives, through the brokers of that name."""
    # The broker is killed. On a busy machine it is away for so long that a service warns of it.
    logging.getLogger("zmqkit").setLevel(logging.ERROR)
    with Service(sys.argv[1], via=sys.argv[1]) as service:
        service.handler(count, idempotent=True)
        stop_at_eof(service.stop)
        service.serve()


if __name__ == "__main__":
    main()
