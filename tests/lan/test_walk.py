"""docs/devices.md is true where it walks between hosts: commands print what it shows."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents import Shell, Step, blocks, masked, steps
from tests.lan.network import Host, Lan, until
from tests.test_devices import section

HOST_A = "10.0.0.1"


class Terminal:
    """A shell on a host."""

    def __init__(self, host: Host, folder: Path) -> None:
        folder.mkdir()
        self._shell = Shell(folder, "ip", "netns", "exec", host.namespace)
        self.close = self._shell.close

    def show(self, step: Step) -> None:
        """Have a command print what the step says; a list of who is there may have to grow."""
        if step.command.startswith("zmqkit ls"):
            until(
                lambda: sorted(self._lines(step)) == sorted(masked(step.output)), step.command
            )
        else:
            assert self._lines(step) == masked(step.output), step.command

    def _lines(self, step: Step) -> list[str]:
        return masked(self._shell.run(step.command, len(step.output)))


@pytest.mark.slow
@pytest.mark.lan(hosts=2)
def test_a_forwarder_between_two_hosts_does_what_is_shown(lan: Lan, tmp_path: Path) -> None:
    with ExitStack() as closing:
        on = {
            letter: Terminal(host, tmp_path / letter)
            for letter, host in zip("ab", lan.hosts, strict=True)
        }
        for terminal in on.values():
            closing.callback(terminal.close)
        for session in blocks(section("A forwarder between two hosts"), "console"):
            for step in steps(session.replace(HOST_A, lan.hosts[0].address)):
                on[step.host].show(step)
