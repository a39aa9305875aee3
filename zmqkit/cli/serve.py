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
from zmqkit.cli.manners import Attended, manners, manners_of
from zmqkit.cli.pulse import LoopPulse, RolePulse
from zmqkit.cli.stdin import standard_input
from zmqkit.cli.stopping import UNFINISHED
from zmqkit.cli.target import AnyService, Target, load
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.errors import UsageError
from zmqkit.limits import CONCURRENCY_ASYNCIO
from zmqkit.model import Reach, parse_url
from zmqkit.roles.foreign import PROTOCOLS


@dataclass(slots=True, frozen=True)
class Options:
    """Options of a service that is made of a target. None leaves the choice to zmqkit."""

    name: str | None
    bind: str | None
    via: str | None
    protocol: str | None
    concurrency: int | None
    insecure: bool | None
    idempotent: frozenset[str]

    @property
    def given(self) -> bool:
        """Whether any option is given."""
        return self != Options(None, None, None, None, None, None, frozenset())


@click.command("serve", short_help="Serve a module's functions or an object's methods.")
@click.argument("target", metavar="MODULE[:OBJECT]")
@click.option("--name", help="What clients call it; else the module or object gives the name.")
@click.option("--bind", metavar="URL", help="tcp://HOST:PORT; else any free port.")
@click.option(
    "--via",
    metavar="NAME|URL",
    help="Answer through brokers or routers of this name, or the one there; listen nowhere.",
)
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    help="The broker at the URL speaks RFC 7 or RFC 18 alone.",
)
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
@manners
def command(
    *,
    target: str,
    name: str | None,
    bind: str | None,
    via: str | None,
    protocol: str | None,
    concurrency: int | None,
    idempotent: tuple[str, ...],
    insecure: bool,
    until_eof: bool,
    drain_s: float | None,
    health: str | None,
) -> int:
    """Serve a module's functions, or an object's methods, until SIGINT or SIGTERM.

    MODULE is imported as Python does, from the current directory too, or is the path of a file.
    Served are the functions in its __all__ or, without one, the public ones that it defines
    itself. OBJECT is served by its public methods; a class is called for an object first, a
    function is served alone, and a zmqkit Service as it stands. Whoever reaches the service may
    call all of them.

    At the end requests that were taken are finished, for ten seconds at most or as long as
    --drain says; a second signal ends that too, and a second SIGINT with exit code 130.

    With --protocol the broker asks for the method mdp; a target with one function need not call
    it so.

    \b
    zmqkit serve math
    zmqkit serve tools/shop.py --name orders
    zmqkit serve shop:catalogue --name orders --idempotent price
    zmqkit serve shop --via majordomo
    zmqkit serve shop:echo --via tcp://10.0.0.5:5555 --protocol mdp1
    """
    if until_eof:
        standard_input()
    options = Options(
        name, bind, via, protocol, concurrency, insecure or None, frozenset(idempotent)
    )
    wanted = manners_of(drain_s, health, insecure=insecure)
    made = build(load(target), options)
    close = made.close if isinstance(made, zmqkit.Service) else None
    with Attended(wanted, "service", made.name, service=made, close=close) as attended:
        if isinstance(made, zmqkit.Service):
            return _serve_blocking(made, attended, until_eof=until_eof)
        return on_loop(_serve_asyncio(made, attended, until_eof=until_eof))


def build(target: Target, options: Options) -> AnyService:
    """Return the service of a target.

    It runs on an event loop if one of the target's functions needs that, and blocks otherwise.
    """
    if target.service is not None:
        if options.given:
            raise UsageError(f"{target.name!r} is a Service; set its options where it is made")
        return target.service
    _check_idempotent(target, options.idempotent)
    name, methods = options.name or target.name, target.methods
    if options.protocol is not None and len(methods) == 1:
        [function] = methods.values()
        methods = {MDP: function}
    if not target.waits:
        blocking = zmqkit.Service(
            name,
            bind=options.bind,
            via=options.via,
            protocol=options.protocol,
            concurrency=options.concurrency or 1,
            insecure=options.insecure,
        )
        for method, function in methods.items():
            twice = bool(options.idempotent & {method, "all"})
            blocking.handler(function, name=method, idempotent=twice)
        return blocking
    waiting = zmqkit_asyncio.Service(
        name,
        bind=options.bind,
        via=options.via,
        protocol=options.protocol,
        concurrency=options.concurrency or CONCURRENCY_ASYNCIO,
        insecure=options.insecure,
    )
    for method, function in methods.items():
        plain = not asyncio.iscoroutinefunction(function)
        twice = bool(options.idempotent & {method, "all"})
        waiting.handler(function, name=method, idempotent=twice, thread=plain)
    return waiting


def _check_idempotent(target: Target, names: frozenset[str]) -> None:
    unknown = names - target.methods.keys() - {"all"}
    if unknown:
        raise UsageError(f"--idempotent {min(unknown)}: {target.name!r} has no such method")


def _serve_blocking(service: zmqkit.Service, attended: Attended, *, until_eof: bool) -> int:
    """Serve in this thread until told to stop; return the exit code."""
    service.start()
    if until_eof:
        at_eof(attended.stop)
    attended.ready(_where(service), RolePulse(service, service.stats))
    service.serve()
    return attended.ended(service.close(attended.closing()), UNFINISHED)


async def _serve_asyncio(
    service: zmqkit_asyncio.Service, attended: Attended, *, until_eof: bool
) -> int:
    """Serve on this loop until told to stop; return the exit code."""
    await service.start()
    if until_eof:
        at_eof(attended.stop)
    attended.ready(_where(service), LoopPulse(asyncio.get_running_loop(), service.stats))
    await service.serve()
    return attended.ended(await service.close(attended.closing()), UNFINISHED)


def _where(service: AnyService) -> str:
    """Return the line that says where a service is called."""
    if service.via:
        return f"serving {service.name!r} through {service.via!r}"
    return where(service.name, service.endpoint, service.reach)


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
