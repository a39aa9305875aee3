"""A worker whose handler runs a command for each task."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

import zmqkit
from zmqkit.cli.bodies import meaning
from zmqkit.cli.manners import Attended, Manners
from zmqkit.cli.output import tell, to_json
from zmqkit.cli.pulse import RolePulse
from zmqkit.cli.serve import where
from zmqkit.cli.stopping import UNFINISHED
from zmqkit.cli.watchdog import Watchdog, kill_group
from zmqkit.model import Reach

_LOOK_S = 0.1
_SHOWN_BYTES = 2000
_DATAERR = 65
"""EX_DATAERR of sysexits.h."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Options:
    """How the worker is made, and what it declares."""

    concurrency: int
    attempts: int
    backoff_s: float
    task_timeout_s: float | None
    bind: str | None
    insecure: bool


def work(name: str, program: tuple[str, ...], options: Options, wanted: Manners) -> int:
    """Do the tasks of a name with this program until told to stop; return the exit code."""
    if shutil.which(program[0]) is None:
        raise zmqkit.UsageError(f"there is no command {program[0]!r}; give one that can be run")
    worker = zmqkit.Worker(
        name,
        bind=options.bind,
        concurrency=options.concurrency,
        insecure=options.insecure or None,
    )
    watchdog = Watchdog()

    def run(body: object) -> object:
        return _run(program, body, watchdog)

    worker.task(
        run,
        attempts=options.attempts,
        backoff_s=options.backoff_s,
        task_timeout_s=options.task_timeout_s,
    )
    try:
        with Attended(
            wanted, "worker", worker.name, service=worker, noun="task", close=worker.close
        ) as attended:
            worker.start()
            attended.ready(_where(worker), RolePulse(worker, worker.stats))
            worker.work()
            return attended.ended(worker.close(attended.closing()), UNFINISHED)
    finally:
        watchdog.close()


def _where(worker: zmqkit.Worker) -> str:
    """Return the line that says where a worker listens, or which streamer it dials."""
    if "://" not in worker.name:
        return where(worker.name, worker.endpoint, worker.reach).replace(
            "serving", "working on"
        )
    how = ", over the network in plain text" if worker.reach > Reach.LOCAL else ""
    return f"working for the streamer at {worker.endpoint}{how}"


def _run(program: tuple[str, ...], body: object, watchdog: Watchdog) -> object:
    """Run the program on a body and return its output; kill it if the task is given up."""
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
            process_group=0,  # so that what it starts can be killed with it
        )
    except OSError as error:
        raise zmqkit.Discard(f"{program[0]!r} cannot be run: {error.strerror}") from error
    watchdog.add(process.pid)
    data: bytes | None = _bytes_of(body)
    with process:
        while True:
            try:
                output, errors = process.communicate(data, timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                data = None
                if task.cancelled:
                    kill_group(process.pid)
    watchdog.remove(process.pid)
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
