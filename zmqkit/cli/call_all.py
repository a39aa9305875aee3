"""`zmqkit call --all`: ask all instances, and print what each of them answers."""

from __future__ import annotations

import click

from zmqkit.blocking.client import BoundClient
from zmqkit.cli.main import failed
from zmqkit.cli.output import say, say_json, text_of, to_json


def call_all(
    view: BoundClient,
    method: str,
    args: list[object],
    kwargs: dict[str, object],
    *,
    as_json: bool,
) -> None:
    """Ask all instances; print a line for each. Ends with the code of the first error."""
    answers = view.gather(method, *args, **kwargs)
    code = 0
    for answer in answers:
        if as_json:
            error = None if answer.error is None else text_of(answer.error)
            outcome = {"value": answer.value} if error is None else {"error": error}
            say_json({"instance": answer.instance, **outcome})
        elif answer.error is None:
            value = answer.value if isinstance(answer.value, str) else to_json(answer.value)
            say(f"{answer.instance}  {value}")
        if answer.error is not None:
            answer.error.args = (f"{answer.instance}: {answer.error}",)
            code = code or failed(answer.error)
    if code:
        raise click.exceptions.Exit(code)
