"""What the terminal can say went wrong: a code, an exit status, and what to type next.

LabError
├── UsageError        2   the command asks for something that is not there
├── NoLabError        2   not in a lab's folder
├── ExistsError       2   would write over something
├── NoContactError    5   instruments do not answer
├── SwappedError      5   other machines answer than were registered
├── SimulationError   5   a simulated machine answers in a lab of real ones
├── NotSimulatedError 5   a simulated machine that was added while others are at work
├── DamagedJournalError 1 what an instrument had begun is known to nobody
└── StoppedError    130   Ctrl-C, twice
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer._click.exceptions import ClickException

    from campaigns.toml_file import FileFaults


LISTED = (
    "campaign",
    "experiment",
    "sample",
    "candidate",
    "measurement",
    "task",
    "instrument",
)  #: kinds with a `list` command


class LabError(Exception):
    """Something that a person at the terminal can put right."""

    code = "LAB-0100"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", where: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where


class UsageError(LabError):
    """The command asks for something that is not there."""

    code = "LAB-0101"
    exit_status = 2


class NoLabError(LabError):
    """Not in a lab's folder."""

    code = "LAB-0102"
    exit_status = 2

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="cd into a lab, add --lab DIR, or make one: labctl init my-lab --lab electrolyte"
        )


class ExistsError(LabError):
    """Would write over something."""

    code = "LAB-0103"
    exit_status = 2


class NoContactError(LabError):
    """Instruments do not answer."""

    code = "LAB-0501"
    exit_status = 5

    def __init__(self, silent: Mapping[str, str]) -> None:
        names = ", ".join(silent)
        verb = "does not answer as it should" if len(silent) == 1 else "do not answer as they should"
        super().__init__(
            f"{names} {verb}; nothing was started",
            where=tuple(f"{name}: {why}" for name, why in silent.items()),
            hint="check power, cable and address, then: labctl doctor",
        )


class SwappedError(LabError):
    """Other machines answer than were registered under these names."""

    code = "LAB-0503"
    exit_status = 5

    def __init__(self, swapped: Mapping[str, tuple[str, str]]) -> None:
        names = ", ".join(swapped)
        super().__init__(
            f"{names}: another machine answers than the one on record; nothing was started",
            where=tuple(f"{name}: {now!r} answers, {was!r} is on record" for name, (was, now) in swapped.items()),
            hint="see to the cables; where it was exchanged on purpose, give it a new name in labctl.toml",
        )


class SimulationError(LabError):
    """A simulated machine answers in a lab of real ones."""

    code = "LAB-0504"
    exit_status = 5

    def __init__(self, simulated: Mapping[str, str]) -> None:
        names = ", ".join(simulated)
        super().__init__(
            f"{names}: a simulation answers, and its values would count as measured; nothing was started",
            where=tuple(f"{name}: {identity!r}" for name, identity in simulated.items()),
            hint="give the real machine's address in labctl.toml, or write simulated = true",
        )


class NotSimulatedError(LabError):
    """The simulated machines were started before labctl.toml named this one."""

    code = "LAB-0505"
    exit_status = 5

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the simulated machines were started before labctl.toml named {name}, and a worker uses them",
            hint="they start anew with the next command once that worker has ended; labctl worker list says which",
        )


class DamagedJournalError(LabError):
    """The journal of an instrument cannot be read any more: what it had begun is known to nobody else."""

    code = "LAB-0606"

    def __init__(self, path: Path, said: object) -> None:
        super().__init__(
            f"the journal {path} is damaged ({said}); nothing was started",
            hint="move that file away, then: labctl worker run --host NAME --journal-lost, which asks people what became"
            " of its jobs",
        )


class StoppedError(LabError):
    """Stopped by Ctrl-C."""

    code = "LAB-0130"
    exit_status = 130


def roots() -> tuple[type[Exception], ...]:
    """Every error that has something to say to a person at the terminal."""
    from typer._click.exceptions import ClickException
    from typer.exceptions import Abort, Exit

    from campaigns.errors import CampaignError, trouble
    from campaigns.toml_file import FileFaults
    from campaigns.units import UnitError
    from instruments.errors import InstrumentError
    from materials_db.errors import MaterialsDBError

    return (
        LabError, FileFaults, CampaignError, UnitError, InstrumentError, MaterialsDBError, ClickException, Abort, Exit, *trouble(),
    )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """An error as it is shown."""

    code: str
    exit_status: int
    message: str
    where: tuple[str, ...] = ()
    hint: str = ""


#: What the system says of a place where nothing can be read or written, however healthy the disk.
PLACES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def report(error: Exception) -> Report:
    """What to say about an error."""
    from campaigns.errors import trouble
    from campaigns.toml_file import FileFaults
    from instruments.errors import InstrumentError, OutOfLimits, TransportError
    from materials_db import errors as db

    if isinstance(error, LabError):
        return Report(error.code, error.exit_status, error.message, error.where, error.hint)
    if isinstance(error, FileFaults):
        return report_faults(error)
    if isinstance(error, db.NotFoundError):
        return Report("LAB-0301", 3, str(error), (), f"labctl {error.kind} list" if error.kind in LISTED else "")
    kinds: tuple[tuple[type[Exception], str, int, str], ...] = (
        (db.NewerDatabaseError, "LAB-0302", 2, "install the newest labctl; nothing was touched"),
        (db.UnreachableError, "LAB-0303", 5, "see that the server runs and lets you in, then the same command again"),
        (db.NetworkDriveError, "LAB-0304", 2, db.NetworkDriveError.remedy),
        (db.ConflictError, "LAB-0601", 6, ""),
        (db.DamagedLogError, "LAB-0701", 1, "restore a backup; the database was changed from outside"),
        (db.DamagedFileError, "LAB-0702", 1, "restore the file from a backup"),
        (db.DamagedDatabaseError, "LAB-0703", 1, db.DamagedDatabaseError.remedy),
        (db.MaterialsDBError, "LAB-0300", 1, "labctl doctor"),
        (OutOfLimits, "LAB-0231", 7, ""),
        (TransportError, "LAB-0502", 5, "check power, cable and address, then: labctl doctor"),
        (InstrumentError, "LAB-0500", 1, ""),
    )
    for kind, code, status, hint in kinds:
        if isinstance(error, kind):
            return Report(code, status, str(error), (), hint)
    if isinstance(error, PLACES):
        said = f"{short_path(Path(str(error.filename)))}: {(error.strerror or str(error)).lower()}"
        return Report("LAB-0303", 1, said, (), "name another place, or see what stands there and who may write there")
    if isinstance(error, trouble()):
        said = f"disk or database fail: {getattr(error, 'orig', None) or error}"
        return Report(
            "LAB-0303", 1, said, (), "see to disk space and database, then type the same again: nothing is lost"
        )
    return Report("LAB-0200", 2, str(error))


def report_usage(error: ClickException) -> Report:
    """A command line that cannot be understood."""
    context = getattr(error, "ctx", None)
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    usage = tuple(context.get_usage().splitlines()) if context else ()
    help_of = f"{context.command_path} -h" if context else "labctl -h"
    return Report(UsageError.code, error.exit_code, said[:1].lower() + said[1:], usage, help_of)


def report_faults(error: FileFaults) -> Report:
    """All faults of a file at once."""
    lines = []
    for fault in error.faults:
        place = f"{short_path(error.path)}:{fault.line}" if fault.line else short_path(error.path)
        written = f"{fault.key} = {fault.value}" if fault.key and fault.value else fault.key
        lines.append(f"{place}  {written}".rstrip())
        lines.append(f"    {fault.message}" + (f"; {fault.hint}" if fault.hint else ""))
    count = len(error.faults)
    first = error.faults[0].code if error.faults else "LAB-0201"
    number = "one fault" if count == 1 else f"{count} faults"
    return Report(first, 2, f"{short_path(error.path)} has {number}; nothing was done", tuple(lines))


def short_path(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def show(error: Exception) -> int:
    """Write the error to stderr in the shape that was asked for; the exit status."""
    from typer._click.exceptions import ClickException, NoArgsIsHelpError
    from typer.exceptions import Abort, Exit

    from labctl.cleaning import clean

    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, Abort):
        return 130
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return error.exit_code
    found = report_usage(error) if isinstance(error, ClickException) else report(error)
    if wants_json(sys.argv):
        shown = {"code": found.code, "message": found.message, "where": list(found.where), "hint": found.hint}
        print(json.dumps({"schema": "labctl/v1", "error": shown}), file=sys.stderr)
    else:
        lines = [f"error {found.code}: {found.message}", *(f"  {line}" for line in found.where)]
        for line in [*lines, *([f"  try: {found.hint}"] if found.hint else [])]:
            print("\n".join(map(clean, line.splitlines())), file=sys.stderr)
    return found.exit_status


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asked for JSON, also when it could not be understood."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        a in ("-ojson", "-ojsonl", "--output=json") or (a in ("-o", "--output") and b.startswith("json"))
        for a, b in pairs
    )
