"""When labctl itself takes an instrument out, and when it trusts one less than another."""

from __future__ import annotations

from datetime import datetime

from campaigns.results import ACTOR
from instruments.contract import ACTION, Fault
from materials_db import records as db
from materials_db.store import Transaction

SILENT = "does not answer"  #: how the reason of a hold begins that ends by itself
SICK, SICK_OF = 3, 5  #: so many machine faults of so many runs take an instrument out
TWICE = 2  #: so many runs in a row whose reference was off do, too; a single one is only repeated
LOOKED_AT = 64  #: jobs looked through for the newest runs, of which a tray is one
#: Faults that say something about a machine, and nothing about the material.
MACHINE_FAULTS = {
    Fault.TRANSPORT, Fault.TIMEOUT, Fault.BAD_REPLY, Fault.INTERLOCK, Fault.JAM, Fault.DRIFT, Fault.UNKNOWN,
}  # fmt: skip


def place(tx: Transaction, instrument: str, reason: str, at: datetime) -> None:
    """Take an instrument out, unless it is out already."""
    if tx.find(db.Hold, instrument=instrument, state="active"):
        return
    id = f"H-{tx.next_number('H'):04d}"
    made = db.Hold(id=id, instrument=instrument, mode="hold", reason=reason, placed_by=ACTOR, placed_at=at)
    tx.add(made, at=at, actor=ACTOR)


def release_own(tx: Transaction, instrument: str, at: datetime, why: str = SILENT) -> None:
    """What labctl itself has held for this reason is free: it answers again, or has a new certificate."""
    for own in tx.find(db.Hold, instrument=instrument, state="active", placed_by=ACTOR):
        if own.reason.startswith(why):
            tx.move(
                db.Hold, own.id, at=at, actor=ACTOR, was=["active"], state="released", released_by=ACTOR, released_at=at
            )


def place_if_sick(tx: Transaction, instrument: str, instrument_id: str, at: datetime) -> None:
    """Take an instrument out whose jobs keep failing for reasons of its own."""
    last = newest_acts(tx, instrument, instrument_id)[-SICK_OF:]
    faults = [job.fault for job in last if job.fault in MACHINE_FAULTS]
    if len(faults) >= SICK:
        place(tx, instrument, f"{len(faults)} of its last {len(last)} runs failed: {', '.join(map(str, faults))}", at)


def doubted(tx: Transaction) -> set[str]:
    """Instruments whose newest run has cost a sample for reasons of their own; none that somebody has released since."""
    rows = {row.name: row.id for row in tx.find(db.Instrument, order="registered_at")}
    newest = {name: newest_acts(tx, name, id)[-1:] for name, id in rows.items()}
    return {name for name, jobs in newest.items() if any(spoilt(tx, job) for job in jobs)}


def spoilt(tx: Transaction, job: db.Job) -> bool:
    """Whether its sample was given up for reasons of the machine."""
    return job.fault in MACHINE_FAULTS and tx.get(db.Experiment, job.experiment_id).state == "failed"


def place_if_off(tx: Transaction, instrument: str, instrument_id: str, at: datetime) -> None:
    """Take an instrument out, twin or not, whose own reference was off twice in a row: all that it reads is wrong."""
    last = newest_acts(tx, instrument, instrument_id)[-TWICE:]
    if len(last) == TWICE and all(any(abs(c["zeta"]) >= ACTION for c in job.as_run.get("checks", ())) for job in last):
        place(tx, instrument, f"drift: {last[-1].message}; calibrate it, then release it", at)


def newest_acts(tx: Transaction, instrument: str, instrument_id: str) -> list[db.Job]:
    """A job of each of its newest runs since somebody released it last: the samples of a tray share one."""
    return list({j.tray or j.id: j for j in reversed(since_release(tx, instrument, instrument_id, LOOKED_AT))}.values())


def since_release(tx: Transaction, instrument: str, instrument_id: str, count: int) -> list[db.Job]:
    """Its newest jobs that have ended, none from before somebody released it last."""
    holds = tx.find(db.Hold, instrument=instrument, state="released", order="released_at", newest_first=True, limit=1)
    since = holds[0].released_at if holds else None
    last = tx.find(db.Job, instrument_id=instrument_id, order="ended_at", newest_first=True, limit=count)
    return [job for job in last if job.ended_at and (since is None or job.ended_at > since)]
