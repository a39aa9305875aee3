"""`zmqkit work`: do the tasks of a name, by running a command or in worker processes."""

from __future__ import annotations

import click
from click.core import ParameterSource

from zmqkit.cli import run_command, supervisor, work_process
from zmqkit.cli.manners import manners, manners_of
from zmqkit.cli.numeric import Number
from zmqkit.limits import ATTEMPTS, ATTEMPTS_MAX, BACKOFF_S, BACKOFF_S_MAX, TIMEOUT_S_MAX

_OF_COMMANDS = {
    "concurrency": "--concurrency", "attempts": "--attempts", "backoff_s": "--backoff",
    "task_timeout_s": "--task-timeout", "bind": "--bind", "insecure": "--insecure",
}  # fmt: skip
_OF_PROCESSES = {"processes": "--processes", "tasks_max": "--max-tasks"}


@click.command(
    "work",
    short_help="Do the tasks of a name, by a command or in worker processes.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("target", metavar="NAME|URL|MODULE:WORKER")
@click.argument("program", nargs=-1, metavar="[-- COMMAND [ARGS]...]")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True,
              metavar="N", help="Processes of MODULE:WORKER.")  # fmt: skip
@click.option("--max-tasks", "tasks_max", type=click.IntRange(min=1), metavar="N",
              help="Replace a process of MODULE:WORKER after so many tasks.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True,
              metavar="N", help="Tasks at once.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1, ATTEMPTS_MAX), default=ATTEMPTS,
              show_default=True, metavar="N", help="How often a task is tried.")  # fmt: skip
@click.option("--backoff", "backoff_s", type=Number(min=0, max=BACKOFF_S_MAX),
              default=BACKOFF_S, show_default=True, metavar="SECONDS",
              help="The first pause between attempts; each further one is twice as long.",
              )  # fmt: skip
@click.option("--task-timeout", "task_timeout_s", metavar="SECONDS",
              type=Number(min=0, min_open=True, max=TIMEOUT_S_MAX),
              help="Kill a COMMAND that takes longer; the attempt has failed.")  # fmt: skip
@click.option("--bind", metavar="URL", help="tcp://HOST:PORT; else any free port.")
@click.option("--insecure", is_flag=True, help="Work for other machines too, in plain text.")
@click.option("--supervised", "descriptor", type=int, hidden=True)
@manners
@click.pass_context
def command(
    context: click.Context,
    *,
    target: str,
    program: tuple[str, ...],
    processes: int,
    tasks_max: int | None,
    concurrency: int,
    attempts: int,
    backoff_s: float,
    task_timeout_s: float | None,
    bind: str | None,
    insecure: bool,
    descriptor: int | None,
    drain_s: float | None,
    health: str | None,
) -> int:
    """Run COMMAND for each task of NAME, or run MODULE:WORKER, until SIGINT or SIGTERM.

    COMMAND reads the task's body on standard input: text and bytes as they are, everything
    else as JSON. What it writes to standard output is the result: as JSON if it is that, else
    as text or bytes. Exit code 0 means done, 65 that no attempt will help, and any other that
    the attempt failed. ZMQKIT_TASK_ID and ZMQKIT_TASK_ATTEMPT are in its environment.

    A worker is found by NAME. With a URL, tcp://HOST:PORT/NAME, it dials the streamer there
    instead: from a container, say, or from behind a NAT, where nobody can connect to it.

    MODULE:WORKER is a zmqkit.Worker, or one of zmqkit.asyncio, with its handler. MODULE is
    imported as Python does, from the current directory too, or is the path of a file. Each
    process has a worker of its own; one that dies is replaced.

    At the end tasks that were begun are finished, for ten seconds at most or as long as --drain
    says; a second signal ends that too, and a second SIGINT with exit code 130.

    \b
    zmqkit work shout -- tr a-z A-Z
    zmqkit work thumbnails --concurrency 4 -- ./thumbnail.sh
    zmqkit work tcp://10.0.0.5:5560/thumbnails --insecure -- ./thumbnail.sh
    zmqkit work shop.tasks:worker --processes 4 --max-tasks 10000
    """
    wanted = manners_of(drain_s, health, insecure=insecure)
    if program:
        _refuse(context, _OF_PROCESSES, "is for MODULE:WORKER; for a COMMAND use --concurrency")
        options = run_command.Options(
            concurrency=concurrency,
            attempts=attempts,
            backoff_s=backoff_s,
            task_timeout_s=task_timeout_s,
            bind=bind,
            insecure=insecure,
        )
        return run_command.work(target, program, options, wanted)
    if ":" not in target:
        raise click.UsageError(
            f"nothing does the tasks of {target!r}; give -- COMMAND, or MODULE:WORKER", context
        )
    _refuse(context, _OF_COMMANDS, "is for a COMMAND; set it where the worker is made")
    if descriptor is not None:
        return work_process.work(target, descriptor, tasks_max, wanted.drain_s)
    return supervisor.supervise(target, processes, tasks_max, wanted)


def _refuse(context: click.Context, options: dict[str, str], why: str) -> None:
    """Raise UsageError if one of these options was given."""
    for name, shown in options.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{shown} {why}", context)
