"""What a campaign knows so far, read from the database once and then only what is new."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from campaigns.budget import Cost, Used, add
from campaigns.candidate import Candidate
from campaigns.experiment import failed_for_the_candidate
from campaigns.optimizer import Objective, Observation
from materials_db import records as db
from materials_db.store import Transaction

FINAL = ("done", "failed", "aborted", "held")


def candidate_of(record: db.Candidate) -> Candidate:
    """The candidate as the optimizer knows it."""
    return Candidate({name: share(f) for name, f in record.fractions.items()}, record.process)


@lru_cache(maxsize=4096)
def share(text: str) -> Fraction:
    """A fraction as it is on record; one object for each, as a long history holds many of the same."""
    return Fraction(text)


@dataclass
class History:
    """Observations, what is in flight and what it all has cost, for one campaign.

    The database stays the truth: after a restart the same history is read from it.
    """

    campaign_id: str
    objective: Objective
    observations: dict[int, Observation] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)  #: experiment id -> number, not ended when last seen
    candidates: dict[str, Candidate] = field(default_factory=dict)  #: by experiment id, those in `open`
    gains: dict[int, float | None] = field(default_factory=dict)  #: promise of each proposal, by number
    machine_failures: int = 0  #: experiments lost to machines since one went well
    used: Used = field(default_factory=Used)
    seen: int = 0  #: highest experiment number read
    digests: dict[int, str] = field(default_factory=dict)  #: of each observation

    def refresh(self, tx: Transaction) -> None:
        """Read what was planned and what ended since the last time."""
        for experiment in self._new(tx):
            self._planned(tx, experiment)
        if self.open:
            for experiment in tx.find(db.Experiment, order="number", id=list(self.open), state=FINAL):
                self._ended(tx, experiment)

    def _new(self, tx: Transaction) -> list[db.Experiment]:
        if self.seen == 0:
            return tx.find(db.Experiment, order="number", campaign_id=self.campaign_id)
        newest = tx.find(
            db.Experiment, order="number", newest_first=True, limit=len(self.open) + 16, campaign_id=self.campaign_id
        )
        if newest and newest[-1].number > self.seen + 1:  # more than we asked for: read them all
            newest = tx.find(db.Experiment, order="number", campaign_id=self.campaign_id)
        return sorted((e for e in newest if e.number > self.seen), key=lambda e: e.number)

    def _planned(self, tx: Transaction, experiment: db.Experiment) -> None:
        record = tx.get(db.Candidate, experiment.candidate_id)
        self.open[experiment.id] = experiment.number
        self.candidates[experiment.id] = candidate_of(record)
        self.gains[experiment.number] = experiment.plan.get("gain")
        self.used = add(self.used, cost_of(experiment.plan))
        self.seen = experiment.number

    def _ended(self, tx: Transaction, experiment: db.Experiment) -> None:
        number = self.open.pop(experiment.id)
        candidate = self.candidates.pop(experiment.id)
        sample_id = str(experiment.plan["sample_id"])
        if experiment.state == "done":
            self.machine_failures = 0
            self._learn(observe(tx, number, candidate, sample_id, self.objective))
        elif experiment.state == "failed" and failed_for_the_candidate(fault_of(tx, experiment.id)):
            self.machine_failures = 0
            self._learn(Observation(number=number, candidate=candidate, value=None))
        elif experiment.state == "failed":
            self.machine_failures += 1

    def _learn(self, observation: Observation) -> None:
        self.observations[observation.number] = observation
        self.digests[observation.number] = hashlib.sha256(repr(observation).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of all observations in the order of their numbers: what a proposal was decided on."""
        return hashlib.sha256("".join(self.digests[n] for n in sorted(self.digests)).encode()).hexdigest()

    @property
    def pending(self) -> list[Candidate]:
        """Candidates under way, in the order of their numbers."""
        return [self.candidates[id] for id, _ in sorted(self.open.items(), key=lambda item: item[1])]


def fault_of(tx: Transaction, experiment_id: str) -> str | None:
    """The fault of the job that ended the experiment."""
    failed = tx.find(db.Job, order="ended_at", newest_first=True, limit=1, experiment_id=experiment_id, state="failed")
    return failed[0].fault if failed else None


def cost_of(plan: dict[str, object]) -> Cost:
    """What an experiment was expected to take when it was planned."""
    cost = plan.get("cost") or {}
    assert isinstance(cost, dict)
    return Cost(money=float(cost.get("money", 0.0)), stock_mg=dict(cost.get("stock_mg", {})))


def observe(tx: Transaction, number: int, candidate: Candidate, sample_id: str, objective: Objective) -> Observation:
    """What the experiment found: the objective's newest good value, and what was really in the vial."""
    values = tx.find(
        db.Measurement, order="taken_at", newest_first=True, sample_id=sample_id, quantity=objective.quantity
    )
    good = next((m for m in values if m.quality != "invalid"), None)
    weighed = tx.find(db.Composition, sample_id=sample_id, role="measured")
    return Observation(
        number=number,
        candidate=candidate,
        value=good.value if good else None,
        u=good.u if good else None,
        actual={c.component: c.fraction for c in weighed},
    )
