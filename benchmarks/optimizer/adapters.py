"""labctl behind the harness' classes: always through `BayesianOptimizer.propose`, as the product calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.optimizer import harness
from campaigns.candidate import Candidate
from campaigns.observations import Observations
from campaigns.optimizer import Goal, Objective, Observation
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.parameters import FloatParameter
from campaigns.pool import Pool
from campaigns.rows import Table
from campaigns.space import Component, CompositionSpace, Space

peers: Any = harness.module("peers")

POOL_STEPS = 10_000  #: fine enough that no two rows of a data set become one
SIMPLEX_STEPS = 1000
BUDGET = {"pool": 50, "simplex": 60}
Array = np.ndarray[Any, Any]


def wanted(goal: Goal = "best") -> Objective:
    """The harness' values: larger is better."""
    return Objective(quantity="y", unit="1", direction="maximize", goal=goal)


def compositions(names: Sequence[str], steps: int) -> CompositionSpace:
    """All compositions of these components."""
    return CompositionSpace(components=tuple(Component(name=n, formula=n) for n in names), step=Fraction(1, steps))


def in_steps(shares: Array, steps: int) -> Array:
    """The composition on the grid that is nearest to these shares (largest remainder)."""
    exact = np.clip(shares, 0, None) / np.clip(shares, 0, None).sum() * steps
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: steps - counts.sum()]] += 1
    return counts


def weighed(names: Sequence[str], shares: Array, steps: int) -> Candidate:
    """The same as a candidate."""
    return Candidate({n: Fraction(int(c), steps) for n, c in zip(names, in_steps(shares, steps), strict=True)})


def shares_of(candidate: Candidate, names: Sequence[str]) -> Array:
    """A composition as numbers in the order of its names."""
    return np.array([float(candidate.fractions.get(n, 0)) for n in names])


def pool_space(pool: Any, names: Sequence[str] | None = None) -> Space:
    """A harness' pool as a list of candidates, in the order of its rows."""
    names = names or [f"x{i}" for i in range(pool.X.shape[1])]
    nothing = np.zeros((len(pool.X), 0))
    if pool.simplex:
        counts = np.array([in_steps(x, POOL_STEPS) for x in pool.X], dtype=float)
        return Space(composition=compositions(names, POOL_STEPS), pool=Pool(names, POOL_STEPS, (), counts, nothing))
    parameters = tuple(FloatParameter(name=n, low=a, high=b) for n, a, b in zip(names, pool.lo, pool.hi, strict=True))
    return Space(process=parameters, pool=Pool((), 1, parameters, nothing, np.array(pool.X, dtype=float)))


class Labctl(peers.Base):
    """One optimizer for a whole run on a pool of the harness."""

    goal: Goal = "best"
    names: Sequence[str] | None = None  #: of the columns; x0, x1, ... by default
    arguments: Mapping[str, Any] = {"budget": BUDGET["pool"]}

    def start(self) -> None:
        self.optimizer = BayesianOptimizer(**self.arguments)
        self.space = pool_space(self.p, self.names)
        self.rows: dict[bytes, list[int]] = {}
        assert self.space.pool is not None
        for i, key in enumerate(Table(self.space.pool.counts, self.space.pool.settings).keys):
            self.rows.setdefault(key, []).append(i)
        self.objective = wanted(self.goal)
        self.history = Observations(self.space, self.objective)

    def tell(self, i: int, y: float | None) -> None:
        """One row; None when it could not be made."""
        self.idx.append(int(i))
        candidate = self.space.pool[int(i)]
        self.history.append(Observation(number=len(self.history) + 1, candidate=candidate, value=y))

    def ask(self) -> int:
        (proposal,) = self.optimizer.propose(self.space, self.objective, self.history, [], 1, self.seed)
        return next(i for i in self.rows[self.history.rows.key(proposal.candidate)] if i not in self.idx)


class LabctlMany(Labctl):
    """Told to collect all good ones."""

    goal: Goal = "many"


class LabctlSimplex:
    """labctl on a fine grid of compositions; points off the grid count as weighed."""

    goal: Goal = "best"
    arguments: Mapping[str, Any] = {"budget": BUDGET["simplex"]}

    def __init__(self, d: int, seed: int) -> None:
        self.names = [f"x{i}" for i in range(d)]
        self.space = Space(composition=compositions(self.names, SIMPLEX_STEPS))
        self.optimizer = BayesianOptimizer(**self.arguments)
        self.seed, self.objective = seed, wanted(self.goal)
        self.history = Observations(self.space, self.objective)

    def tell(self, xs: Sequence[Array], ys: Sequence[float]) -> None:
        for x, y in zip(xs, ys, strict=True):
            actual = dict(zip(self.names, map(float, x), strict=True))
            candidate = weighed(self.names, x, SIMPLEX_STEPS)
            number = len(self.history) + 1
            self.history.append(Observation(number=number, candidate=candidate, value=float(y), actual=actual))

    def ask(self, q: int) -> list[Array]:
        made = self.optimizer.propose(self.space, self.objective, self.history, [], q, self.seed)
        return [shares_of(p.candidate, self.names) for p in made]


class LabctlSimplexMany(LabctlSimplex):
    """Told to collect all good ones."""

    goal: Goal = "many"
