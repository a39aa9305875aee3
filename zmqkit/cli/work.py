"""`zmqkit work`: do the tasks of a name, each by running a command."""

from __future__ import annotations

import os
import shutil
import subprocess

import click

import zmqkit
from zmqkit.cli.bodies import meaning
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, several, tell, to_json
from zmqkit.cli.serve import DRAIN_S, where
from zmqkit.cli.stopping import Stopping
from zmqkit.limits import ATTEMPTS, ATTEMPTS_MAX, BACKOFF_S, BACKOFF_S_MAX

_LOOK_S = 0.1
_SHOWN_BYTES = 2000
_DATAERR = 65
"""EX_DATAERR of sysexits.h."""


@click.command(
    "work",
    short_help="Do the tasks of a name by running a command.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name")
@click.argument("program", nargs=-1, required=True, metavar="-- COMMAND [ARGS]...")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True,
              metavar="N", help="Tasks at once.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1, ATTEMPTS_MAX), default=ATTEMPTS,
              show_default=True, metavar="N", help="How often a task is tried.")  # fmt: skip
@click.option("--backoff", "backoff_s", type=Number(min=0, max=BACKOFF_S_MAX),
              default=BACKOFF_S, show_default=True, metavar="SECONDS",
              help="The first pause between attempts; each further one is twice as long.",
              )  # fmt: skip
@click.option("--bind", metavar="URL", help="tcp://HOST:PORT; else any free port.")
@click.option("--insecure", is_flag=True, help="Work for other machines too, in plain text.")
def command(
    *,
    name: str,
    program: tuple[str, ...],
    concurrency: int,
    attempts: int,
    backoff_s: float,
    bind: str | None,
    insecure: bool,
) -> int:
    """Run COMMAND for each task of NAME, until SIGINT or SIGTERM.

    The command reads the task's body on standard input: text and bytes as they are, everything
    else as JSON. What it writes to standard output is the result: as JSON if it is that, else
    as text or bytes. Exit code 0 means done, 65 that no attempt will help, and any other that
    the attempt failed. ZMQKIT_TASK_ID and ZMQKIT_TASK_ATTEMPT are in its environment.

    \b
    zmqkit work shout -- tr a-z A-Z
    zmqkit work thumbnails --concurrency 4 -- ./thumbnail.sh
    """
    if shutil.which(program[0]) is None:
        raise zmqkit.UsageError(f"there is no command {program[0]!r}; give one that can be run")
    worker = zmqkit.Worker(name, bind=bind, concurrency=concurrency, insecure=insecure or None)

    def run(body: object) -> object:
        return _run(program, body)

    worker.task(run, attempts=attempts, backoff_s=backoff_s)
    with Stopping(worker, "task"):
        worker.start()
        say(where(worker.name, worker.endpoint, worker.reach).replace("serving", "working on"))
        worker.work()
        unfinished = worker.close(DRAIN_S)
    if unfinished:
        tell(f"{several(unfinished, 'task')} left unfinished")
    return 1 if unfinished else 0


def _run(program: tuple[str, ...], body: object) -> object:
    """Run the program on a body and return its output; end it if the task is given up."""
    task = zmqkit.current_task()
    environment = {
        **os.environ,
        "ZMQKIT_TASK_ID": task.id,
        "ZMQKIT_TASK_ATTEMPT": str(task.attempt),
    }
    try:
        process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise zmqkit.Discard(f"{program[0]!r} cannot be run: {error.strerror}") from error
    data: bytes | None = _bytes_of(body)
    with process:
        while True:
            try:
                output, errors = process.communicate(data, timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                data = None
                if task.cancelled:
                    process.kill()
    if process.returncode:
        reason = errors[-_SHOWN_BYTES:].decode(errors="backslashreplace").strip()
        text = f"{program[0]} ended with {process.returncode}" + (
            f": {reason}" if reason else ""
        )
        tell(f"task {task.id}, attempt {task.attempt}: {text}")
        if process.returncode == _DATAERR:
            raise zmqkit.Discard(text)
        raise zmqkit.Retry(None, text)
    return meaning(output.removesuffix(b"\n"), raw=False)


def _bytes_of(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else to_json(body).encode()
