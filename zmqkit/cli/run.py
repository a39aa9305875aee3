"""`zmqkit run`: run a device, as its file says."""

from __future__ import annotations

import click

from zmqkit.cli.main import IOERR
from zmqkit.cli.output import say, several, tell
from zmqkit.cli.serve import DRAIN_S, at_eof, where
from zmqkit.cli.stdin import standard_input
from zmqkit.cli.stopping import Stopping
from zmqkit.device.files import find
from zmqkit.device.spec import Spec, read_spec
from zmqkit.device.streamer import Streamer
from zmqkit.errors import JournalError


@click.command("run", short_help="Run a device, such as a streamer.")
@click.argument("device", metavar="DEVICE|FILE")
@click.option("--name", help="What the device is called, whatever the file says.")
@click.option("--set", "sets", multiple=True, metavar="TABLE.KEY=VALUE",
              help="Change a setting of the file; repeatable.")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Serve other machines too, in plain text.")
@click.option("--until-eof", is_flag=True, help="Stop too when standard input ends.")
@click.option("--check", is_flag=True, help="Read the file, say what is wrong, run nothing.")
def command(
    *,
    device: str,
    name: str | None,
    sets: tuple[str, ...],
    insecure: bool,
    until_eof: bool,
    check: bool,
) -> int:
    """Run a device until SIGINT or SIGTERM.

    DEVICE is one that comes with zmqkit: streamer or streamer-durable. FILE is a device file of
    your own, in TOML; devices/README.md tells what it may say. Such a file may also be run by
    itself, if its first line is `#!/usr/bin/env -S zmqkit run`.

    At the end the device accepts nothing new, finishes what is under way, for ten seconds at
    most, and gives the rest back, or keeps it on disk; a second signal ends that too. Exit code
    74 means that the disk under the journal failed.

    \b
    zmqkit run streamer --name thumbnails
    zmqkit run streamer-durable --name thumbnails --set journal.path=thumbnails.journal
    """
    if insecure:
        sets = (*sets, "device.insecure=true")
    spec = read_spec(find(device), name, sets)
    if check:
        say(f"{spec.kind} {spec.name!r} is in order")
        return 0
    if until_eof:
        standard_input()
    return _run(spec, until_eof=until_eof)


def _run(spec: Spec, *, until_eof: bool) -> int:
    streamer = Streamer(
        spec.name,
        bind=spec.bind,
        journal=spec.journal,
        insecure=spec.insecure,
        advertise=spec.advertise,
        limits=spec.limits,
    )
    with Stopping(streamer, "task"):
        streamer.start()
        if until_eof:
            at_eof(streamer.stop)
        line = where(spec.name, streamer.endpoint, streamer.reach)
        say(line.replace("serving", f"{spec.kind} of", 1))
        try:
            streamer.run()
        except JournalError as error:
            streamer.close(0)
            tell(f"{error}; what it accepted is in the journal, as far as the disk has it")
            return IOERR
        left = streamer.close(DRAIN_S)
    if left:
        tell(f"workers still had {several(left, 'task')}")
    return 1 if left else 0
