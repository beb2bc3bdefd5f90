"""The command line: nouns, then verbs; and the one place where errors become messages and exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from labctl.options import LabOption

INTERRUPTED = 130  #: exit status after Ctrl-C
NAMES = {
    "init": "Make a lab: its folder with commented files to start from.",
    "campaign": "Launch campaigns, follow them, pause and resume them.",
    "experiment": "What was planned, is under way, and came out.",
    "sample": "The objects that exist: composition, jobs, measurements.",
    "measurement": "Measured values with their uncertainty.",
    "candidate": "What was found, best first; take it elsewhere.",
    "trace": "The whole line behind a sample's values.",
    "instrument": "Instruments of the lab: state, capabilities, conformance.",
    "task": "What waits for a person, and the answers.",
    "queue": "What waits for which instrument, and why.",
    "stop": "Stop every machine now.",
    "optimizer": "Ask for proposals without any lab.",
    "worker": "The processes that drive the instruments of each host.",
    "db": "The database: is it sound; move it to a server.",
    "audit": "The log of everything that was written.",
    "doctor": "Check this lab and say what to do about what is wrong.",
    "version": "Which labctl this is.",
}


class Commands(TyperGroup):
    """Commands by name; a command's module is imported when it is used, not before."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a day's work."""
        return list(NAMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command."""
        if cmd_name not in NAMES:
            return None
        module = importlib.import_module(f"labctl.commands.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was typed, or the one that was probably meant."""
        if args[0] not in NAMES and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], NAMES, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Click would end with 1 where nobody reads to the end (`| head`), which is no failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return unread()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Names and summaries, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(NAMES.items()))


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run a self-driving materials laboratory from the terminal.",
    epilog="Start with: labctl init my-lab --lab electrolyte",
)


def show_version(wanted: bool) -> None:
    """`labctl --version` is `labctl version`."""
    if wanted:
        from labctl.commands.version import version

        version()
        raise typer.Exit


@app.callback()
def options(
    lab: LabOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Which labctl this is.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Run a self-driving materials laboratory from the terminal."""
    if lab is not None:  # before the command as well as behind it
        os.environ["LABCTL_LAB"] = str(lab)
    if debug:
        os.environ["LABCTL_DEBUG"] = "1"


def expected() -> tuple[type[Exception], ...]:
    """Errors that a person can do something about. Looked up only when one has come."""
    from labctl.errors import roots

    return roots()


def main() -> int:
    """Run one command; the exit status."""
    keep_stdout()
    try:
        status = typer.main.get_command(app).main(prog_name="labctl", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return unread()
    except KeyboardInterrupt:
        return interrupted()
    except expected() as error:
        from labctl.errors import show

        if os.environ.get("LABCTL_DEBUG"):
            raise
        return show(error)
    except Exception as error:
        if not came_of_ctrl_c(error):
            raise
        return interrupted()
    if status == INTERRUPTED:  # typer's answer to Ctrl-C
        return interrupted()
    return status if isinstance(status, int) else 0  # what `raise typer.Exit(1)` comes back as


def came_of_ctrl_c(error: Exception) -> bool:
    """Whether a library that was being loaded made an error of its own of the Ctrl-C: pydantic's checks are built in Rust."""
    return KeyboardInterrupt.__name__ in str(error)


def unread() -> int:
    """Whoever read our output needed no more of it."""
    from labctl.emit import quiet_pipe

    quiet_pipe()
    return 0


def interrupted() -> int:
    """Ctrl-C before a campaign is followed, or in any other command. One more ends it at once, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print("stopped by Ctrl-C; the same command can be typed again", file=sys.stderr)
    return INTERRUPTED


def keep_stdout() -> None:
    """What we print has a descriptor of its own; what libraries in C print on theirs goes to stderr."""
    if sys.stdout is not sys.__stdout__ or sys.stdout is None:
        return  # somebody listens to us within this process
    sys.stdout.flush()
    ours = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(2, 1)
    sys.stdout = sys.__stdout__ = ours  # type: ignore[misc]
