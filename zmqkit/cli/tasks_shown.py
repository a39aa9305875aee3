"""Queues and their tasks as lines for people, and as objects for programs."""

from __future__ import annotations

import base64
from datetime import datetime
from math import isfinite

from zmqkit.cli.output import duration, several, table, to_json
from zmqkit.core.tasks.administration import Answer
from zmqkit.roles.asking import body_of
from zmqkit.wire.encoding import Malformed, encode

_QUEUE_HEAD = (
    "NAME", "STATE", "WAITING", "OLDEST", "LEASED", "LONGEST", "WORKERS", "FAILED", "DEAD",
)  # fmt: skip
_TASK_HEAD = ("ID", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "BYTES", "BODY")
_BODY_CHARS = 60
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def queue_lines(found: list[Answer]) -> list[str]:
    """Return queues as a table, each with what else there is to say below its row."""
    if not found:
        return []
    rows = [
        (
            str(each["name"]),
            _state_of(each),
            str(each["waiting"]),
            _age(each["oldest_s"]),
            str(each["leased"]),
            _age(_longest(each).get("running_s")),
            str(each["workers"]),
            str(each["failed"]),
            str(each["dead"]),
        )
        for each in found
    ]
    head, *body = table([_QUEUE_HEAD, *rows])
    pairs = zip(body, found, strict=True)
    return [head, *(line for row, each in pairs for line in (row, *_details(each)))]


def task_lines(found: list[Answer]) -> list[str]:
    """Return tasks as a table, each with what else there is to say below its row."""
    if not found:
        return []
    rows = [
        (
            str(each["id"]),
            str(each["state"]),
            str(each["priority"]),
            str(each["attempts"]),
            _age(each["age_s"]),
            str(each["bytes"]),
            _body_text(each),
        )
        for each in found
    ]
    head, *body = table([_TASK_HEAD, *rows])
    pairs = zip(body, found, strict=True)
    return [head, *(line for row, each in pairs for line in (row, *_about(each)))]


def with_reasons(task: Answer) -> list[str]:
    """Return a dead task as lines: what it is, and why its attempts failed."""
    tried, age = several(task["attempts"], "attempt"), _age(task["age_s"])
    head = f"{task['id']}  {tried}, pushed {age} ago: {_body_text(task)}"
    return [head, *(f"    {reason}" for reason in _reasons_of(task))]


def described(task: Answer, *, exact: bool = False) -> Answer:
    """Return a task as an object of JSON.

    exact: whether a body that JSON does not have is there so that it can be had back.
    """
    told = {key: each for key, each in task.items() if key not in ("row", "raw")}
    if "row" not in task:
        return told
    try:
        body = body_of(task)
    except Malformed as error:
        return {**told, "unreadable": str(error)}
    if not exact or _is_json(body):
        return {**told, "body": body}
    if isinstance(body, bytes):
        return {**told, "body_base64": _base64(body)}
    return {**told, "body": body, "body_msgpack_base64": _base64(encode(body))}


def size(count: object) -> str:
    """Return a number of bytes for people: `812 bytes`, `6.2 MiB`."""
    assert isinstance(count, int)
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return several(count, "byte")


def _state_of(queue: Answer) -> str:
    words = [] if queue.get("process") else ["at rest"]
    return ", ".join([*words, *(["paused"] if queue["paused"] else [])]) or "running"


def _longest(queue: Answer) -> Answer:
    longest = queue["longest"]
    return longest if isinstance(longest, dict) else {}


def _details(queue: Answer) -> list[str]:
    """Return where a queue is, and where its longest attempt is under way, indented."""
    places = [f"process {queue['process']}"] if queue.get("process") else []
    if queue.get("journal"):
        places.append(f"{queue['journal']} of {size(queue['journal_bytes'])}")
    elif queue["waiting"] or queue["leased"]:
        places.append(f"tasks of {size(queue['memory_bytes'])}")
    lines = [f"    {', '.join(places)}"] if places else []
    if longest := _longest(queue):
        attempt = f"attempt {longest['attempt']}, at {longest['worker']}"
        lines.append(f"    longest: {longest['id']}, {attempt}")
    return lines


def _about(task: Answer) -> list[str]:
    """Return what there is to say of one task below its row, indented."""
    due_s, reasons = task["due_s"], _reasons_of(task)
    assert isinstance(due_s, float | int)
    said = {
        "body": "its result, which a sink is to take" if task["is_result"] else "",
        "at": f"{task['worker']} for {_age(task['running_s'])}" if "worker" in task else "",
        "due in": duration(due_s) if due_s > 0 and task["state"] == "waiting" else "",
        "expires in": _age(task["expires_s"]) if task["expires_s"] is not None else "",
        "unique": task["unique"],
        "order by": task["order_by"],
        "last reason": reasons[-1] if reasons else "",
    }
    return [f"    {what}: {text}" for what, text in said.items() if text]


def _body_text(task: Answer) -> str:
    """Return the beginning of a body, or nothing if it was too long to be sent."""
    if "row" not in task:
        return "…"
    try:
        body = body_of(task)
    except Malformed as error:
        return f"unreadable: {error}"
    text = body if isinstance(body, str) else to_json(body)
    return text if len(text) <= _BODY_CHARS else f"{text[:_BODY_CHARS]}…"


def _reasons_of(task: Answer) -> list[str]:
    """Return why attempts failed, without the names of zmqkit's own exceptions."""
    reasons = task["reasons"]
    assert isinstance(reasons, list)
    return [each.removeprefix("zmqkit.Retry: ").removeprefix("zmqkit.Discard: ")
            for each in reasons]  # fmt: skip


def _age(seconds: object) -> str:
    return duration(max(0.0, seconds)) if isinstance(seconds, float | int) else "-"


def _is_json(value: object) -> bool:
    """Whether JSON has this value, and gives it back as it is."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_json(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return isfinite(value)
    return not isinstance(value, bytes | datetime)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
