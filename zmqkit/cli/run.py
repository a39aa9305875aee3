"""`zmqkit run`: run a device, as its file says."""

from __future__ import annotations

import click

from zmqkit.blocking.role import Role
from zmqkit.cli.main import IOERR
from zmqkit.cli.manners import Attended, Manners, manners
from zmqkit.cli.output import tell
from zmqkit.cli.pulse import RolePulse
from zmqkit.cli.serve import at_eof, where
from zmqkit.cli.stdin import standard_input
from zmqkit.device.files import find
from zmqkit.device.kinds import KINDS, Spec
from zmqkit.device.spec import read_spec
from zmqkit.errors import JournalError


@click.command(
    "run", short_help="Run a device: a streamer, forwarder, bridge, broker or router."
)
@click.argument("device", metavar="DEVICE|FILE")
@click.option("--name", help="What the device is called, whatever the file says.")
@click.option("--set", "sets", multiple=True, metavar="TABLE.KEY=VALUE",
              help="Change a setting of the file; repeatable.")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Serve other machines too, in plain text.")
@click.option("--until-eof", is_flag=True, help="Stop too when standard input ends.")
@manners
def command(
    *,
    device: str,
    name: str | None,
    sets: tuple[str, ...],
    insecure: bool,
    until_eof: bool,
    drain_s: float | None,
    health: str | None,
) -> int:
    """Run a device until SIGINT or SIGTERM.

    DEVICE is one that comes with zmqkit; `zmqkit device ls` lists them. FILE is a device file
    of your own, in TOML: `zmqkit device init` writes one, `zmqkit device check` says what is
    wrong with it, and `zmqkit device show --options` what it may say. Such a file may also be
    run by itself, if its first line is `#!/usr/bin/env -S zmqkit run`.

    At the end the device accepts nothing new, finishes what is under way, for ten seconds at
    most or as long as --drain says, and gives the rest back, or keeps it on disk; a second
    signal ends that too. Exit code 69 means that its address is taken, 74 that the journal
    cannot be had, or that its disk failed, and 78 that the file or a setting is wrong.

    \b
    zmqkit run streamer --name thumbnails
    zmqkit run streamer-durable --name thumbnails --set journal.path=thumbnails.journal
    zmqkit run router --name orders
    zmqkit run majordomo --name majordomo --set frontend.bind=tcp://127.0.0.1:5555
    """
    options: dict[str, str] = {}
    if insecure:
        options["--insecure"] = "device.insecure=true"
    if drain_s is not None:
        options[f"--drain {drain_s:g}"] = f"device.drain_s={drain_s}"
    if health is not None:
        options[f"--health {health}"] = f"health.bind={health}"
    spec = read_spec(find(device), name, sets, options)
    if until_eof:
        standard_input()
    return _run(spec, until_eof=until_eof)


def _run(spec: Spec, *, until_eof: bool) -> int:
    kind = KINDS[spec.kind]
    device = kind.make(spec)
    assert isinstance(device, Role)
    wanted = Manners(drain_s=spec.drain_s, health=spec.health)
    with Attended(wanted, spec.kind, spec.name, service=device, noun=kind.left) as attended:
        device.start()
        if until_eof:
            at_eof(attended.stop)
        line = where(spec.name, device.endpoint, device.reach)
        attended.ready(line.replace("serving", kind.title, 1), RolePulse(device, device.stats))
        try:
            device.run()
        except JournalError as error:
            device.close(0)
            tell(f"{error}; what it accepted is in the journal, as far as the disk has it")
            return IOERR
        left = device.close(attended.closing())
        return attended.ended(left, kind.still.format)
