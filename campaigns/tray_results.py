"""How the samples of a tray begin and end together in the database. Each function is one transaction's work."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from campaigns import instrument_time
from campaigns.results import ACTOR, BEGUN, FINAL, begin, job_and_step, lease, request_of, tell, wanted
from campaigns.trays import set_points
from instruments.contract import Fault, JobRequest, JobState, JobStatus, SampleAt
from materials_db import records as db
from materials_db.store import Transaction


def new_tray(tx: Transaction, job_id: str) -> tuple[str, int]:
    """An id for a tray, and how many steps this sample has behind it."""
    _, step = job_and_step(tx, job_id)
    return f"Y-{tx.next_number('tray'):05d}", step.get("behind", 0)


def start_tray(
    tx: Transaction,
    tray: str,
    job_ids: Sequence[str],
    instrument: str,
    instrument_id: str | None,
    at: datetime,
    takes_s: float,
    site: str | None = None,
    *,
    room: int,
) -> tuple[str, list[str]] | None:
    """Take the lease and mark the jobs as running together; the tray, and those that are on it.

    It is another tray where one of them is on that already, by a worker that took control from this one.
    None while the instrument is not to be had (`results.lease`). Harmless to repeat.
    """
    on = next((job.tray for id in job_ids if (job := tx.get(db.Job, id)).tray), tray)
    if known := [job.id for job in tx.find(db.Job, tray=on)]:
        return on, known  # or written before, by a commit whose answer was lost
    placed, _ = on_board(tx, job_ids, room)
    if not placed:
        return tray, []
    if lease(tx, instrument, tray, at) is None:
        return None
    for job in placed:
        tx.move(
            db.Job, job.id, at=at, actor=ACTOR, was=["planned", "queued"],
            state="running", instrument_id=instrument_id, started_at=at, tray=tray, message="",
            due_at=at + timedelta(seconds=takes_s),
        )  # fmt: skip
        begin(tx, tx.get(db.Experiment, job.experiment_id), site, at)
    return tray, [job.id for job in placed]


def may_go(tx: Transaction, job_ids: Sequence[str], room: int, at: datetime) -> bool:
    """Whether a tray with any of these may start; those that it would leave behind for want of a budget say so."""
    placed, unpaid = on_board(tx, job_ids, room)
    for id, why in unpaid.items():
        tell(tx, id, why, at)
    return bool(placed) or not unpaid


def on_board(tx: Transaction, job_ids: Sequence[str], room: int) -> tuple[list[db.Job], dict[str, str]]:
    """Who is on a tray that starts now, in order; and who is not, as its campaign cannot pay for its mates to go later."""
    left = [job for job in (tx.get(db.Job, id) for id in job_ids) if wanted(tx, job)]
    behind: dict[str, str] = {}
    while unpaid := instrument_time.unpaid(tx, left[:room]):
        behind |= unpaid
        left = [job for job in left if job.id not in behind]
    return left[:room], behind


def place_of_tray(tx: Transaction, tray: str) -> tuple[str, int]:
    """The instrument that a tray is on, and the fence of its lease."""
    lease = next((lease for lease in tx.leases() if lease.holder == tray), None)
    if lease is not None:
        return lease.instrument, lease.fence
    first = tx.find(db.Job, tray=tray)[0]
    assert first.instrument_id is not None
    return tx.get(db.Instrument, first.instrument_id).name, 0


def clear_tray(tx: Transaction, tray: str, instrument: str) -> bool:
    """Give the instrument back once the last sample of a tray has its outcome; whether that is so."""
    last = all(member.state in FINAL for member in tx.find(db.Job, tray=tray))
    if last:
        tx.release(instrument, tray)
    return last


def begun_on(tx: Transaction, instruments: Collection[str]) -> dict[str, list[JobRequest]]:
    """What has begun on these instruments and has no outcome on record: what each was asked, trays once."""
    found: dict[str, dict[str, JobRequest]] = {}
    for job in tx.find(db.Job, state=BEGUN):
        name = tx.get(db.Instrument, job.instrument_id).name if job.instrument_id else ""
        if name in instruments:
            request = of_tray(tx, job.tray)[0] if job.tray else request_of(job)
            found.setdefault(name, {})[request.job_id] = request
    return {name: list(requests.values()) for name, requests in found.items()}


def of_tray(tx: Transaction, tray: str) -> tuple[JobRequest, list[str]]:
    """The request and the jobs of a tray that has started."""
    jobs = tx.find(db.Job, tray=tray)
    first = jobs[0]
    samples = tuple(SampleAt(sample_id=job.sample_id, position=str(i)) for i, job in enumerate(jobs, 1))
    request = JobRequest(job_id=tray, capability=first.capability, params=first.params, samples=samples)
    return request, [job.id for job in jobs]


def told(tx: Transaction, tray: str) -> JobStatus | None:
    """What samples of a tray were told of an act that had not begun: the others are told the same. None before that.

    Those who were told may be on their way to another tray, so the act must not begin any more.
    """
    ended = next((job for job in tx.find(db.Job, tray=tray) if job.state in FINAL), None)
    if ended is None:
        return None
    state = JobState.ABORTED if ended.state == "aborted" else JobState.NOT_STARTED
    return JobStatus(job_id=tray, state=state, fault=Fault(ended.fault) if ended.fault else None, message=ended.message)


def to_come(tx: Transaction, capabilities: Sequence[str]) -> dict[tuple[str, str], set[str]]:
    """Jobs of these capabilities that have not begun and still may, by what they have in common with others of a tray."""
    jobs = tx.find(db.Job, capability=list(capabilities), state=("planned", "queued"))
    experiments = list({job.experiment_id for job in jobs})
    active = {e.id for e in tx.find(db.Experiment, id=experiments, state=("planned", "running"))}
    found: dict[tuple[str, str], set[str]] = {}
    for job in jobs:
        if job.experiment_id in active:
            found.setdefault((job.capability, set_points(job.params)), set()).add(job.id)
    return found
