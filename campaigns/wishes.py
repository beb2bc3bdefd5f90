"""What people want at this moment, as the record has it: the worker looks twice a second."""

from __future__ import annotations

from typing import Any

from campaigns.holds import SILENT
from campaigns.results import ACTOR
from materials_db import records as db
from materials_db.store import Transaction
from materials_db.waiting import HOST_SILENT


def look_up(tx: Transaction) -> dict[str, Any]:
    """Campaigns that go on, holds, priorities, and what is to be called off or broken off; hosts that have given no sign of life."""
    campaigns = tx.standing(db.Campaign, state="running")
    stopping = [c["id"] for c in campaigns if c["wanted"] == "stop"]
    experiments = tx.find(db.Experiment, campaign_id=stopping, state=("planned", "running")) if stopping else []
    ids = [e.id for e in experiments]
    waiting = tx.find(db.Job, experiment_id=ids, state=("planned", "queued")) if ids else []
    holds = tx.find(db.Hold, state="active")
    return {
        "running": [c["id"] for c in campaigns],
        "priority": {c["id"]: c["priority"] for c in campaigns},
        "due": {c["id"]: c["due_at"].timestamp() for c in campaigns if c["due_at"]},
        "holds": {h.instrument: all(o.mode == "drain" for o in holds if o.instrument == h.instrument) for h in holds},
        "silent hosts": silent_hosts(tx),
        "silent": [h.instrument for h in holds if h.placed_by == ACTOR and h.reason.startswith(SILENT)],
        "stopping": ids,
        "waiting": [job.id for job in waiting],
        "abort": [a for c in campaigns if c["abort"] and c["id"] in stopping for a in acts_to_abort(tx, c["id"])],
    }


def silent_hosts(tx: Transaction) -> set[str]:
    """Hosts without a sign of life; stamped and judged by one clock, as those of machines differ."""
    said, now = tx.workers(), tx.now()
    return {worker.host for worker in said if now - worker.beat_at > HOST_SILENT}


def acts_to_abort(tx: Transaction, campaign_id: str) -> list[tuple[str, str, str]]:
    """Running acts of a campaign: id, instrument, why. A tray that others share goes on."""
    mine = {e.id for e in tx.find(db.Experiment, campaign_id=campaign_id, state="running")}
    jobs = tx.find(db.Job, experiment_id=list(mine), state=("running", "waiting_human")) if mine else []
    acts = {}
    for job in jobs:
        shared = tx.find(db.Job, tray=job.tray) if job.tray else []
        if job.instrument_id and all(other.experiment_id in mine for other in shared):
            name = tx.get(db.Instrument, job.instrument_id).name
            acts[job.tray or job.id] = (job.tray or job.id, name, f"{campaign_id} aborted")
    return list(acts.values())
