"""Instrument time of a campaign: what its acts took, and what is promised to those that have not begun.

Samples of one tray share an act, which takes as long with three of them as with eight. So
one whole act is promised to all mates together for as long as one of them has it before
it; whoever went on a tray took a share of what that act took.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

from campaigns.plan import Plan
from campaigns.trays import mates, set_points
from materials_db import order
from materials_db import records as db
from materials_db.store import Transaction

NOT_BEGUN = ("planned", "queued")
OPEN = ("planned", "running", "held")
PIECE = 500  #: experiments whose jobs are read at once
EXACT_S = 1e-3  #: differences below this are rounding

Acts = Mapping[str, Mapping[str, Any]]  #: by step: its capability, how long it takes, and the room of its tray


def first_of_act(acts: Acts, alike: Counter[tuple[Any, ...]], group: object, steps: Sequence[Any]) -> dict[str, float]:
    """What one more experiment of a group adds to the promises, by capability: of each act its first sample, all of it.

    Parameters
    ----------
    alike
        How many of each act were counted before; this one is counted in.
    """
    found: dict[str, float] = {}
    for step in steps:
        if (act := acts.get(step.name)) is not None:
            key = (group, step.name, set_points(step.params))
            if alike[key] % act["room"] == 0:
                found[act["capability"]] = found.get(act["capability"], 0.0) + act["takes_s"]
            alike[key] += 1
    return found


def used_s(tx: Transaction, experiments: Sequence[db.Experiment]) -> dict[str, float]:
    """Seconds taken and promised, by capability, of experiments of one campaign."""
    found: dict[str, float] = defaultdict(float)
    limited = {e.id: e for e in experiments if acts_of(e)}
    jobs = tx.find(db.Job, experiment_id=list(limited)) if limited else []
    for job in jobs:
        if job.step in acts_of(limited[job.experiment_id]):
            found[job.capability] += took_s(tx, job)
    waiting = Counter(key_of(limited[j.experiment_id], j) for j in jobs if to_come(limited[j.experiment_id], j))
    acts = {key_of(limited[j.experiment_id], j): acts_of(limited[j.experiment_id]).get(j.step) for j in jobs}
    for key, count in waiting.items():
        act = acts[key] or {}
        found[act["capability"]] += ceil(count / act["room"]) * act["takes_s"]
    return dict(found)


def acts_of(experiment: db.Experiment) -> Acts:
    """Its steps whose time is limited."""
    acts: Acts = experiment.plan.get("acts", {})
    return acts


def key_of(experiment: db.Experiment, job: db.Job) -> tuple[str, str, str]:
    """What samples that were promised one act together have in common."""
    group = mates(experiment.campaign_id, experiment.plan) or experiment.id
    return group, job.step, set_points(job.params)


def to_come(experiment: db.Experiment, job: db.Job) -> bool:
    """Whether an act is still promised to a job."""
    return job.state in NOT_BEGUN and experiment.state in OPEN and job.step in acts_of(experiment)


def took_s(tx: Transaction, job: db.Job) -> float:
    """Seconds that a job took, or is expected to take; of a tray its share."""
    until = job.ended_at or job.due_at
    if job.started_at is None or until is None:
        return 0.0
    on_tray = len(tx.find(db.Job, tray=job.tray)) if job.tray else 1
    return (until - job.started_at).total_seconds() / on_tray


def shares_s(tx: Transaction) -> dict[str, float]:
    """Instrument time that each unfinished campaign has had, lab seconds; of a tray its share."""
    campaigns = tx.standing(db.Campaign, state=["running", "paused"])
    return order.shares_s(act for campaign in campaigns for act in acts_taken(tx, campaign["id"]))


def acts_taken(tx: Transaction, campaign_id: str) -> Iterator[tuple[str, str | None, datetime, datetime]]:
    """Campaign, tray, begin and end of its jobs that have ended; read in pieces, as there may be very many."""
    experiments = [e["id"] for e in tx.standing(db.Experiment, campaign_id=campaign_id)]
    for at in range(0, len(experiments), PIECE):
        for job in tx.standing(db.Job, experiment_id=experiments[at : at + PIECE]):
            if job["started_at"] and job["ended_at"]:
                yield campaign_id, job["tray"], job["started_at"], job["ended_at"]


def unpaid(tx: Transaction, jobs: Sequence[db.Job]) -> dict[str, str]:
    """Jobs that cannot share one act now, as their mates would need one more that their campaign cannot pay; and why.

    Where all mates that are left are there it is what was promised to them. Of several such groups the first.
    """
    groups: dict[tuple[str, str, str], list[db.Job]] = {}
    experiments = {job.id: tx.get(db.Experiment, job.experiment_id) for job in jobs}
    for job in jobs:
        if job.step in acts_of(experiments[job.id]):
            groups.setdefault(key_of(experiments[job.id], job), []).append(job)
    more: dict[str, float] = defaultdict(float)  # by campaign: beyond what is promised
    for key, mine in groups.items():
        experiment = experiments[mine[0].id]
        absent = mates_to_come(tx, experiment, key, mine)
        extra = extra_s(acts_of(experiment)[mine[0].step], len(mine), len(absent), len(jobs))
        more[experiment.campaign_id] += max(extra, 0.0)
        if extra > EXACT_S and not affords(
            tx, experiment.campaign_id, mine[0].capability, more[experiment.campaign_id]
        ):
            return dict.fromkeys([job.id for job in mine], without(mine[0].capability, absent))
    return {}


def extra_s(act: Mapping[str, Any], going: int, absent: int, on_tray: int) -> float:
    """Seconds beyond what is promised to a group, if so many of it go now and the others later."""
    spared = ceil((going + absent) / act["room"]) - ceil(absent / act["room"])
    return float(act["takes_s"] * (going / on_tray - spared))


def mates_to_come(
    tx: Transaction, experiment: db.Experiment, key: tuple[str, str, str], here: Sequence[db.Job]
) -> list[str]:
    """Samples of the same group that have this act before them and are not here."""
    known = {e.id: e for e in tx.find(db.Experiment, campaign_id=experiment.campaign_id, state=OPEN)}
    jobs = tx.find(db.Job, experiment_id=list(known), step=key[1], state=NOT_BEGUN)
    present = {job.id for job in here}
    return sorted(j.sample_id for j in jobs if key_of(known[j.experiment_id], j) == key and j.id not in present)


def affords(tx: Transaction, campaign_id: str, capability: str, more_s: float) -> bool:
    """Whether a campaign has so much of its instrument time left, beside what it used and promised."""
    limit = Plan.of(tx.get(db.Campaign, campaign_id)).limits.instrument_s.get(capability)
    used = used_s(tx, tx.find(db.Experiment, campaign_id=campaign_id))
    return limit is None or used.get(capability, 0.0) + more_s <= limit + EXACT_S


def without(capability: str, absent: Sequence[str]) -> str:
    """Why samples wait for mates that are not there yet."""
    return f"budget: no instrument time for {capability} twice; it waits for {', '.join(absent)}"
