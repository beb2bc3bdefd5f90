"""How long what is under way still takes, for those who wait until a campaign rests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from campaigns.results import FINAL
from instruments.contract import Capability
from materials_db import records as db
from materials_db.store import Transaction

Able = Mapping[str, Sequence[Capability]]  #: what each instrument can do


def under_way(tx: Transaction, campaign_id: str) -> tuple[int, list[db.Job]]:
    """Experiments of a campaign that have not ended, how many, and the jobs that they still need."""
    going = tx.find(db.Experiment, campaign_id=campaign_id, state=("planned", "running"))
    jobs = tx.find(db.Job, experiment_id=[e.id for e in going]) if going else []
    return len(going), [job for job in jobs if job.state not in FINAL]


def earliest_end(jobs: Sequence[db.Job], able: Able, now: datetime) -> datetime:
    """When these jobs can have ended at the earliest.

    No sample's steps go side by side, and no instrument's acts: the longest of either bounds it
    from below. What machines and people are waited for comes on top.
    """
    ways, work = defaultdict[str, float](float), defaultdict[str, float](float)
    for job in jobs:
        left = left_s(job, able, now)
        ways[job.experiment_id] += left
        work[job.capability] += left / places(job.capability, able)
    return now + timedelta(seconds=max([0.0, *ways.values(), *work.values()]))


def left_s(job: db.Job, able: Able, now: datetime) -> float:
    """Lab seconds that a job still needs."""
    if job.due_at is not None:
        return max(0.0, (job.due_at - now).total_seconds())
    return min((c.expected_s(job.params) for c in those(job.capability, able)), default=0.0)


def places(capability: str, able: Able) -> int:
    """How many samples can have this done at once."""
    return sum(c.batch[1] for c in those(capability, able)) or 1


def those(capability: str, able: Able) -> list[Capability]:
    """What each instrument that has this capability says of it."""
    return [c for offered in able.values() for c in offered if c.name == capability]
