"""`zmqkit serve`: serve the functions of any module, or the methods of an object."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import click

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.cli.loop import on_loop
from zmqkit.cli.output import say, several, tell
from zmqkit.cli.stdin import standard_input
from zmqkit.cli.stopping import Stopping
from zmqkit.cli.target import AnyService, Target, load
from zmqkit.errors import UsageError
from zmqkit.limits import CONCURRENCY_ASYNCIO
from zmqkit.model import Reach, parse_url

DRAIN_S = 10.0


@dataclass(slots=True, frozen=True)
class Options:
    """Options of a service that is made of a target. None leaves the choice to zmqkit."""

    name: str | None
    bind: str | None
    concurrency: int | None
    insecure: bool | None
    idempotent: frozenset[str]

    @property
    def given(self) -> bool:
        """Whether any option is given."""
        return self != Options(None, None, None, None, frozenset())


@click.command("serve", short_help="Serve a module's functions or an object's methods.")
@click.argument("target", metavar="MODULE[:OBJECT]")
@click.option("--name", help="What clients call it; else the module or object gives the name.")
@click.option("--bind", metavar="URL", help="tcp://HOST:PORT; else any free port.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Calls answered at once: 1, or {CONCURRENCY_ASYNCIO} where a function is async.",
)
@click.option(
    "--idempotent",
    "idempotent",
    multiple=True,
    metavar="METHOD",
    help="May run twice, so its calls survive the loss of an instance; repeatable, or `all`.",
)
@click.option("--insecure", is_flag=True, help="Serve other machines too, in plain text.")
@click.option("--until-eof", is_flag=True, help="Stop too when standard input ends.")
def command(
    *,
    target: str,
    name: str | None,
    bind: str | None,
    concurrency: int | None,
    idempotent: tuple[str, ...],
    insecure: bool,
    until_eof: bool,
) -> int:
    """Serve a module's functions, or an object's methods, until SIGINT or SIGTERM.

    MODULE is imported as Python does, from the current directory too. Served are the functions
    in its __all__ or, without one, the public ones that it defines itself. OBJECT is served by
    its public methods; a class is called for an object first, a function is served alone, and a
    zmqkit Service as it stands. Whoever reaches the service may call all of them.

    At the end requests that were taken are finished, for ten seconds at most; a second signal
    ends that too, and a second SIGINT with exit code 130.

    \b
    zmqkit serve math
    zmqkit serve shop:catalogue --name orders --idempotent price
    """
    if until_eof:
        standard_input()
    options = Options(name, bind, concurrency, insecure or None, frozenset(idempotent))
    made = build(load(target), options)
    with Stopping(made):
        if isinstance(made, zmqkit.Service):
            unanswered = _serve_blocking(made, until_eof=until_eof)
        else:
            unanswered = on_loop(_serve_asyncio(made, until_eof=until_eof))
    if unanswered:
        tell(f"{several(unanswered, 'request')} left unanswered")
    return 1 if unanswered else 0


def build(target: Target, options: Options) -> AnyService:
    """Return the service of a target.

    It runs on an event loop if one of the target's functions needs that, and blocks otherwise.
    """
    if target.service is not None:
        if options.given:
            raise UsageError(f"{target.name!r} is a Service; set its options where it is made")
        return target.service
    _check_idempotent(target, options.idempotent)
    name = options.name or target.name
    if not target.waits:
        blocking = zmqkit.Service(
            name,
            bind=options.bind,
            concurrency=options.concurrency or 1,
            insecure=options.insecure,
        )
        for method, function in target.methods.items():
            twice = bool(options.idempotent & {method, "all"})
            blocking.handler(function, name=method, idempotent=twice)
        return blocking
    waiting = zmqkit_asyncio.Service(
        name,
        bind=options.bind,
        concurrency=options.concurrency or CONCURRENCY_ASYNCIO,
        insecure=options.insecure,
    )
    for method, function in target.methods.items():
        plain = not asyncio.iscoroutinefunction(function)
        twice = bool(options.idempotent & {method, "all"})
        waiting.handler(function, name=method, idempotent=twice, thread=plain)
    return waiting


def _check_idempotent(target: Target, names: frozenset[str]) -> None:
    unknown = names - target.methods.keys() - {"all"}
    if unknown:
        raise UsageError(f"--idempotent {min(unknown)}: {target.name!r} has no such method")


def _serve_blocking(service: zmqkit.Service, *, until_eof: bool) -> int:
    """Serve in this thread until told to stop.

    Return how many requests were left unanswered.
    """
    service.start()
    if until_eof:
        at_eof(service.stop)
    say(where(service.name, service.endpoint, service.reach))
    service.serve()
    return service.close(DRAIN_S)


async def _serve_asyncio(service: zmqkit_asyncio.Service, *, until_eof: bool) -> int:
    """Serve on this loop until told to stop. Return how many requests were left unanswered."""
    await service.start()
    if until_eof:
        at_eof(service.stop)
    say(where(service.name, service.endpoint, service.reach))
    await service.serve()
    return await service.close(DRAIN_S)


def where(name: str, endpoint: str, reach: Reach) -> str:
    """Return the line that says where a service listens, and how to open it to others."""
    # ZeroMQ writes an IPv4 address as one mapped into IPv6. People write it plainly.
    endpoint = re.sub(r"\[::ffff:([\d.]+)\]", r"\1", endpoint)
    line = f"serving {name!r} at {endpoint}"
    url = parse_url(endpoint)
    if url.scheme == "memory":
        return f"{line}, inside this process only"
    if url.reach > Reach.LOCAL:
        return f"{line}, open to the network in plain text"
    if reach > Reach.LOCAL:
        return (
            f"{line}, open to the network in plain text as soon as this machine has an "
            "address there"
        )
    return f"{line}, this machine only; --insecure opens it to the network in plain text"


def at_eof(stop: Callable[[], None]) -> None:
    """Call `stop` when standard input ends.

    Standard input also ends when the process that feeds it dies.
    """
    descriptor = standard_input().fileno()

    def read() -> None:
        # A read through sys.stdin would hold its lock while the interpreter shuts down.
        while os.read(descriptor, 4096):
            pass
        stop()

    threading.Thread(target=read, name="until-eof", daemon=True).start()
