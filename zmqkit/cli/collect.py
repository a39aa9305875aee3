"""`zmqkit collect`: print the reply to a request that a broker keeps."""

from __future__ import annotations

import click

import zmqkit
from zmqkit.cli.completing import names
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say_value
from zmqkit.limits import TIMEOUT_S


@click.command("collect", short_help="Print the reply to a request that was submitted.")
@click.argument("service", shell_complete=names("service"))
@click.argument("id")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the reply.",
)
@click.option(
    "--state",
    "only_state",
    is_flag=True,
    help="Print the state instead: waiting, leased (a worker has it), done, failed, dead …",
)
@click.option("--json", "as_json", is_flag=True, help="Print text as JSON too, for programs.")
@click.option("--insecure", is_flag=True, help="Use other machines too, in plain text.")
def command(
    *,
    service: str,
    id: str,
    timeout_s: float,
    only_state: bool,
    as_json: bool,
    insecure: bool,
) -> None:
    """Print the reply to the request ID, which was submitted to SERVICE, a name or a URL.

    It waits until there is a reply, which is printed as `zmqkit call` does. A reply may be
    collected more than once, as long as the broker keeps it. If the request failed, so does
    this command. It ends with 124 if there is no reply in time; the request goes on then.

    \b
    zmqkit collect orders order-17
    zmqkit collect orders order-17 --timeout 3600
    zmqkit collect orders order-17 --state
    """
    with zmqkit.Client(service, insecure=insecure or None) as client:
        if only_state:
            view = client.options(timeout_s=timeout_s)
            say_value(view.submitted(id).state(), as_json=as_json)
        else:
            say_value(client.collect(id, timeout_s), as_json=as_json)
