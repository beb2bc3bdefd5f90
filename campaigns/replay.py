"""A campaign replayed in data that exist: each pick is "measured" by looking it up.

How fast would an optimizer have found the best of a table that somebody has measured
already? Rows of equal inputs are one candidate with the mean of their values. The optimizer
is asked through its seam as a campaign asks it.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from campaigns.dataset import FAILED, PENDING, Dataset, whole_steps
from campaigns.layout import Wanted
from campaigns.observations import Observations
from campaigns.optimizer import Measured, Objective, Observation, Optimizer
from campaigns.parameters import FloatParameter
from campaigns.pool import Pool
from campaigns.space import Component, CompositionSpace, LinearConstraint, Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

STEPS = 10**6  #: of the grid that replayed fractions are rounded to; the dispenser's is left aside


@dataclass(frozen=True, kw_only=True)
class Known:
    """What has been measured already: candidates and their values.

    Arrays have one entry per candidate; NaN where nothing could be measured.
    """

    name: str  #: of the table, without folder and ending
    space: Space  #: with a pool of these candidates
    objective: Objective
    values: Array
    u: Array
    others: dict[str, Array] = field(default_factory=dict)
    block: Sequence[str] = ()
    lines: Sequence[Sequence[int]]  #: rows of the table behind each candidate, 1 is the first below the header
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def pool(self) -> Pool:
        """The candidates."""
        assert self.space.pool is not None
        return self.space.pool

    def observation(self, number: int, row: int) -> Observation:
        """What an experiment on this candidate finds."""
        others = {q: Measured(float(v[row])) for q, v in self.others.items() if not math.isnan(v[row])}
        return Observation(
            number=number,
            candidate=self.pool[row],
            value=number_or_none(self.values[row]),
            u=number_or_none(self.u[row]),
            others=others,
            block=self.block[row] or None,
        )


def number_or_none(value: float) -> float | None:
    """NaN as None."""
    return None if math.isnan(value) else float(value)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One replayed campaign."""

    seed: int
    picks: tuple[int, ...]  #: candidates in the order in which they were measured
    cpu_s: tuple[float, ...]  #: processor time of each proposal


# -- what is known ----------------------------------------------------------------------------


def known_of(data: Dataset, wanted: Wanted, objective: Objective, name: str) -> Known:
    """The table as candidates with their mean values, in the order of their inputs."""
    import numpy as np

    space = replay_space(wanted)
    counts = whole_steps(data.shares, STEPS) if wanted.components else data.shares
    told = np.array([state != PENDING for state in data.state], dtype=bool)
    pool = Pool(wanted.components, STEPS if wanted.components else 1, space.process, counts[told], data.settings[told])
    rows, group = grouped(pool, data.inputs[told])
    failed = np.array([s == FAILED for s in data.state], dtype=bool)[told]
    values = {q: np.where(failed, np.nan, v[told]) for q, v in data.values.items()}
    deciding, *others = values
    members = members_of(group, np.flatnonzero(told), len(rows))
    u = data.u.get(deciding, np.full(len(data), np.nan))[told]
    return Known(
        name=name,
        space=Space(composition=space.composition, process=space.process, pool=pool.rows(rows)),
        objective=objective,
        values=means(values[deciding], group, len(rows)),
        u=doubts(u, values[deciding], group, len(rows)),
        others={q: means(values[q], group, len(rows)) for q in others},
        block=[data.block[m[0]] for m in members],
        lines=[[int(i) + 1 for i in m] for m in members],
    )


def replay_space(wanted: Wanted) -> Space:
    """The campaign's space with room for measured candidates: a finer grid, no steps of settings."""
    composition = fine(wanted.composition) if wanted.composition else None
    process = tuple(
        FloatParameter(name=p.name, low=p.low, high=p.high, unit=p.unit) if isinstance(p, FloatParameter) else p
        for p in wanted.process
    )
    return Space(composition=composition, process=process)


def fine(space: CompositionSpace) -> CompositionSpace:
    """The same bounds, by a step of the fine grid wider, because measured fractions are rounded to it."""
    slack = Fraction(2, STEPS)

    def wider(c: Component) -> Component:
        low, high = max(Fraction(0), c.low - slack), min(Fraction(1), c.high + slack)
        return Component(name=c.name, formula=c.formula, low=low, high=high, optional=c.optional)

    def looser(c: LinearConstraint) -> LinearConstraint:
        by = slack * sum((abs(x) for x in c.coefficients.values()), Fraction(0))
        low, high = None if c.low is None else c.low - by, None if c.high is None else c.high + by
        return LinearConstraint(name=c.name, coefficients=c.coefficients, low=low, high=high)

    return CompositionSpace(
        components=tuple(map(wider, space.components)),
        basis=space.basis,
        step=Fraction(1, STEPS),
        balance=space.balance,
        max_present=space.max_present,
        constraints=tuple(map(looser, space.constraints)),
    )


def grouped(pool: Pool, inputs: Array) -> tuple[Array, Array]:
    """One row of each distinct candidate, sorted by its inputs as they are written, and the group of each row."""
    import numpy as np

    both = np.hstack([pool.counts, pool.settings])
    _, rows, group = np.unique(both, axis=0, return_index=True, return_inverse=True)
    order = np.lexsort(inputs[rows].T[::-1])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return rows[order], place[group.ravel()]


def members_of(group: Array, rows: Array, size: int) -> list[list[int]]:
    """Rows of the table behind each candidate."""
    found: list[list[int]] = [[] for _ in range(size)]
    for g, row in zip(group, rows, strict=True):
        found[g].append(int(row))
    return found


def means(values: Array, group: Array, size: int) -> Array:
    """Mean of the measured values of each candidate; NaN where there are none."""
    import numpy as np

    there = ~np.isnan(values)
    count = np.bincount(group[there], minlength=size)
    total = np.bincount(group[there], values[there], minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def doubts(u: Array, values: Array, group: Array, size: int) -> Array:
    """Standard uncertainty of each mean; NaN where one of its values has none."""
    import numpy as np

    there = ~np.isnan(values)
    count = np.bincount(group[there], minlength=size)
    total = np.sqrt(np.bincount(group[there], u[there] ** 2, minlength=size))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- replaying --------------------------------------------------------------------------------


def first_rows(known: Known, seed: int, n: int) -> list[int]:
    """Rows that every method begins with: drawn from the seed and the table's name."""
    import numpy as np

    rng = np.random.default_rng([zlib.crc32(known.name.encode()), seed])
    return [int(i) for i in rng.choice(len(known), min(n, len(known)), replace=False)]


def replay(
    known: Known, optimizer: Optimizer, *, seed: int, budget: int, start: Sequence[int] = (), batch: int = 1
) -> Iterator[Run]:
    """One campaign of `budget` experiments; what it is after each proposal.

    Parameters
    ----------
    start
        Candidates that are measured before the optimizer is asked.
    batch
        Experiments that are proposed, and then measured, together.
    """
    picks, cpu = list(start)[:budget], list[float]()
    told = (known.observation(i, row) for i, row in enumerate(picks, start=1))
    history = Observations.of(known.space, known.objective, told)
    while len(picks) < budget and len(set(picks)) < len(known):
        before = time.process_time()
        n = min(batch, budget - len(picks))
        proposed = optimizer.propose(known.space, known.objective, history, [], n, seed)
        spent = time.process_time() - before
        rows = [known.pool.index(p.candidate) for p in proposed]
        if not rows:
            break
        cpu += [spent / len(rows)] * len(rows)
        for row in rows:
            history.append(known.observation(len(history) + 1, row))
        picks += rows
        yield Run(seed=seed, picks=tuple(picks), cpu_s=tuple(cpu))
    if not cpu:
        yield Run(seed=seed, picks=tuple(picks), cpu_s=())
