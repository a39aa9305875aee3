"""A machine, a side and a conversation with which nothing is wrong, for tests to spoil."""

from __future__ import annotations

from dataclasses import replace

from zmqkit.doctor.facts import (
    HEARD,
    WIRE,
    Asked,
    Descriptors,
    Disk,
    Facts,
    Instance,
    Interface,
    Machine,
    Outcome,
    Probed,
    Program,
    Side,
)
from zmqkit.doctor.findings import Finding
from zmqkit.doctor.rules import diagnose
from zmqkit.model import Address, Record

LO = Interface(name="lo", index=1, kind="loopback", is_multicast=False,
               addresses=("127.0.0.1/8",), echo=HEARD)  # fmt: skip
ETH = Interface(name="eth0", index=2, kind="network", addresses=("10.0.0.5/24", "fe80::1/64"),
                echo=HEARD)  # fmt: skip
BRIDGE = Interface(name="docker0", index=3, kind="containers", has_carrier=False,
                   addresses=("172.17.0.1/16",))  # fmt: skip
TUNNEL = Interface(name="tun0", index=4, kind="tunnel", is_multicast=False,
                   addresses=("10.66.0.2/24",))  # fmt: skip
THERE = Address("10.0.0.6", 5555)
RECORD = Record("orders", "service", 0xA << 32, 7, ("10.0.0.6",), 5601, 5555)
GOOD = Asked(Address("10.0.0.6", 5601), Outcome.ANSWERED)
OPEN = Instance(record=RECORD, is_here=False, is_open=True, control=(GOOD,),
                data=Asked(THERE, Outcome.ANSWERED), sources=("mdns:lan",))  # fmt: skip
SHY = replace(OPEN, record=replace(RECORD, addresses=("127.0.0.1",)), is_here=True,
              is_open=False)  # fmt: skip
MACHINE = Machine(
    interfaces=(LO, ETH, BRIDGE, TUNNEL),
    outward="eth0",
    listening=frozenset({22, 5601}),
    descriptors=Descriptors(limit=1024, open=20),
    disks=(Disk(path="x.journal", free_bytes=1 << 30, free_files=100),),
    programs=(Program(pid=4711, command="python shop.py", state="sleeping", asked=(GOOD,)),),
)
SIDE = Side(
    insecure=True,
    ports=(5600, 5700),
    peers=("10.0.0.6:5555",),
    asked=(Asked(THERE, Outcome.ANSWERED),),
    packages=(("zmqkit", "0.1.0"),),
)
PROBED = Probed(
    host="10.0.0.6",
    talk=Asked(Address("10.0.0.6", 5650), Outcome.ANSWERED),
    offset_s=0.2,
    trip_s=0.001,
    wire=WIRE,
    multicast_out=True,
    multicast_in=True,
    ports_out=(Asked(Address("10.0.0.6", 5600), Outcome.ANSWERED),),
    ports_in=((5600, "answered"),),
)
HEALTHY = Facts(machine=MACHINE, side=SIDE, name="orders", role="service", listened_s=1.0,
                instances=(OPEN,), probed=PROBED)  # fmt: skip


def on(*interfaces: Interface, outward: str = "eth0") -> Facts:
    """A machine with these interfaces, where nobody is looked for."""
    machine = replace(MACHINE, interfaces=interfaces, outward=outward)
    return replace(HEALTHY, machine=machine, probed=None)


def findings(facts: Facts) -> list[str]:
    """The causes that are named, by their ids."""
    return [each.id for each in diagnose(facts)]


def only(facts: Facts) -> Finding:
    """The one cause that is named."""
    [found] = diagnose(facts)
    return found
