"""`zmqkit queue`: look after a queue that runs, or a journal at rest: tasks, and requests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from zmqkit.cli import queue_run
from zmqkit.cli.main import FAILED, CommandGroup
from zmqkit.cli.output import escaped, say, say_error, say_json, several, tell
from zmqkit.cli.tasks_shown import described, queue_lines, task_lines, with_reasons
from zmqkit.core.tasks.administration import Answer
from zmqkit.disk.places import check_place
from zmqkit.errors import UsageError
from zmqkit.limits import PACKET_BYTES_MAX
from zmqkit.roles.administration import bytes_of
from zmqkit.roles.asking import Queue, QueueAtRest, opened, pages, queues_of, running, tasks_of

_OPEN_AND_DEAD = ["waiting", "leased", "dead"]
_SHOWN_BYTES = 2000
_IDS = 500
_LOOK_S = 0.05

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_target = click.argument("target")
_ids = click.argument("ids", nargs=-1, metavar="[ID]...")


@click.group("queue", cls=CommandGroup, short_help="Look after the tasks of a queue.")
def command() -> None:
    """Look after the tasks of a queue: of a pusher with a journal, a streamer, or a broker.

    Each request that a broker keeps is a task of its service's queue, which has the name of the
    service. Its journal is SERVICE.journal in the folder of the broker.

    TARGET is the file of a journal, or the name of a queue that runs on this machine. A process
    that has the file open is asked; if there is none, the file is opened itself.

    \b
    zmqkit queue ls
    zmqkit queue dead thumbnails.journal
    zmqkit queue requeue thumbnails.journal --all
    zmqkit queue run thumbnails.journal
    """


command.add_command(queue_run.run)


@command.command("ls", short_help="Show the numbers of queues.")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@_as_json
def ls(*, targets: tuple[str, ...], as_json: bool) -> int:
    """Show how many tasks wait, are leased, have failed and are dead.

    Without TARGET, it shows all queues that run here; with a name, all that have the name. Of
    the folder of a broker, it shows the queue of each service. A task is leased while a worker
    has it. A queue is `at rest` while no process has its journal open.

    OLDEST is how long the task has waited that waits longest although it may run; LONGEST is
    the age of the longest attempt under way, and the line below says where. A handler that
    hangs is seen there. FAILED counts since the process began. With --json, `passed_on` is how
    many of the leased tasks a streamer has, and docs/queues.md explains all other words.

    \b
    zmqkit queue ls
    zmqkit queue ls thumbnails.journal --json
    """
    found: list[Answer] = []
    if targets:
        for target in [each for one in targets for each in queues_of(one)]:
            with opened(target) as queue:
                found.append(queue.ask({"do": "ls"}))
    else:
        found = [{"socket": str(entry), **each} for entry, each in running()]
    if as_json:
        say_json(found)
        return FAILED if any("error" in each for each in found) else 0
    for line in queue_lines([each for each in found if "error" not in each]):
        say(line)
    for each in found:
        if "error" in each:
            say_error(f"{each['socket']}: {each['error']}")
    if targets and not found:
        tell(f"{' '.join(targets)} has no journal yet")
    elif not found:
        tell(
            "no streamer runs here and no pusher or broker with a journal; name the file of a "
            "journal"
        )
    return FAILED if any("error" in each for each in found) else 0


@command.command("peek", short_help="Show the first tasks.")
@_target
@click.option("-n", "--count", type=click.IntRange(min=1), default=10, show_default=True,
              metavar="N", help="How many tasks.")  # fmt: skip
@click.option("--state", "states", multiple=True, type=click.Choice(_OPEN_AND_DEAD),
              help="Which ones; those that wait or are leased unless told.")  # fmt: skip
@_as_json
def peek(*, target: str, count: int, states: tuple[str, ...], as_json: bool) -> None:
    """Show the first tasks of a queue, in the order in which they were pushed.

    Of a request that a broker keeps, the method and the arguments are shown. With --json each
    task is an object in a line of its own. `is_result` says there that the handler has
    returned, and that the body is its result, which waits for a sink.

    \b
    zmqkit queue peek thumbnails.journal -n 3
    zmqkit queue peek thumbnails --state leased
    """
    chosen = [*(states or ("waiting", "leased"))]
    with opened(target) as queue:
        found = tasks_of(queue, chosen, _SHOWN_BYTES)
        some = [task for task, _ in zip(found, range(count), strict=False)]
    if as_json:
        for task in some:
            say_json(described(task))
        return
    for line in task_lines(some):
        say(line)
    if not some:
        tell(f"no task is {' or '.join(chosen)}")


@command.command("dead", short_help="Show the dead tasks and why they are dead.")
@_target
@_as_json
def dead(*, target: str, as_json: bool) -> None:
    """Show the tasks whose last attempt failed, each with the reasons of its attempts.

    \b
    zmqkit queue dead thumbnails.journal
    """
    count = 0
    with opened(target) as queue:
        for task in tasks_of(queue, ["dead"], _SHOWN_BYTES):
            count += 1
            if as_json:
                say_json(described(task))
                continue
            for line in with_reasons(task):
                say(line)
    if not as_json:
        tell(several(count, "dead task") if count else "no task is dead")


@command.command("pause", short_help="Have no task begun until `resume`.")
@_target
@_as_json
def pause(*, target: str, as_json: bool) -> None:
    """Give workers no more tasks; those under way go on, and pushes are accepted.

    \b
    zmqkit queue pause thumbnails
    """
    _switch(target, "pause", as_json=as_json)


@command.command("resume", short_help="Go on after `pause`.")
@_target
@_as_json
def resume(*, target: str, as_json: bool) -> None:
    """Give workers tasks again.

    \b
    zmqkit queue resume thumbnails
    """
    _switch(target, "resume", as_json=as_json)


def _switch(target: str, do: str, *, as_json: bool) -> None:
    with opened(target) as queue:
        changed = queue.ask({"do": do})["changed"]
        if as_json:
            say_json({"changed": changed})
        else:
            say(f"{do}d" if changed else f"it was {do}d already")
        if do == "resume":
            _tell_who_goes_on(queue, target)


@command.command("cancel", short_help="Give tasks up.")
@_target
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_as_json
def cancel(*, target: str, ids: tuple[str, ...], as_json: bool) -> int:
    """Give up the tasks of these IDs; a handler that works on one sees that.

    \b
    zmqkit queue cancel thumbnails.journal order-17
    """
    with opened(target) as queue:
        return _changed(queue, {"do": "cancel"}, ids, "cancelled", as_json=as_json)


@command.command("requeue", short_help="Have dead tasks tried again.")
@_target
@_ids
@click.option("--all", "everything", is_flag=True, help="All dead tasks.")
@_as_json
def requeue(*, target: str, ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Have dead tasks tried again, with all of their attempts.

    In a journal at rest, which no process has open, they wait for whoever opens it next.

    \b
    zmqkit queue requeue thumbnails.journal order-17
    zmqkit queue requeue thumbnails.journal --all
    """
    if bool(ids) is everything:
        raise click.UsageError("give the IDs of dead tasks, or --all")
    question: Answer = {"do": "requeue", "all": everything}
    with opened(target) as queue:
        code = _changed(queue, question, ids, "requeued", as_json=as_json)
        _tell_who_goes_on(queue, target)
        return code


@command.command("purge", short_help="Throw tasks away.")
@_target
@_ids
@click.option("--state", "states", multiple=True, type=click.Choice(("waiting", "dead")),
              help="All tasks of this state.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="All tasks, also those under way.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where no terminal can answer.")
@_as_json
def purge(
    *,
    target: str,
    ids: tuple[str, ...],
    states: tuple[str, ...],
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Throw tasks away: those of the IDs, those of a state, or all.

    \b
    zmqkit queue purge thumbnails.journal order-17 --yes
    zmqkit queue purge thumbnails.journal --state dead
    """
    if bool(ids) + bool(states) + everything != 1:
        raise click.UsageError("give the IDs of tasks, or --state, or --all")
    chosen = _OPEN_AND_DEAD if everything else [*states]
    with opened(target) as queue:
        counts = queue.ask({"do": "ls"})
        count = sum(int(str(counts[each])) for each in chosen) if chosen else len(ids)
        what = f"throw {several(count, 'task')} of {counts['name']!r} away"
        if count and not (yes or _is_confirmed(what)):
            return FAILED
        question: Answer = {"do": "purge", "states": chosen}
        return _changed(queue, question, ids, "purged", as_json=as_json)


@command.command("export", short_help="Print all tasks as lines of JSON.")
@_target
def export(*, target: str) -> None:
    """Print each task that waits, is leased or dead as a line of JSON, with its body.

    A body that JSON does not have is there as `body_base64` if it is bytes, and else as its
    msgpack in `body_msgpack_base64`. The body of a request that a broker keeps has `method`,
    `args` and `kwargs`. Tasks that come or end meanwhile may be there or not.

    \b
    zmqkit queue export thumbnails.journal > tasks.jsonl
    """
    with opened(target) as queue:
        for task in tasks_of(queue, _OPEN_AND_DEAD, PACKET_BYTES_MAX):
            say_json(described(task, exact=True))


@command.command("backup", short_help="Copy the journal of a queue, which may run.")
@_target
@click.argument("file", type=click.Path(dir_okay=False))
@_as_json
def backup(*, target: str, file: str, as_json: bool) -> None:
    """Write a copy of the journal to FILE, which is new, while tasks come and go.

    The copy stands in for the journal: use one of the two.

    \b
    zmqkit queue backup thumbnails.journal thumbnails.backup
    """
    to = os.path.abspath(file)
    if os.path.lexists(to):
        raise UsageError(f"{file} is there already; name a new file")
    check_place(Path(to))
    with opened(target) as queue:
        done = queue.ask({"do": "backup", "to": to, "begins": True})["done"]
        while not done:
            time.sleep(_LOOK_S)
            done = queue.ask({"do": "backup", "to": to})["done"]
    size = bytes_of(Path(to))
    if as_json:
        say_json({"file": to, "bytes": size})
    else:
        say(f"{file} has a copy of {several(size, 'byte')}")


@command.command("compact", short_help="Give the room of ended tasks back to the disk.")
@click.argument("journal", type=click.Path(dir_okay=False))
@_as_json
def compact(*, journal: str, as_json: bool) -> None:
    """Write the file of a journal anew, without the room that ended tasks had.

    No process may have it open, and the disk needs as much room again meanwhile.

    \b
    zmqkit queue compact thumbnails.journal
    """
    with opened(os.path.abspath(journal)) as queue:
        if not isinstance(queue, QueueAtRest):
            process = queue.ask({"do": "ls"})["process"]
            raise UsageError(
                f"{journal} is in use by process {process}; end that one, then compact the file"
            )
        before, after = queue.journal.compact()
    if as_json:
        say_json({"bytes_before": before, "bytes": after})
    else:
        say(f"{journal} had {several(before, 'byte')} and has {several(after, 'byte')}")


def _tell_who_goes_on(queue: Queue, target: str) -> None:
    """Say who gives out the tasks of a journal at rest, if there are some."""
    if not isinstance(queue, QueueAtRest):
        return
    about = queue.ask({"do": "ls"})
    waiting = int(str(about["waiting"]))
    if waiting and not about["paused"] and queue.journal.has_requests:
        what = several(waiting, "request")
        tell(f"no process has {target} open, so {what} will wait: run the broker again")
    elif waiting and not about["paused"]:
        tell(
            f"no process has {target} open, so {several(waiting, 'task')} of {about['name']!r} "
            f"will wait: `zmqkit queue run {target}` gives them to workers, or the next pusher "
            "or streamer that opens the file"
        )


def _changed(
    queue: Queue, question: Answer, ids: tuple[str, ...], done: str, *, as_json: bool
) -> int:
    """Change tasks, page by page; show how many, and which of the IDs were not changed."""
    changed, missed, full = 0, dict[str, str](), None
    for answer in _answers(queue, question, ids):
        count, why = answer["changed"], answer["missed"]
        assert isinstance(count, int) and isinstance(why, dict)
        changed += count
        missed |= why
        full = answer.get("full")
        if full is not None:
            break
    if as_json:
        say_json({"changed": changed, "missed": missed, "full": full})
    elif changed or not missed:
        say(f"{several(changed, 'task')} {done}")
    for id, state in missed.items() if ids and not as_json else ():
        say_error(f"task {id} was not {done}: it is {state}")
    if full is not None and not as_json:
        say_error(f"the others were not {done}: {full}")
    return FAILED if (missed and ids) or full is not None else 0


def _answers(queue: Queue, question: Answer, ids: tuple[str, ...]) -> Iterator[Answer]:
    if ids:
        for begin in range(0, len(ids), _IDS):
            yield queue.ask({**question, "ids": [*ids[begin : begin + _IDS]]})
        return
    yield from pages(queue, question)


def _is_confirmed(what: str) -> bool:
    """Ask the terminal; UsageError where there is none."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"to {what}, add --yes")
    return click.confirm(f"{escaped(what)} for good?", err=True)
