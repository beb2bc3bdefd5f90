"""What a table tells: results as an optimizer is told of them, read from a CSV or from a campaign's record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from campaigns.candidate import Candidate
from campaigns.dataset import FAILED, PENDING, Dataset, read_dataset, whole_steps
from campaigns.layout import Layout, Wanted
from campaigns.optimizer import Measured, Observation
from campaigns.pool import Pool

Told = tuple[list[Observation], list[Candidate], tuple[str, ...]]


def results_of(path: Path, layout: Layout, wanted: Wanted) -> Told:
    """The table as observations, candidates that are still being made, and how it was understood.

    Columns: each component (the balance may be left out), each process parameter, each quantity of the campaign; if they
    are there, ``u`` (standard uncertainty), ``state`` (done, pending, failed) and ``block`` (or tray, day). An empty value
    without a state means failed. Fractions need not lie on the grid: what was really made is what is learned from.

    Raises
    ------
    FileFaults
        What is wrong with it, each with its line.
    """
    data = read_dataset(path, layout, wanted)
    steps = wanted.composition.steps if wanted.composition else 1
    made = Pool(wanted.components, steps, wanted.process, whole_steps(data.shares, steps), data.settings)
    rows = range(len(data))
    pending = [made[i] for i in rows if data.state[i] == PENDING]
    return [observation(data, made, i) for i in rows if data.state[i] != PENDING], pending, data.notes


def by_content(observations: Sequence[Observation]) -> tuple[list[Observation], dict[int, int]]:
    """The same with numbers that do not depend on the order of the rows, and the row that each had."""

    def content(o: Observation) -> str:
        return repr((o.candidate.key, o.value, o.u, sorted(o.actual.items()), sorted(o.others.items()), o.block))

    ordered = sorted(observations, key=content)
    return [replace(o, number=i) for i, o in enumerate(ordered, start=1)], {
        i: o.number for i, o in enumerate(ordered, start=1)
    }


def observation(data: Dataset, made: Pool, row: int) -> Observation:
    """One row that ended."""
    told = {q: measured(data, q, row) for q in data.values if data.state[row] != FAILED}
    known = {q: m for q, m in told.items() if m is not None}
    deciding = known.pop(next(iter(data.values)), None)
    shares = zip(made.components, data.shares[row], strict=True)
    return Observation(
        number=row + 1,
        candidate=made[row],
        value=deciding.value if deciding else None,
        u=deciding.u if deciding else None,
        actual={name: float(share) for name, share in shares},
        others=known,
        block=data.block[row] or None,
    )


def measured(data: Dataset, quantity: str, row: int) -> Measured | None:
    """One value with its uncertainty, if it was measured."""
    value = float(data.values[quantity][row])
    u = float(data.u[quantity][row]) if quantity in data.u else math.nan
    return None if math.isnan(value) else Measured(value, None if math.isnan(u) else u)


def as_record(observations: Sequence[Observation]) -> list[dict[str, Any]]:
    """Observations as JSON, exactly."""
    return [
        {
            "number": o.number,
            "fractions": {name: str(f) for name, f in o.candidate.fractions.items()},
            "process": dict(o.candidate.process),
            "value": o.value,
            "u": o.u,
            "actual": dict(o.actual),
            "others": {q: asdict(m) for q, m in o.others.items()},
            "block": o.block,
        }
        for o in observations
    ]


def from_record(rows: Sequence[Mapping[str, Any]]) -> tuple[Observation, ...]:
    """What `as_record` gave."""
    return tuple(
        Observation(
            number=row["number"],
            candidate=Candidate({name: Fraction(f) for name, f in row["fractions"].items()}, row["process"]),
            value=row["value"],
            u=row["u"],
            actual=row["actual"],
            others={q: Measured(**m) for q, m in row["others"].items()},
            block=row["block"],
        )
        for row in rows
    )
