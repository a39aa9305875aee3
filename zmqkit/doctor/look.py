"""Gathers all facts: what the system says, what discovery hears, and what answers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from ipaddress import ip_interface
from pathlib import Path

from zmqkit.doctor import machine as system
from zmqkit.doctor import multicast
from zmqkit.doctor.ask import Asker
from zmqkit.doctor.facts import (
    FORBIDDEN,
    SPARE_MIN,
    UNHEARD,
    Asked,
    Facts,
    Instance,
    Machine,
    Outcome,
    Program,
    Side,
)
from zmqkit.doctor.firewall import Packet, culprits
from zmqkit.doctor.heard import LAN, LOOPBACK, Discovery, Heard
from zmqkit.environment import Environment, check_reach, read_environment, read_peers
from zmqkit.errors import ConfigError
from zmqkit.limits import PEERS_BYTES_MAX
from zmqkit.model import LOOPBACK as LOOPBACK_HOST
from zmqkit.model import Address, Reach, Record, Url, kind_of, kinds_of, parse_url, reach_of
from zmqkit.roles.queues import entries

WAIT_S = 1.0
PROCESSES_MAX = 64
"""How many processes are asked whether they answer."""
ADDRESSES_MAX = 4
_GOODBYE_S = 0.1
_ANSWERING = {"service", "worker", "majordomo"}
"""Kinds of roles whose own port answers a HELLO."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Request:
    """What the user wants to know."""

    name: str = ""
    role: str = ""
    url: Url | None = None
    insecure: bool = False
    wait_s: float = WAIT_S
    environ: Mapping[str, str] = field(default_factory=dict)


async def gather(request: Request) -> Facts:
    """Return the facts. It connects to other machines only if `insecure` allows that.

    Raises ConfigError for a URL that is further away than this side may go.
    """
    side, environment = side_of(request)
    if request.url is not None:
        check_reach(request.url.host, request.url.endpoint, environment.reach())
    machine = await machine_of()
    left = machine.descriptors
    if left is not None and left.spare < SPARE_MIN:
        return Facts(machine=machine, side=side, name=request.name, role=request.role)
    async with AsyncExitStack() as ends:
        discovery = Discovery(side.space)
        if not machine.port_error:
            ends.push_async_callback(discovery.close)
            await discovery.open()
        asker = ends.enter_context(Asker())
        machine, running, listened_s = await asyncio.gather(
            heard_itself(machine),
            programs(asker),
            discovery.listen(request.name, request.wait_s),
        )
        machine = replace(machine, programs=tuple(running))
        peers = [parse_url(f"tcp://{each}") for each in side.peers]
        reachable = [each for each in peers if each.reach <= environment.reach()]
        urls = reachable + ([] if request.url is None else [request.url])
        asked = await asyncio.gather(*(asker.ask(Address(u.host, u.port)) for u in urls))
        found = instances_of(request.name, discovery, machine)
        instances = await answered(found, side, asker)
        if request.name and not instances and not side.error:
            instances = await unannounced(request.name, environment.reach(), machine)
    return Facts(
        machine=machine,
        side=replace(side, asked=tuple(asked[: len(reachable)])),
        name=request.name,
        role=request.role,
        listened_s=0.0 if machine.port_error else round(listened_s, 1),
        instances=tuple(instances),
        names=names_as(request.role, (each.record for each in discovery.named(""))),
        apart=tuple(discovery.apart(request.name)),
        unreadable=tuple(discovery.unreadable.values()),
        elsewhere=tuple(discovery.elsewhere.values()),
        at_url=None if request.url is None else asked[-1],
    )


# This side


def side_of(request: Request) -> tuple[Side, Environment]:
    """Return how this side is set up, and its environment as far as it can be used."""
    try:
        environment = read_environment(request.environ)
        peers = (*environment.peers, *_peers_of(environment.peers_file))
    except ConfigError as error:
        environment = Environment(insecure=request.insecure)
        side = Side(error=str(error), insecure=request.insecure, packages=packages())
        return side, environment
    insecure = request.insecure or environment.insecure
    environment = replace(environment, insecure=insecure)
    side = Side(
        insecure=insecure,
        space=environment.space,
        ports=environment.ports,
        peers=tuple(dict.fromkeys(peers)),
        packages=packages(),
    )
    return side, environment


def _peers_of(path: str) -> tuple[str, ...]:
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8") as file:
            return read_peers(file.read(PEERS_BYTES_MAX), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"ZMQKIT_PEERS_FILE: cannot read {path!r}: {error}") from error


def packages() -> tuple[tuple[str, str], ...]:
    """Return the versions of zmqkit and of what it stands on."""
    found = []
    for name in ("zmqkit", "pyzmq", "zeroconf"):
        with suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    return tuple(found)


# This machine


async def machine_of() -> Machine:
    """Return what the system says of this machine."""
    found = system.interfaces()
    error = multicast.port_error()
    sockets = system.listeners()
    journals = await asyncio.to_thread(journals_here)
    return Machine(
        interfaces=tuple(found),
        outward=system.outward(found),
        port_error=error,
        port_holders=system.holders(system.MDNS_PORT) if error else (),
        listening=frozenset(each.port for each in sockets),
        descriptors=system.descriptors(),
        disks=tuple(system.disks(journals)),
    )


def journals_here() -> list[Path]:
    """Return the journals of this user's queues that run on this machine."""
    with suppress(ConfigError, OSError):
        if not entries():
            return []
        from zmqkit.roles.asking import running  # it takes a moment, and most need it not

        files = [answer.get("journal") for _, answer in running()]
        return [Path(str(each)) for each in files if each]
    return []


async def heard_itself(machine: Machine) -> Machine:
    """Return the machine with what became of a packet that each interface sent to itself."""
    if machine.port_error:
        return machine
    tried = multicast.usable(machine.interfaces)
    numbers = [secrets.token_hex(8) for _ in tried]
    echoes = await asyncio.gather(*map(multicast.echo, tried, numbers))
    told = {each.name: echo for each, echo in zip(tried, echoes, strict=True)}
    dropped = {n: e for n, e in told.items() if e == UNHEARD or FORBIDDEN in e}
    packets = [
        Packet(
            protocol="udp", port=system.MDNS_PORT, interface=name,
            hook="output" if FORBIDDEN in echo else "input",
        )
        for name, echo in dropped.items()
    ]  # fmt: skip
    return replace(
        machine,
        interfaces=tuple(replace(i, echo=told.get(i.name, "")) for i in machine.interfaces),
        culprits=await culprits(packets),
    )


async def programs(asker: Asker) -> list[Program]:
    """Return the processes of this machine that very likely have zmqkit, with answers.

    Those that end while they are asked are left out: no answer of theirs says anything.
    """
    found = list(system.programs().items())[:PROCESSES_MAX]
    asked = await asyncio.gather(*(_first_answer(ports, asker) for _, ports in found))
    still = system.programs()
    return [
        Program(
            pid=pid,
            command=system.command_of(pid),
            state=system.state_of(pid),
            asked=answers,
            descriptors=system.descriptors_of(pid),
        )
        for (pid, _), answers in zip(found, asked, strict=True)
        if pid in still
    ]


async def _first_answer(ports: list[int], asker: Asker) -> tuple[Asked, ...]:
    """Ask at all ports of a process, and return what came until one of them answered."""
    asking = [asyncio.create_task(asker.ask(Address(LOOPBACK_HOST, each))) for each in ports]
    found = []
    for done in asyncio.as_completed(asking):
        found.append(await done)
        if found[-1].outcome is Outcome.ANSWERED:
            break
    # Roles take whoever does not say goodbye for a client, so those who can say it may.
    await asyncio.wait(asking, timeout=_GOODBYE_S)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    return tuple(found)


# Those who were heard


def names_as(role: str, records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of which there is somebody of use as a role, or all names."""
    of_use = (each for each in records if not role or role in kinds_of(each.role))
    return tuple(sorted({each.name for each in of_use}))


def instances_of(name: str, discovery: Discovery, machine: Machine) -> list[Instance]:
    """Return the roles of a name, or all roles, as they are announced now."""
    ours, wide = addresses_of(machine), ports_open_to_others()
    return [_instance(each, ours, wide) for each in discovery.named(name)]


def addresses_of(machine: Machine) -> set[str]:
    """Return the addresses of a machine, without their networks."""
    return {str(ip_interface(text).ip) for i in machine.interfaces for text in i.addresses}


def ports_open_to_others() -> set[int]:
    """Return the ports of this machine to which other machines may connect."""
    return {each.port for each in system.listeners() if reach_of(each.host) > Reach.LOCAL}


async def unannounced(name: str, reach: Reach, machine: Machine) -> list[Instance]:
    """Return the roles of a name that nobody announces, as a client would find them."""
    from zmqkit.doctor.members import members  # the node takes a moment to import

    found = await asyncio.to_thread(members, name, reach)
    wide, ours = ports_open_to_others(), addresses_of(machine)
    return [
        replace(each, is_here=is_here, is_open=each.is_open or each.record.port in wide)
        for each in found
        for is_here in [each.is_here or ours.issuperset(each.record.addresses)]
    ]


async def answered(found: list[Instance], side: Side, asker: Asker) -> list[Instance]:
    """Return the roles with what their processes answer to this side."""
    pids = _pids(each.record.port for each in found if each.is_here)
    asked: dict[int, asyncio.Task[list[Asked]]] = {}
    async with asyncio.TaskGroup() as group:
        for each in found:
            process = each.record.process
            may_ask = each.is_here or side.insecure
            if process not in asked and may_ask and len(asked) < PROCESSES_MAX:
                asked[process] = group.create_task(_control(each.record, asker))
    answers = {process: tuple(task.result()) for process, task in asked.items()}
    controls = [answers.get(each.record.process, ()) for each in found]
    ports = [_data(one.record, at, asker) for one, at in zip(found, controls, strict=True)]
    rows = zip(found, controls, await asyncio.gather(*ports), strict=True)
    return [
        replace(
            one, control=control, data=data,
            pid=pids.get(one.record.port, 0) if one.is_here else 0,
        )
        for one, control, data in rows
    ]  # fmt: skip


def _instance(heard: Heard, ours: set[str], wide: set[int]) -> Instance:
    record = heard.record
    # One address is no proof: each machine with Docker has 172.17.0.1.
    is_here = LOOPBACK in heard.by_source or ours.issuperset(record.addresses)
    is_open = LAN in heard.by_source or (is_here and record.port in wide)
    sources = tuple(sorted(heard.by_source))
    return Instance(record=record, is_here=is_here, is_open=is_open, sources=sources)


async def _control(record: Record, asker: Asker) -> list[Asked]:
    """Ask a process at its addresses, of which one that answers is enough."""
    places = [Address(host, record.control_port) for host in record.addresses[:ADDRESSES_MAX]]
    return list(await asyncio.gather(*map(asker.ask, places)))


async def _data(record: Record, control: tuple[Asked, ...], asker: Asker) -> Asked | None:
    """Ask a role at its own port, where its process answers."""
    hosts = [each.address.host for each in control if each.outcome is Outcome.ANSWERED]
    if not hosts or kind_of(record.role) not in _ANSWERING:
        return None
    return await asker.ask(Address(hosts[0], record.port))


def _pids(ports: Iterable[int]) -> dict[int, int]:
    """Return the processes of this machine that listen at these ports."""
    wanted = set(ports)
    inodes = {each.inode: each.port for each in system.listeners() if each.port in wanted}
    return {inodes[inode]: pid for inode, pid in system.owners(inodes).items()}
