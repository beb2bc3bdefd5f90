"""What a report says, gathered from the database once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from materials_db import records as db
from materials_db.glance import number
from materials_db.merit import Merit, in_unit
from materials_db.store import Transaction


@dataclass(frozen=True)
class Line:
    """One experiment as the report shows it."""

    experiment: db.Experiment
    candidate: db.Candidate
    sample: db.Sample
    requested: dict[str, float]
    weighed: dict[str, float]
    value: float | None
    u: float | None
    values: dict[str, tuple[float, float]] = field(default_factory=dict)  #: all that is wanted, with its uncertainty
    on_front: bool = False  #: no other experiment is better in every objective
    broken: tuple[str, ...] = ()  #: limits that it breaks, in words
    outlier: float | None = None  #: standard deviations from what all others say, where that is far

    @property
    def number(self) -> int:
        """Place in the campaign."""
        return self.experiment.number


@dataclass(frozen=True)
class Bar:
    """One job on the time line."""

    instrument: str
    experiment: int
    step: str
    state: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class ReportData:
    """See module."""

    campaign: db.Campaign
    merit: Merit
    components: tuple[str, ...]
    process: tuple[str, ...]
    lines: list[Line]
    bars: list[Bar]
    log_head: str
    log_length: int

    @property
    def measured(self) -> list[Line]:
        """Experiments with a value."""
        return [line for line in self.lines if line.value is not None]

    @property
    def quantity(self) -> str:
        """The property that decides."""
        return self.merit.aims[0].quantity

    @property
    def unit(self) -> str:
        """Its unit."""
        return self.merit.aims[0].unit

    @property
    def direction(self) -> str:
        """Where it should go, where nothing is aimed at."""
        return self.merit.aims[0].direction

    @property
    def fit(self) -> list[Line]:
        """Experiments with a value that keep all limits."""
        return [line for line in self.measured if self.merit.counts(plain(line.values))]

    @property
    def best(self) -> Line | None:
        """The best single measurement of a sample that keeps all limits."""
        return max(self.fit, key=lambda line: self.merit.worth(line.value or 0.0), default=None)

    @property
    def front(self) -> list[Line]:
        """Experiments on the Pareto front, best in the deciding objective first."""
        lines = [line for line in self.measured if line.on_front]
        return sorted(lines, key=lambda line: -self.merit.worth(line.value or 0.0))

    @property
    def replicates(self) -> int:
        """How many experiments had the best one's composition."""
        best = self.best
        same = [
            x
            for x in self.measured
            if best and x.requested == best.requested and x.candidate.process == best.candidate.process
        ]
        return len(same)

    @property
    def simulated(self) -> bool:
        """Whether no real machine was involved."""
        return self.campaign.origin == "simulated"


def gather(tx: Transaction, campaign_id: str, outliers: Mapping[int, float] | None = None) -> ReportData:
    """Read everything that a report says about one campaign. Raises NotFoundError.

    Parameters
    ----------
    outliers
        Experiments whose results the optimizer finds hard to believe, and by how many standard deviations.
    """
    campaign = tx.get(db.Campaign, campaign_id)
    merit = Merit.of(campaign.spec)
    names = tuple((campaign.spec.get("composition") or {}).get("components", {}))
    experiments = tx.find(db.Experiment, order="number", campaign_id=campaign_id)
    lines = [line_of(tx, e, merit) for e in experiments]
    front = merit.front([plain(line.values) for line in lines])
    events = tx.events()
    return ReportData(
        campaign=campaign,
        merit=merit,
        components=names,
        process=tuple(campaign.spec.get("process") or {}),
        lines=[
            replace(line, on_front=on_front, outlier=(outliers or {}).get(line.number))
            for line, on_front in zip(lines, front, strict=True)
        ],
        bars=[bar for e in experiments for bar in bars_of(tx, e)],
        log_head=events[-1].hash if events else "",
        log_length=len(events),
    )


def plain(values: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Values without their uncertainty."""
    return {name: value for name, (value, _) in values.items()}


def line_of(tx: Transaction, experiment: db.Experiment, merit: Merit) -> Line:
    """One experiment."""
    candidate = tx.get(db.Candidate, experiment.candidate_id)
    sample = tx.find(db.Sample, experiment_id=experiment.id)[0]
    weighed = tx.find(db.Composition, order="component", sample_id=sample.id, role="measured")
    values: dict[str, tuple[float, float]] = {}
    for m in tx.find(db.Measurement, order="taken_at", newest_first=True, sample_id=sample.id):
        if m.quantity in merit.quantities and m.quality != "invalid":
            values.setdefault(m.quantity, in_unit(m.value, m.u, m.unit, merit.units[m.quantity]))
    value, u = values.get(merit.aims[0].quantity, (None, None))
    return Line(
        experiment=experiment,
        candidate=candidate,
        sample=sample,
        requested={name: number(text) for name, text in candidate.fractions.items()},
        weighed={c.component: c.fraction for c in weighed},
        value=value,
        u=u,
        values={name: values[name] for name in merit.quantities if name in values},
        broken=tuple(merit.broken(plain(values))),
    )


def bars_of(tx: Transaction, experiment: db.Experiment) -> list[Bar]:
    """The jobs of one experiment that were begun."""
    jobs: list[db.Job] = tx.find(db.Job, order="queued_at", experiment_id=experiment.id)
    names: dict[str, Any] = {
        j.instrument_id: tx.get(db.Instrument, j.instrument_id).name for j in jobs if j.instrument_id
    }
    return [
        Bar(names[j.instrument_id], experiment.number, j.step, j.state, j.started_at, j.ended_at)
        for j in jobs
        if j.instrument_id and j.started_at and j.ended_at
    ]
