"""`zmqkit`: find the command, run it, and turn an error into a line and an exit code."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches

import click

from zmqkit import __version__
from zmqkit.cli.output import Escaping, JsonLines, say, say_error, tell, tell_lines, text_of
from zmqkit.errors import (
    AddressTaken,
    CallTimeout,
    JournalError,
    RemoteError,
    UsageError,
    ZmqkitError,
)
from zmqkit.roles.logs import FORMAT, to_stderr

FAILED, USAGE, TIMEOUT, INTERRUPTED = 1, 2, 124, 130
UNAVAILABLE, CANTCREAT, IOERR, CONFIG = 69, 73, 74, 78
"""Of sysexits.h: an address is taken; a file is there already; a journal cannot be opened, read
or written; a device file, an option's value or an environment variable is wrong."""

_COMMANDS = {
    "bench": "zmqkit.cli.bench",
    "call": "zmqkit.cli.call",
    "collect": "zmqkit.cli.collect",
    "demo": "zmqkit.cli.demo",
    "device": "zmqkit.cli.device",
    "doctor": "zmqkit.cli.doctor",
    "graph": "zmqkit.cli.graph",
    "ls": "zmqkit.cli.ls",
    "metrics": "zmqkit.cli.exporter",
    "ping": "zmqkit.cli.ping",
    "pub": "zmqkit.cli.pub",
    "push": "zmqkit.cli.push",
    "queue": "zmqkit.cli.queue",
    "run": "zmqkit.cli.run",
    "serve": "zmqkit.cli.serve",
    "sink": "zmqkit.cli.sink",
    "stats": "zmqkit.cli.stats",
    "sub": "zmqkit.cli.sub",
    "submit": "zmqkit.cli.submit",
    "tap": "zmqkit.cli.tap",
    "top": "zmqkit.cli.top",
    "work": "zmqkit.cli.work",
}


class CommandGroup(click.Group):
    """Commands that each take -v; a name that is mistyped is answered with those like it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help, and end with 2, where a command is missing."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            tell_lines(ctx.get_help())
            ctx.exit(USAGE)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None if there is none."""
        command = self._find(ctx, cmd_name)
        if command is not None and not any(each.name == "verbose" for each in command.params):
            command.params.append(verbose())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments; UsageError for an unknown name."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = get_close_matches(name, self.list_commands(ctx), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def _find(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name)


class Commands(CommandGroup):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(_COMMANDS)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raise Abort if it is interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # If click handled the interrupt, it would write an empty line into files too.
            raise click.Abort from error

    def _find(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[name]).command
        assert isinstance(command, click.Command)
        return command


def verbose() -> click.Option:
    """Return the option -v, which the commands share."""
    return click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=log_to_stderr,
        help="Log to standard error; -vv logs more. Errors come with their traceback.",
    )


def log_to_stderr(ctx: click.Context, option: click.Parameter, count: int) -> int:
    """Log to standard error, the more the higher `count` is. Return `count`.

    count: how many times -v was given. Zero logs nothing more than usual.
    """
    if not count:
        return count
    handler = logging.StreamHandler()
    text = Escaping(FORMAT)
    handler.setFormatter(JsonLines() if JsonLines.wanted else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("zmqkit").setLevel(logging.INFO)
    if count > 1:
        logging.getLogger().setLevel(logging.DEBUG)
        logging.getLogger("zmqkit").setLevel(logging.DEBUG)
    return count


@click.group(
    cls=Commands,
    params=[verbose()],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Exit codes: 0 done, 1 failed or nobody reads the output, 2 wrong usage, "
    "74 a journal cannot be had or its disk failed, 124 nothing came in time, 130 interrupted, "
    "143 ended by SIGTERM. "
    "Of run, serve, work, device, doctor and metrics also: 69 the address is taken, 73 the "
    "file is there already, 78 the configuration is wrong.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda context, option, wanted: _show_version(context) if wanted else None,
    help="Print the version.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Programs that find each other by name, with no broker and no address.

    Without --insecure (or ZMQKIT_INSECURE=1) everything stays on this machine, but for what
    `zmqkit doctor` asks the network.
    """
    if context.invoked_subcommand is None:
        tell_lines(context.get_help())
        context.exit(USAGE)


def _show_version(context: click.Context) -> None:
    say(f"zmqkit {__version__}")
    context.exit()


def main() -> None:
    """Run what the command line says and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. If it failed, write a line that says why."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Escaping())  # writes warnings where there is no -v
    to_stderr.setFormatter(Escaping(FORMAT))
    if sys.stdout is None:
        say_error("standard output is closed; to drop it, write to /dev/null")
        return FAILED
    try:
        code = cli.main([*arguments], prog_name="zmqkit", standalone_mode=False)
    except click.ClickException as error:
        say_error(_usage_text(error))
        return error.exit_code
    except click.Abort:
        if sys.stderr.isatty():
            tell("")  # ends the line in which the terminal shows ^C
        say_error("interrupted")
        return INTERRUPTED
    except ZmqkitError as error:
        return failed(error)
    except OSError as error:  # a full disk, for example
        place = f"{error.filename}: " if error.filename else ""
        reason = (error.strerror or str(error)).lower() or type(error).__name__
        say_error(f"{place}{reason}; -v shows where")
        _show_traceback()
        return FAILED
    except Exception as error:  # noqa: BLE001 - a bug here; people get a line, -v the rest
        say_error(f"{type(error).__name__}: {error}; -v shows where")
        _show_traceback()
        return FAILED
    return code if isinstance(code, int) else 0


def _usage_text(error: click.ClickException) -> str:
    """Return what is wrong with the command line, and which help tells the remedy."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    return f"{text}; see {context.command_path} --help" if context else text


def failed(error: ZmqkitError, code: int | None = None) -> int:
    """Say what failed, and return the exit code: this one, or what the kind of error says."""
    say_error(f"{text_of(error)}{_remedy(error)}")
    if isinstance(error, RemoteError) and _is_verbose():
        tell_lines(error.traceback.rstrip())
    else:
        _show_traceback()
    if code is not None:
        return code
    if isinstance(error, UsageError) and not isinstance(error, AddressTaken):
        return USAGE
    if isinstance(error, JournalError):
        return IOERR
    return TIMEOUT if isinstance(error, CallTimeout) else FAILED


def _remedy(error: ZmqkitError) -> str:
    """Return what to do on the command line, if the error itself does not say it."""
    if isinstance(error, RemoteError) and not _is_verbose():
        return "; -v shows where, over there"
    return ""


def _show_traceback() -> None:
    if _is_verbose():
        tell_lines(traceback.format_exc().rstrip())


def _is_verbose() -> bool:
    return logging.getLogger("zmqkit").isEnabledFor(logging.INFO)
