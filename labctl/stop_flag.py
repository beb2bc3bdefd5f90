"""Whether the lab is stopped: a file in its folder, or holds on record. Light enough for every command."""

from __future__ import annotations

from pathlib import Path

from materials_db.looking import ask

FILE = "stopped"
STOPPED = "labctl stop --all"  #: the reason of its holds in the record, and of the hosts
NOTHING_BEGINS = "the whole lab is stopped; afterwards: labctl stop --release"
ON_RECORD = "SELECT id FROM hold WHERE state = 'active' AND reason = ? LIMIT 1"


def flag(folder: Path) -> Path:
    """The file whose presence stops the lab in that folder."""
    return folder / ".labctl" / FILE


def stopped(folder: Path, place: Path | str) -> bool:
    """Whether the lab is stopped: in that folder, or on record for all its machines. Raises UnreachableError."""
    return flag(folder).exists() or (isinstance(place, str) and bool(ask(place, ON_RECORD, STOPPED)))
