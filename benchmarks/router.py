"""Calls through a router, against a proxy in C and against the same calls without a router.

Client, router and service are three processes; the client is given the router's address. What
is measured is calls per second with `--window` of them in flight, or with `--alone` the median
time of one call at a time. Beside the window stand raw DEALER peers with libzmq's own
ROUTER-DEALER proxy in C, which knows no services, names, losses or limits.
"""

from __future__ import annotations

import argparse

import calls_window
import figures
import majordomo
import paired
import streamer
from figures import Message, Reference
from paired import Family, Parent, unique_name


def router(parent: Parent, config: Message) -> None:
    from zmqkit.device.router import Router

    with Router(unique_name(), names=[config["name"]]) as device:
        parent.on_end = device.stop
        parent.send(address=f"{device.endpoint}/{config['name']}")
        device.run()


def main() -> None:
    options = arguments().parse_args()
    config = {
        "window": options.window, "seconds": options.seconds, "calls": max(4, options.calls),
        "multipart": True, "handlers": "plain", "loop": "asyncio",
    }  # fmt: skip
    kind = "alone" if options.alone else "ours"

    def sample(*, routed: bool) -> Message:
        """One sample of two fresh processes, or of three."""
        with Family(options.pin) as family:
            name = unique_name()
            shared = {**config, "name": name, "address": name}
            shared |= family.start(f"{kind}_server", **shared).receive()
            if routed:
                shared |= family.start("router", **shared).receive()
            return family.start(f"{kind}_client", **shared).receive()

    def direct() -> Message:
        return sample(routed=False)

    if options.alone:
        caption, sign = "call through a router, p50, blocking", "<="
        figure = figures.Figure("router_alone", caption, "µs", sign)
        references = [Reference("the same without a router", direct, 2.0)]
    else:
        caption = f"calls through a router, {options.window} in flight"
        figure = figures.Figure("router", caption, "calls/s", ">=")
        references = [
            Reference(
                "raw peers, libzmq's proxy in C",
                lambda: streamer.proxied(options.pin, config),
                0.8,
            ),
            Reference("the same without a router", direct, 0.3),
        ]
    figures.compare(figure, lambda: sample(routed=True), references, options)


def arguments() -> argparse.ArgumentParser:
    """What may be chosen."""
    parser = figures.arguments(__doc__)
    parser.add_argument("--alone", action="store_true", help="one call at a time")
    parser.add_argument("--window", type=figures.positive, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument(
        "--calls", type=figures.positive, default=2000, help="with --alone; default %(default)s"
    )
    figures.add_pin(parser)
    return parser


PARTS = {
    "router": router,
    "ours_server": calls_window.ours_server,
    "ours_client": calls_window.ours_client,
    "alone_server": majordomo.own_worker,
    "alone_client": majordomo.own_client,
    "raw_server": calls_window.raw_server,
    "raw_client": calls_window.raw_client,
    "raw_proxy": streamer.raw_proxy,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
