"""Moving a lab's data from its SQLite file to a PostgreSQL server."""

from __future__ import annotations

import re
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import finding, wiring
from labctl.errors import LabError, UsageError
from labctl.locks import host_lock
from materials_db import looking
from materials_db import records as db
from materials_db.errors import DamagedFileError, DamagedLogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.wiring import Lab
    from materials_db.store import Transaction

Row = dict[str, Any]


class BusyError(LabError):
    """Somebody works, or something is under way, that must rest first."""

    code = "LAB-0602"
    exit_status = 6


def move_to(lab: Lab, url: str, *, switch: bool) -> dict[str, int]:
    """Copy the lab's data there and check them; with `switch` the lab file says so from then on.

    Raises
    ------
    UsageError
        The lab is on a server already, has no data, or the address cannot be one.
    BusyError
        A worker runs, or a campaign or an experiment is under way: their engine's records would stay behind.
    MaterialsDBError
        The target is not empty, does not answer, or a log does not verify. Nothing was written.
    """
    target = address(lab, url)
    with resting(lab):
        counts = wiring.move(lab, target)
        if switch:
            switch_to(lab.folder / finding.FILE, url)
    return counts


def address(lab: Lab, url: str) -> str:
    """The address as our libraries want it."""
    if lab.on_server:
        raise UsageError("this lab's data are on a server already", hint="labctl db check")
    if fault := finding.fault_of(url):
        raise UsageError(f"URL: {fault}")
    if not url.startswith("postgresql"):
        raise UsageError("URL: this is no server", hint="labctl db move-to postgresql+psycopg://USER@HOST/DATABASE")
    if not looking.there(lab.glance_path):
        raise UsageError("this lab has no data yet", hint="write lab.database into labctl.toml, that is all")
    return finding.resolved(url, lab.folder)


@contextmanager
def resting(lab: Lab) -> Iterator[None]:
    """Nobody works while this lasts. Raises BusyError."""
    lock = host_lock(lab)
    if not lock.take():
        raise BusyError("a worker is at work on this lab; nothing was moved", hint="labctl campaign pause last")
    try:
        with lab.store.transaction() as tx:
            refuse_unless_at_rest(tx)
        yield
    finally:
        lock.release()
        lab.store.close()


def refuse_unless_at_rest(tx: Transaction) -> None:
    """A paused campaign has nothing under way, so that any worker can begin it afresh; a running one has."""
    if running := [c.id for c in tx.find(db.Campaign, state=("created", "running"))]:
        raise BusyError(
            f"{', '.join(running)} is under way; nothing was moved", hint=f"labctl campaign pause {running[0]}"
        )
    if open_ := [e.id for e in tx.find(db.Experiment, state=("planned", "running"))]:
        raise BusyError(f"{', '.join(open_[:4])} is under way; nothing was moved", hint="labctl campaign resume last")


def switch_to(path: Path, url: str) -> None:
    """Change the one line of the lab file, or add it; everything else stays as it is."""
    text = path.read_text(encoding="utf-8-sig")
    line = f'database = "{url}"'
    head, lab, rest = re.split(r"(?m)^(\[lab\][^\n]*\n)", text, maxsplit=1)
    section, *others = re.split(r"(?m)^(?=\[)", rest, maxsplit=1)
    fresh, found = re.subn(r"(?m)^database\s*=[^\n]*$", lambda _: line, section, count=1)
    changed = head + lab + (fresh if found else f"{line}\n{section}") + "".join(others)
    tomllib.loads(changed)
    beside = path.with_suffix(".toml.new")
    beside.write_text(changed, encoding="utf-8")
    beside.replace(path)


def check(lab: Lab) -> list[Row]:
    """Whether the file is whole, the log unbroken, every row what the log says, every link and raw file sound."""
    from labctl.checking import file_of
    from labctl.checking import finding as line

    whole = file_of(lab)
    if any(row["state"] == "wrong" for row in whole):
        return whole  # what else can be read of it tells nothing
    lost = wiring.broken_links(lab)
    with lab.store.transaction() as tx:
        damaged, count = damaged_files(tx)
        rows = [*whole, line("audit log", *log_of(tx), "restore a backup")]
    rows.append(
        line("rows", *rows_of(lab, rows[-1]["state"]), "restore a backup, or write them again as the log has them")
    )
    rows.append(line("links", "wrong" if lost else "ok", "; ".join(lost) or "all lead somewhere", "restore a backup"))
    rows.append(line("raw files", "wrong" if damaged else "ok", "; ".join(damaged) or f"{count}, all as they were"))
    return [{**row, "remedy": row["remedy"] if row["state"] == "wrong" else ""} for row in rows]


def log_of(tx: Transaction) -> tuple[str, str]:
    """State of the log, in a word and in a sentence."""
    try:
        return "ok", f"{tx.verify_events()} lines, chain unbroken"
    except DamagedLogError as error:
        return "wrong", str(error)


def rows_of(lab: Lab, log: str) -> tuple[str, str]:
    """Whether the rows are what the log says, in a word and in a sentence."""
    if log != "ok":
        return "note", "not compared: the log is no witness any more"
    found = wiring.agreement(lab)
    return "wrong" if found.differing else "ok", str(found)


def damaged_files(tx: Transaction) -> tuple[list[str], int]:
    """Raw files that are not there or have changed, and how many were looked at."""
    found, files = [], tx.find(db.RawFile)
    for file in files:
        try:
            tx.read_raw(file.id)
        except DamagedFileError as error:
            found.append(str(error))
    return found, len(files)
