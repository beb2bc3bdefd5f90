"""What a campaign knew when it proposed one of its candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaigns.candidate import Candidate
from campaigns.history import History, candidate_of
from campaigns.observations import Observations
from campaigns.plan import Plan
from materials_db import records as db
from materials_db.store import Transaction

ENDED_SINCE = 50  #: experiments at most that ended between a decision and its writing down


@dataclass(frozen=True, kw_only=True)
class Knew:
    """See module."""

    known: Observations
    pending: list[Candidate]  #: planned before, and under way
    same: bool  #: whether these results are, bit for bit, those on record


def when_proposed(tx: Transaction, plan: Plan, experiment: db.Experiment) -> Knew:
    """What was known when the experiment's candidate was proposed, rebuilt from the records.

    What ended before `proposed_at` had been known, but for what ended while the optimizer
    was deciding: the last to end are left aside one by one until the digest is that on record.
    """
    record = tx.get(db.Candidate, experiment.candidate_id)
    whole = History.of(experiment.campaign_id, plan)
    whole.refresh(tx)
    planned = tx.find(db.Experiment, order="number", campaign_id=experiment.campaign_id)
    ended = [e for e in planned if e.ended_at is not None and e.ended_at <= record.proposed_at]
    ended.sort(key=lambda e: (e.ended_at, e.number))
    tried = list(cut(whole, ended))
    at = next((i for i, history in enumerate(tried) if history.digest == record.history_sha256), None)
    kept = {e.number for e in ended[: len(ended) - (at or 0)]}
    waiting = [e for e in planned if e.number < experiment.number and e.number not in kept]
    return Knew(
        known=tried[at or 0].known,
        pending=[candidate_of(tx.get(db.Candidate, e.candidate_id)) for e in waiting],
        same=at is not None,
    )


def cut(whole: History, ended: Sequence[db.Experiment]) -> Iterator[History]:
    """The history of these experiments, then without the last to end, and so on."""
    for left_out in range(min(len(ended), ENDED_SINCE) + 1):
        numbers = [e.number for e in ended[: len(ended) - left_out]]
        yield History(whole.campaign_id, whole.known.only(numbers), digests=whole.digests)
