"""What a report says, gathered from the database once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from materials_db import records as db
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
    quantity: str
    unit: str
    direction: str
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
    def best(self) -> Line | None:
        """The best single measurement."""
        sign = 1 if self.direction == "maximize" else -1
        return max(self.measured, key=lambda line: sign * (line.value or 0.0), default=None)

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


def gather(tx: Transaction, campaign_id: str) -> ReportData:
    """Read everything that a report says about one campaign. Raises NotFoundError."""
    campaign = tx.get(db.Campaign, campaign_id)
    objective = campaign.spec["objective"]
    names = tuple((campaign.spec.get("composition") or {}).get("components", {}))
    experiments = tx.find(db.Experiment, order="number", campaign_id=campaign_id)
    events = tx.events()
    return ReportData(
        campaign=campaign,
        quantity=objective["quantity"],
        unit=objective["unit"],
        direction=objective["direction"],
        components=names,
        process=tuple(campaign.spec.get("process") or {}),
        lines=[line_of(tx, e, objective["quantity"]) for e in experiments],
        bars=[bar for e in experiments for bar in bars_of(tx, e)],
        log_head=events[-1].hash if events else "",
        log_length=len(events),
    )


def line_of(tx: Transaction, experiment: db.Experiment, quantity: str) -> Line:
    """One experiment."""
    candidate = tx.get(db.Candidate, experiment.candidate_id)
    sample = tx.find(db.Sample, experiment_id=experiment.id)[0]
    weighed = tx.find(db.Composition, order="component", sample_id=sample.id, role="measured")
    values = tx.find(db.Measurement, order="taken_at", newest_first=True, sample_id=sample.id, quantity=quantity)
    good = next((m for m in values if m.quality != "invalid"), None)
    return Line(
        experiment=experiment,
        candidate=candidate,
        sample=sample,
        requested={name: share(text) for name, text in candidate.fractions.items()},
        weighed={c.component: c.fraction for c in weighed},
        value=good.value if good else None,
        u=good.u if good else None,
    )


def share(text: str) -> float:
    """An exact fraction as a number."""
    top, _, bottom = text.partition("/")
    return int(top) / int(bottom or 1)


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
