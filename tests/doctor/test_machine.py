"""What the system says of this machine, of itself and of a few sockets of this process."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from zmqkit.doctor import machine

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")


def test_the_loopback_interface_is_there_with_its_address() -> None:
    [lo] = [each for each in machine.interfaces() if each.kind == "loopback"]
    assert lo.is_up and "127.0.0.1/8" in lo.addresses


def test_the_way_to_an_address_is_told_and_nothing_is_sent() -> None:
    assert machine.source_towards("127.0.0.1") == "127.0.0.1"
    assert machine.source_towards("no address") == ""


@linux
def test_a_socket_that_listens_is_found_with_its_process() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        [found] = [each for each in machine.listeners() if each.port == port]
        assert found.host == "127.0.0.1"
        assert machine.owners([found.inode]) == {found.inode: os.getpid()}
    assert port not in [each.port for each in machine.listeners()]


@linux
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_is_read_as_the_system_wrote_it(host: str) -> None:
    with closing(socket.create_server((host, 0), family=socket.AF_INET6)) as server:
        port = server.getsockname()[1]
        assert host in [each.host for each in machine.listeners() if each.port == port]


@linux
def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        [found] = machine.holders(holder.getsockname()[1])
    assert found.endswith(f"(process {os.getpid()})")


@linux
def test_a_process_is_described() -> None:
    assert machine.state_of(os.getpid()) in ("running", "sleeping")
    assert "python" in machine.command_of(os.getpid())
    limits = machine.descriptors_of(os.getpid())
    assert limits is not None and limits.limit == machine.descriptors().limit
    gone = 1 << 30
    assert (machine.state_of(gone), machine.command_of(gone)) == ("", "")
    assert machine.descriptors_of(gone) is None


def test_open_descriptors_are_counted() -> None:
    before = machine.descriptors()
    with socket.socket():
        after = machine.descriptors()
    assert after.open == before.open + 1 and after.spare == before.spare - 1


def test_what_is_left_on_a_disk_is_told_before_the_file_is_there(tmp_path: Path) -> None:
    file = tmp_path / "x.journal"
    file.touch()
    there, to_come = machine.disks([file, tmp_path / "y.journal"])
    assert there.free_bytes > 0 and to_come.free_bytes > 0
    assert machine.disks([tmp_path / "no" / "folder"]) == []


@pytest.mark.parametrize(
    ("name", "flags", "kind"),
    [
        ("lo", 0x49, "loopback"), ("eth0", 0x1043, "network"), ("wlan0", 0x1043, "network"),
        ("docker0", 0x1003, "containers"), ("br-0123456789ab", 0x1003, "containers"),
        ("virbr0", 0x1003, "containers"), ("br0", 0x1043, "network"),
        ("tun0", 0x10D1, "tunnel"), ("wg0", 0x91, "tunnel"), ("tailscale0", 0x10D1, "tunnel"),
        ("ppp0", 0x10D1, "tunnel"),
    ],
)  # fmt: skip
def test_the_kind_of_an_interface(name: str, flags: int, kind: str) -> None:
    assert machine.kind_of(name, flags) == kind
