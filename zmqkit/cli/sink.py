"""`zmqkit sink`: print the results of tasks that were pushed for a sink."""

from __future__ import annotations

import click

import zmqkit
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, tell, to_json
from zmqkit.cli.serve import where


@click.command("sink", short_help="Print the results of tasks that go to a sink.")
@click.argument("name")
@click.option("--count", type=click.IntRange(min=1), help="End after so many results.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="End when no result came for so long; forever unless told.",
)
@click.option("--bind", metavar="URL", help="tcp://HOST:PORT; else any free port.")
@click.option("--json", "as_json", is_flag=True, help="One object a line: id, attempt, value.")
@click.option("--insecure", is_flag=True, help="Serve other machines too, in plain text.")
def command(
    *,
    name: str,
    count: int | None,
    timeout_s: float | None,
    bind: str | None,
    as_json: bool,
    insecure: bool,
) -> None:
    """Print the results of tasks of NAME that were pushed with --results sink, a line each.

    Text is printed plainly and everything else as JSON; control characters are escaped as in
    Python. A result is accepted once it is printed, and then it is gone. What was not accepted
    goes to another sink, or to this one when it is started again; so one may come twice, with
    the same id. Several sinks of a name share the results. Results wait, in the pusher, its
    journal or the streamer, until a sink is there.

    \b
    zmqkit sink thumbnails
    zmqkit sink thumbnails --json --count 10 | jq .value
    """
    with zmqkit.Sink(name, bind=bind, insecure=insecure or None) as sink:
        tell(where(name, sink.endpoint, sink.reach).replace("serving", "taking results of", 1))
        printed = 0
        while printed != count:
            result = sink.receive(timeout_s)
            if result is None:
                raise zmqkit.CallTimeout(f"no result of {name!r} came for {timeout_s:g} s")
            if as_json:
                say_json({"id": result.id, "attempt": result.attempt, "value": result.value})
            else:
                say(result.value if isinstance(result.value, str) else to_json(result.value))
            sink.acknowledge()
            printed += 1
