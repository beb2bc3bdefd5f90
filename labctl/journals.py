"""The folder in which this machine's journals lie: who it is, and which database they were written with.

Jobs and leases are numbered anew in every database. A journal that answered for another
database's E-00001 would hand out results of a sample that this one never made.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabError

if TYPE_CHECKING:
    from labctl.wiring import Lab
    from materials_db.store import Transaction


class OtherDatabaseError(LabError):
    """The journals here were written with another database."""

    code = "LAB-0605"
    exit_status = 6


def identity(lab: Lab) -> str:
    """Of the folder; made with the first worker."""
    path = folder(lab) / "identity"
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text().strip()


def bind(lab: Lab) -> None:
    """Write down which database the journals go with, once it has its first event."""
    path = folder(lab) / "database"
    if not path.exists():
        beside = path.with_suffix(
            ".new"
        )  # killed, or out of room, half-way, it must not say that another database is meant
        with lab.store.transaction() as tx:
            beside.write_text(first_event(tx))
        beside.replace(path)


def refuse_other_database(lab: Lab, tx: Transaction) -> None:
    """Raise OtherDatabaseError if the journals here go with another database than this."""
    path = folder(lab) / "database"
    if path.exists() and path.read_text().strip() != first_event(tx):
        raise OtherDatabaseError(
            f"the journals in {path.parent} were written with another database: the jobs that they know have the names"
            " of others in this one. Nothing was started",
            hint="put that database back (labctl db move-to URL takes a lab to a server, with all its numbers), or,"
            f" with all machines idle, move {lab.state} away to begin anew",
        )


def first_event(tx: Transaction) -> str:
    """What tells a database from all others: the hash of the first line of its log. Copies keep it, an empty one has none."""
    return next((event.hash for event in tx.events(limit=1)), "")


def folder(lab: Lab) -> Path:
    """Where they lie."""
    path = lab.state / "journal"
    path.mkdir(parents=True, exist_ok=True)
    return path
