"""`zmqkit submit`: have a broker keep a request, or one for each line of standard input."""

from __future__ import annotations

import uuid

import click

import zmqkit
from zmqkit.blocking.client import BoundClient
from zmqkit.cli.call import Arguments, Values, calls_of, headers_of
from zmqkit.cli.completing import methods, names
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, say_value
from zmqkit.limits import PRIORITY, PRIORITY_MAX, TIMEOUT_S


@click.command(
    "submit",
    short_help="Have a broker keep a request, and print its id.",
    cls=Values,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("service", shell_complete=names("service"))
@click.argument("method", shell_complete=methods)
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long until the request is on disk; with --wait, then until there is a reply.",
)
@click.option("--wait", "waits", is_flag=True, help="Print the reply instead of the id.")
@click.option(
    "--id",
    "own_id",
    metavar="ID",
    help="The id. A request that is submitted again with the same id runs once.",
)
@click.option("--expires", "expires_s", type=Number(min=0, min_open=True), default=86_400.0,
              show_default=True, metavar="SECONDS",
              help="A request that no worker began by then does not run.")  # fmt: skip
@click.option(
    "--priority",
    type=click.IntRange(0, PRIORITY_MAX),
    default=PRIORITY,
    show_default=True,
    help="0 to 9; 9 is served first.",
)
@click.option("--header", "headers", multiple=True, metavar="KEY=VALUE", help="Travels along.")
@click.option(
    "--lines",
    is_flag=True,
    help="One request for each line of standard input, until one fails.",
)
@click.option("--json", "as_json", is_flag=True,
              help="One object for each request: id, and result with --wait.")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Use other machines too, in plain text.")
def command(
    *,
    service: str,
    method: str,
    arguments: tuple[str, ...],
    timeout_s: float,
    waits: bool,
    own_id: str | None,
    expires_s: float,
    priority: int,
    headers: tuple[str, ...],
    lines: bool,
    as_json: bool,
    insecure: bool,
) -> None:
    """Have a broker keep a request to METHOD of SERVICE, a name or a URL; print its id.

    The command ends once the request is on the broker's disk. It runs whatever becomes of this
    command, of the broker or of workers, and `zmqkit collect` prints the reply, which is kept
    for a day as a rule. That needs a broker that runs as majordomo-durable. Arguments are those
    of `zmqkit call`.

    If it is not known whether the broker has the request, the error names the id: with the same
    --id it may be submitted again, and runs once.

    \b
    zmqkit submit orders buy tea quantity=2
    zmqkit submit orders buy tea --id order-17
    zmqkit collect orders order-17
    """
    if lines and own_id is not None:
        raise click.UsageError("--id is for a single request; leave out --lines")
    calls = calls_of(arguments, None, by_line=lines)
    with zmqkit.Client(service, timeout_s=timeout_s, insecure=insecure or None) as client:
        view = client.options(
            expires_s=expires_s, priority=priority, headers=headers_of(headers)
        )
        for number, each in enumerate(calls, 1):
            id = uuid.uuid4().hex if own_id is None else own_id
            try:
                submitted = _submit(view.options(id=id), method, each, id)
                _show(submitted, service, waits=waits, as_json=as_json)
            except zmqkit.ZmqkitError as error:
                if lines:
                    error.args = (f"line {number}: {error}",)
                raise


def _submit(client: BoundClient, method: str, each: Arguments, id: str) -> zmqkit.Submitted:
    """Submit a request; an error that leaves it open whether it is kept names its id."""
    try:
        return client.submit(method, *each.args, **each.kwargs)
    except zmqkit.PeerError as error:
        if error.may_have_run:
            error.args = (f"{error}; with --id {id} it may be submitted again, and runs once",)
        raise


def _show(submitted: zmqkit.Submitted, service: str, *, waits: bool, as_json: bool) -> None:
    """Print the id of a request, or its reply."""
    if not waits:
        if as_json:
            say_json({"id": submitted.id})
        else:
            say(submitted.id)
        return
    try:
        value = submitted.result()
    except zmqkit.CallTimeout as error:
        error.args = (f"{error}; `zmqkit collect {service} {submitted.id}` waits on",)
        raise
    if as_json:
        say_json({"id": submitted.id, "result": value})
    else:
        say_value(value, as_json=False)
