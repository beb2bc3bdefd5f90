"""What a campaign knows so far, read from the database once and then only what is new."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from sys import intern  # names that every row of a long history would hold anew
from typing import Any

from campaigns.budget import Cost, Limits, Used, summed, target_reached, weighed_money
from campaigns.candidate import NOTHING, Candidate
from campaigns.experiment import failed_for_the_candidate
from campaigns.instrument_time import used_s
from campaigns.observations import Observations
from campaigns.optimizer import Measured, Objective, Observation
from campaigns.plan import Plan
from campaigns.shelf import drawn_mg
from campaigns.units import convert
from materials_db import records as db
from materials_db.store import Transaction

FINAL = ("done", "failed", "aborted")


def candidate_of(record: db.Candidate) -> Candidate:
    """The candidate as the optimizer knows it."""
    fractions = {intern(name): share(f) for name, f in record.fractions.items()}
    return Candidate(fractions, {intern(name): value for name, value in record.process.items()})


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
    known: Observations  #: what ended, as an optimizer is told of it
    open: dict[str, int] = field(default_factory=dict)  #: experiment id -> number, not ended when last seen
    candidates: dict[str, Candidate] = field(default_factory=dict)  #: by experiment id, those in `open`
    gains: list[float | None] = field(default_factory=list)  #: promise of each proposal, in their order
    machine_failures: int = 0  #: experiments lost to machines since one went well, or since the campaign was resumed
    lost_tray: str | None = None  #: the tray of the newest of them: one that is lost is one failure, not eight
    begun: bool = False  #: whether it was read before: what was lost by then has been looked at
    used: Used = field(default_factory=Used)
    limits: Limits = field(default_factory=Limits)  #: those of money, of stock and of instrument time
    spent: Used = field(default_factory=Used)  #: what experiments that have ended took of these
    seen: int = 0  #: highest experiment number read
    since: datetime | None = None  #: when the first experiment was planned
    digests: bytearray = field(default_factory=bytearray)  #: SHA-256 of each observation, one after the other by number
    hit: Observation | None = None  #: the first, by number, that has what is wanted
    until: datetime | None = None  #: what ended later is left aside

    @classmethod
    def of(cls, campaign_id: str, plan: Plan, until: datetime | None = None) -> History:
        """Of a campaign, before anything is read."""
        known = Observations(plan.space, plan.objective)
        limits = replace(plan.limits, experiments=None, time_s=None)
        return cls(campaign_id, known, until=until, limits=limits)

    def refresh(self, tx: Transaction) -> None:
        """Read what was planned and what ended since the last time."""
        for experiment in self._new(tx):
            self._planned(tx, experiment)
        if self.open:
            for experiment in tx.find(db.Experiment, order="number", id=list(self.open), state=FINAL):
                self._ended(tx, experiment)
        open_ = tx.find(db.Experiment, id=list(self.open)) if self.open and self.limits != Limits() else []
        settled = self._with(tx, self.spent, open_)
        self.used = replace(settled, experiments=self.seen)
        if not self.begun:
            self.begun, self.machine_failures = True, 0

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
        self.gains.append(experiment.plan.get("gain"))
        self.seen = experiment.number
        self.since = self.since or experiment.planned_at

    def _ended(self, tx: Transaction, experiment: db.Experiment) -> None:
        number = self.open.pop(experiment.id)
        candidate = self.candidates.pop(experiment.id)
        self.spent = self._with(tx, self.spent, [experiment])
        if self.until is not None and (experiment.ended_at is None or experiment.ended_at > self.until):
            return
        found = observe(tx, number, candidate, experiment.plan, self.known.objective)
        lost = failed_job(tx, experiment.id) if experiment.state == "failed" else None
        told = experiment.state == "failed" and failed_for_the_candidate(lost.fault if lost else None)
        if experiment.state == "done" or told or not found.failed:
            self._learn(found)
        if experiment.state == "done" or told:
            self.machine_failures, self.lost_tray = 0, None
        elif experiment.state == "failed":
            tray = lost.tray if lost else None
            self.machine_failures += tray is None or tray != self.lost_tray
            self.lost_tray = tray

    def _with(self, tx: Transaction, used: Used, experiments: Sequence[db.Experiment]) -> Used:
        """What was used, and beside it what these experiments took and are promised of all that is limited."""
        if self.limits.money is not None:
            costs = (weighed_money(cost_of(e.plan), drawn_mg(tx, [e])) for e in experiments)
            used = replace(used, money=used.money + sum(costs))
        if self.limits.stock_mg:
            used = replace(used, stock_mg=summed(used.stock_mg, drawn_mg(tx, experiments)))
        if self.limits.instrument_s:
            used = replace(used, instrument_s=summed(used.instrument_s, used_s(tx, experiments)))
        return used

    def _learn(self, observation: Observation) -> None:
        self.known.append(observation)
        if target_reached(self.known.objective, [observation]):
            self.hit = min(self.hit or observation, observation, key=lambda o: o.number)
        place = place_of(observation.number)
        self.digests.extend(bytes(max(0, place.stop - len(self.digests))))
        self.digests[place] = hashlib.sha256(repr(observation).encode()).digest()

    @property
    def digest(self) -> str:
        """SHA-256 of all observations in the order of their numbers: what a proposal was decided on."""
        told = hashlib.sha256()
        for number in self.known.numbers.astype(int).tolist():
            told.update(self.digests[place_of(number)].hex().encode())
        return told.hexdigest()

    @property
    def pending(self) -> list[Candidate]:
        """Candidates under way, in the order of their numbers."""
        return [self.candidates[id] for id, _ in sorted(self.open.items(), key=lambda item: item[1])]


def place_of(number: int) -> slice:
    """Where the digest of an observation stands."""
    size = hashlib.sha256().digest_size
    return slice(size * (number - 1), size * number)


def failed_job(tx: Transaction, experiment_id: str) -> db.Job | None:
    """The job that ended the experiment."""
    failed = tx.find(db.Job, order="ended_at", newest_first=True, limit=1, experiment_id=experiment_id, state="failed")
    return failed[0] if failed else None


def cost_of(plan: Mapping[str, Any]) -> Cost:
    """What an experiment was expected to take when it was planned."""
    cost = plan.get("cost") or {}
    return Cost(
        money=cost.get("money", 0.0), stock_mg=cost.get("stock_mg", {}), price_per_mg=cost.get("price_per_mg", {})
    )


def observe(
    tx: Transaction, number: int, candidate: Candidate, plan: Mapping[str, Any], objective: Objective
) -> Observation:
    """What the experiment found: the newest good value of all that is wanted, and what was really in the vial."""
    sample_id = str(plan["sample_id"])
    values = tx.find(db.Measurement, order="taken_at", newest_first=True, sample_id=sample_id)
    good = {q: m for q in objective.quantities if (m := newest(values, q)) is not None}
    units = {limit.quantity: limit.unit for limit in objective.limits} | {o.quantity: o.unit for o in objective.all}
    found = {q: in_unit(m, units[q]) for q, m in good.items()}
    deciding = found.pop(objective.quantity, None)
    weighed = tx.find(db.Composition, sample_id=sample_id, role="measured")
    return Observation(
        number=number,
        candidate=candidate,
        value=deciding.value if deciding else None,
        u=deciding.u if deciding else None,
        actual={intern(c.component): c.fraction for c in weighed},
        others=found or NOTHING,
        block=intern(block) if (block := block_of(tx, sample_id, plan, good.values())) else None,
    )


def newest(values: Sequence[db.Measurement], quantity: str) -> db.Measurement | None:
    """The first good one of that quantity; they come newest first."""
    return next((m for m in values if m.quantity == quantity and m.quality != "invalid"), None)


def in_unit(m: db.Measurement, unit: str) -> Measured:
    """A measurement in the unit that the campaign file states. Raises UnitError where it is of another kind."""
    if m.unit in (unit, "") or not unit:
        return Measured(m.value, m.u)
    told = f"{m.id}, {m.quantity} = {m.value:g} {m.unit}"
    here, above = convert(m.value, m.unit, unit, told), convert(m.value + m.u, m.unit, unit, told)
    return Measured(here, abs(above - here))


def block_of(tx: Transaction, sample_id: str, plan: Mapping[str, Any], values: Iterable[db.Measurement]) -> str | None:
    """What the experiment shares with others: its last tray, else the UTC day on which it was measured."""
    if plan.get("on_trays"):
        trays = [job.tray for job in tx.find(db.Job, order="queued_at", sample_id=sample_id) if job.tray]
        return f"tray {trays[-1]}" if trays else None
    if plan.get("tray") is not None:
        return f"tray {plan['tray']}"
    days = sorted(m.taken_at.astimezone(UTC).date().isoformat() for m in values)
    return days[-1] if days else None
