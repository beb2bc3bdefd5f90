"""The folder in which this machine's journals lie: who it is, and which database they were written with.

Jobs and leases are numbered anew in every database. A journal that answered for another
database's E-00001 would hand out results of a sample that this one never made.
"""

from __future__ import annotations

import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from instruments.contract import JobRequest
    from labctl.wiring import Lab
    from materials_db.records import Worker
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


def replace_lost(lab: Lab, me: Worker) -> list[str]:
    """Put in doubt what had begun on this host's instruments by journals that are gone for good; ids of the jobs.

    The new journals say so, before anything is asked of them: it becomes questions to people, and is never begun again.

    Raises
    ------
    UsageError
        The journals are here; nothing needs to be given up.
    """
    from campaigns.tray_results import begun_on
    from labctl.wiring import actor

    with lab.store.transaction() as tx:
        before = [worker.journal for worker in tx.workers() if worker.host == me.host]
        begun = begun_on(tx, me.instruments)
    if before == [me.journal] and all(lab.journal(name).exists() for name in begun):
        raise UsageError(
            f"the journals of host {me.host} are here, in {folder(lab)}, and tell what had begun; nothing was given up",
            hint=f"labctl worker run --host {me.host}",
        )
    at, why = lab.clock().now(), f"the journal of host {me.host} was lost, says {actor()}"
    return [id for name, requests in begun.items() for id in doubt(lab.journal(name), requests, at, why)]


def doubt(path: Path, requests: Sequence[JobRequest], at: datetime, why: str) -> list[str]:
    """Write into a journal that nobody knows what became of these, but for those that it knows; their ids."""
    from instruments.contract import JobState
    from instruments.journal import Journal

    with closing(Journal(path)) as journal:
        unknown = [request for request in requests if journal.get(request.job_id) is None]
        for request in unknown:
            journal.intent(request, "", at)
            journal.ended(request.job_id, JobState.IN_DOUBT, at, message=why)
    return [request.job_id for request in unknown]


def first_event(tx: Transaction) -> str:
    """What tells a database from all others: the hash of the first line of its log. Copies keep it, an empty one has none."""
    return next((event.hash for event in tx.events(limit=1)), "")


def folder(lab: Lab) -> Path:
    """Where they lie."""
    return lab.journal("any").parent
