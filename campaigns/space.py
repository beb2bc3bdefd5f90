"""What may be varied: compositions on the dispenser's grid, process parameters, or a list of candidates.

A composition is a set of whole numbers of dispenser steps that sum to the whole, so that
every candidate can be weighed and its fractions sum to 1 exactly, not nearly.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

from campaigns.candidate import Candidate
from campaigns.drawing import Drawing, allowed
from campaigns.errors import SpaceError
from campaigns.parameters import Parameter, values
from campaigns.pool import Pool

Basis = Literal["mass", "mole"]


def exact(value: float | str | Fraction) -> Fraction:
    """A number as people write it, exactly: 0.005 is 1/200."""
    return value if isinstance(value, Fraction) else Fraction(repr(value) if isinstance(value, float) else value)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One ingredient of a composition.

    Parameters
    ----------
    low, high
        Smallest and largest fraction, inclusive.
    optional
        Whether it may also be absent when `low` is above 0.
    """

    name: str
    formula: str
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(1)
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", exact(self.low))
        object.__setattr__(self, "high", exact(self.high))
        if not 0 <= self.low <= self.high <= 1:
            raise SpaceError(
                f"{self.name}: min {float(self.low):g} and max {float(self.high):g} must be in order, between 0 and 1"
            )

    def between_steps(self, step: Fraction) -> str:
        """Why no whole number of dispenser steps is within its bounds; empty where one is."""
        if math.ceil(self.low / step) <= math.floor(self.high / step):
            return ""
        return f"{self.name}: no multiple of {float(step):g} between {float(self.low):g} and {float(self.high):g}"

    @property
    def may_be_absent(self) -> bool:
        """Whether a composition without it is in the space."""
        return self.optional or self.low == 0


@dataclass(frozen=True, kw_only=True)
class LinearConstraint:
    """``low <= sum(coefficient * fraction) <= high``."""

    name: str
    coefficients: Mapping[str, Fraction]
    low: Fraction | None = None
    high: Fraction | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", {n: exact(c) for n, c in self.coefficients.items()})
        for bound in ("low", "high"):
            value = getattr(self, bound)
            object.__setattr__(self, bound, None if value is None else exact(value))
        if self.low is None and self.high is None:
            raise SpaceError(f"constraint {self.name!r} states neither min nor max")

    def broken_by(self, fractions: Mapping[str, Fraction]) -> str | None:
        """Why this composition breaks it, None when it does not."""
        total = sum((c * fractions.get(n, Fraction(0)) for n, c in self.coefficients.items()), Fraction(0))
        if self.low is not None and total < self.low:
            return f"constraint {self.name!r}: {float(total):g} is below {float(self.low):g}"
        if self.high is not None and total > self.high:
            return f"constraint {self.name!r}: {float(total):g} is above {float(self.high):g}"
        return None


@dataclass(frozen=True, kw_only=True)
class CompositionSpace:
    """All compositions that can be weighed.

    Bounds that lie between two steps of the dispenser are moved inwards to the next step.

    Parameters
    ----------
    step
        The dispenser's step as a fraction of the batch; 1/step is a whole number.
    balance
        The component that takes up the rest; tables need not tell its share. Its bounds hold as well.
    max_present
        At most so many components differ from 0.
    """

    components: tuple[Component, ...]
    basis: Basis = "mass"
    step: Fraction = Fraction(1, 100)
    balance: str | None = None
    max_present: int | None = None
    constraints: tuple[LinearConstraint, ...] = ()
    steps: int = field(init=False)  #: steps in the whole

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", exact(self.step))
        if not 0 < self.step <= 1 or (1 / self.step).denominator != 1:
            raise SpaceError(f"step {float(self.step):g} does not divide 1: give 1/n, for example 0.01 or 0.005")
        object.__setattr__(self, "steps", int(1 / self.step))
        self._check_names()
        self._check_bounds()

    def _check_names(self) -> None:
        names = [c.name for c in self.components]
        if not names:
            raise SpaceError("a composition needs at least one component")
        if twice := {n for n in names if names.count(n) > 1}:
            raise SpaceError(f"component {min(twice)!r} is named twice")
        mentioned = [self.balance] if self.balance else []
        mentioned += [n for c in self.constraints for n in c.coefficients]
        if unknown := [n for n in mentioned if n not in names]:
            raise SpaceError(f"{unknown[0]!r} is not a component; the components are {', '.join(names)}")
        if self.max_present is not None and self.max_present < 1:
            raise SpaceError(f"max_present is {self.max_present}; at least one component must be present")

    def _check_bounds(self) -> None:
        must = [c for c in self.components if not c.may_be_absent]
        if self.max_present is not None and len(must) > self.max_present:
            raise SpaceError(
                f"{len(must)} components ({', '.join(c.name for c in must)}) must always be present,"
                f" but max_present is {self.max_present}"
            )
        low = sum(self.bounds(c)[0] for c in must)
        room = None if self.max_present is None else self.max_present - len(must)
        others = sorted((self.bounds(c)[1] for c in self.components if c.may_be_absent), reverse=True)[:room]
        high = sum(self.bounds(c)[1] for c in must) + sum(others)
        for c in self.components:
            if problem := c.between_steps(self.step):
                raise SpaceError(problem)
        if low > self.steps:
            raise SpaceError(f"no composition can sum to 1: the smallest fractions already sum to {low / self.steps:g}")
        if high < self.steps:
            among = "" if self.max_present is None else f" of the {self.max_present} components that may be present"
            raise SpaceError(
                f"no composition can sum to 1: the largest fractions{among} only sum to {high / self.steps:g}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components in order."""
        return tuple(c.name for c in self.components)

    @property
    def formulas(self) -> dict[str, str]:
        """Formula of each component."""
        return {c.name: c.formula for c in self.components}

    def bounds(self, component: Component) -> tuple[int, int]:
        """Fewest and most whole steps of a component that is present."""
        low, high = math.ceil(component.low / self.step), math.floor(component.high / self.step)
        return (max(low, 1) if component.low == 0 and high >= 1 and component.optional else low), high

    def fractions(self, counts: Sequence[int]) -> dict[str, Fraction]:
        """Whole steps as exact fractions."""
        return {name: Fraction(n, self.steps) for name, n in zip(self.names, counts, strict=True) if n}

    def counts(self, fractions: Mapping[str, Fraction]) -> tuple[int, ...] | None:
        """Exact fractions as whole steps; None when they are off the grid."""
        scaled = [fractions.get(name, Fraction(0)) * self.steps for name in self.names]
        return tuple(int(s) for s in scaled) if all(s.denominator == 1 for s in scaled) else None

    def problems(self, fractions: Mapping[str, Fraction]) -> list[str]:
        """Why this composition is not in the space; empty when it is."""
        found = [f"{name} is not a component" for name in fractions if name not in self.names]
        if sum(fractions.values(), Fraction(0)) != 1:
            found.append(f"fractions sum to {float(sum(fractions.values(), Fraction(0))):g}, not 1")
        if self.counts(fractions) is None:
            found.append(f"not on the dispenser's grid of {float(self.step):g}")
        for c in self.components:
            share = fractions.get(c.name, Fraction(0))
            absent = share == 0 and c.may_be_absent
            if not absent and not c.low <= share <= c.high:
                found.append(f"{c.name} = {float(share):g} is outside {float(c.low):g} to {float(c.high):g}")
        present = sum(f != 0 for f in fractions.values())
        if self.max_present is not None and present > self.max_present:
            found.append(f"{present} components are present, at most {self.max_present} may be")
        found += [broken for c in self.constraints if (broken := c.broken_by(fractions))]
        return found

    def allows(self, counts: Sequence[int]) -> bool:
        """Whether these whole steps are a composition of the space."""
        if sum(counts) != self.steps:
            return False
        for component, n in zip(self.components, counts, strict=True):
            low, high = self.bounds(component)
            if not (n == 0 and component.may_be_absent) and not low <= n <= high:
                return False
        if self.max_present is not None and sum(n > 0 for n in counts) > self.max_present:
            return False
        if not self.constraints:
            return True
        fractions = self.fractions(counts)
        return not any(c.broken_by(fractions) for c in self.constraints)

    @cached_property
    def drawing(self) -> Drawing:
        """For draws and counts."""
        return Drawing(self)

    def draw(self, rng: random.Random) -> tuple[int, ...] | None:
        """One composition at random, all equally likely; None when there is none."""
        import numpy as np

        found = self.drawing.draw(np.random.default_rng(rng.getrandbits(64)), 1)
        return tuple(int(n) for n in found[0]) if len(found) else None

    def neighbours(self, counts: Sequence[int], by: int = 1) -> Iterator[tuple[int, ...]]:
        """Compositions of the space that move `by` steps from one component to another."""
        for i, j in itertools.permutations(range(len(counts)), 2):
            if counts[i] >= by:
                moved = list(counts)
                moved[i] -= by
                moved[j] += by
                if self.allows(moved):
                    yield tuple(moved)

    def count(self) -> int:
        """How many compositions there are, linear constraints left aside."""
        return round(self.drawing.count)

    def enumerate(self, limit: int) -> list[tuple[int, ...]] | None:
        """All compositions, or None when there are more than `limit`."""
        if self.drawing.count > (20 * limit if self.constraints else limit):
            return None
        found: list[tuple[int, ...]] = []
        ranges = [self._choices(c) for c in self.components]
        if not self._walk(ranges, [], self.steps, found, limit, [50 * limit + 1000]):
            return None
        return found

    def _choices(self, component: Component) -> list[int]:
        low, high = self.bounds(component)
        return sorted({*([0] if component.may_be_absent else []), *range(low, high + 1)})

    def _walk(
        self,
        ranges: list[list[int]],
        head: list[int],
        left: int,
        found: list[tuple[int, ...]],
        limit: int,
        effort: list[int],
    ) -> bool:
        effort[0] -= 1
        if effort[0] < 0 or len(found) > limit:
            return False
        if len(head) == len(ranges) - 1:
            if left in ranges[-1] and self.allows([*head, left]):
                found.append((*head, left))
            return len(found) <= limit
        reachable = self.drawing.ways[len(head) + 1][-1]
        return all(
            self._walk(ranges, [*head, n], left - n, found, limit, effort)
            for n in ranges[len(head)]
            if n <= left and reachable[left - n] > 0
        )


@dataclass(frozen=True, kw_only=True)
class Space:
    """All that a campaign may vary: composition and process settings, or a list of candidates."""

    composition: CompositionSpace | None = None
    process: tuple[Parameter, ...] = ()
    pool: Pool | None = None  #: any sequence of candidates is made one

    def __post_init__(self) -> None:
        if self.composition is None and not self.process:
            raise SpaceError("nothing is varied: give a composition or a process parameter")
        if self.pool is not None:
            if not isinstance(self.pool, Pool):
                object.__setattr__(self, "pool", self.pool_of(self.pool))
            if not self.pool:
                raise SpaceError("the list of candidates is empty")
            for row, problem in self.pool_problems(self.pool, most=1):
                raise SpaceError(f"candidate {row + 1} of the list: {problem}")
            return
        if self.composition is not None and self.composition.draw(random.Random(0)) is None:
            names = [f"constraint {c.name!r}" for c in self.composition.constraints]
            if self.composition.max_present is not None:
                names.append(f"max_present = {self.composition.max_present}")
            raise SpaceError(f"no composition satisfies all of these together: {', '.join([*names, 'the bounds'])}")

    @property
    def names(self) -> tuple[str, ...]:
        """Components, then process parameters."""
        return (self.composition.names if self.composition else ()) + tuple(p.name for p in self.process)

    def problems(self, candidate: Candidate) -> list[str]:
        """Why this candidate is not in the space; empty when it is."""
        found = self.composition.problems(candidate.fractions) if self.composition else []
        for parameter in self.process:
            if parameter.name not in candidate.process:
                found.append(f"no value for {parameter.name}")
            elif problem := parameter.problem(candidate.process[parameter.name]):
                found.append(problem)
        return found

    def pool_of(self, candidates: Iterable[Candidate]) -> Pool:
        """Candidates as a list of this space."""
        steps = self.composition.steps if self.composition else 1
        return Pool.of(candidates, self.composition.names if self.composition else (), steps, self.process)

    def pool_problems(self, pool: Pool, most: int) -> list[tuple[int, str]]:
        """Rows of a list that are not in the space, the first few, and why."""
        good = pool.settings_allowed()
        if self.composition is not None:
            weighable = (pool.counts == pool.counts.round()).all(axis=1)
            weighable &= pool.counts.sum(axis=1) == self.composition.steps
            good &= weighable
            good[weighable] &= allowed(self.composition, pool.counts[weighable])
        bad = (~good).nonzero()[0][:most]
        return [(int(row), self._problem_of_row(pool, int(row))) for row in bad]

    def _problem_of_row(self, pool: Pool, row: int) -> str:
        import numpy as np

        counts, settings = pool.counts[row], pool.settings[row]
        if self.composition is not None:
            if off := np.flatnonzero(counts != counts.round()).tolist():
                name, share = pool.components[off[0]], counts[off[0]] / pool.steps
                return f"{name} = {share:.6g} is not on the dispenser's grid of {float(self.composition.step):g}"
            shares = {n: exact(round(float(c), 9)) / pool.steps for n, c in zip(pool.components, counts, strict=True)}
            if problems := self.composition.problems(shares):
                return problems[0]
        found = [p.problem(float(v)) for p, v in zip(self.process, settings, strict=True)]
        return next((f for f in found if f), "a setting is missing, or not one of its choices")

    def draw(self, rng: random.Random) -> Candidate | None:
        """One candidate at random; None when none was found."""
        if self.pool is not None:
            return rng.choice(self.pool)
        fractions: dict[str, Fraction] = {}
        if self.composition is not None:
            counts = self.composition.draw(rng)
            if counts is None:
                return None
            fractions = self.composition.fractions(counts)
        return Candidate(fractions, {p.name: p.at(rng.random()) for p in self.process})

    def all(self, limit: int = 20000) -> Sequence[Candidate] | None:
        """Every candidate, or None when there are more than `limit` or a setting is continuous. A list has no limit."""
        if self.pool is not None:
            return self.pool
        grids = [values(p) for p in self.process]
        if any(grid is None for grid in grids):
            return None
        compositions = self.composition.enumerate(limit) if self.composition else [()]
        settings = math.prod(len(g) for g in grids if g is not None)
        if compositions is None or len(compositions) * settings > limit:
            return None
        made = []
        for counts in compositions:
            fractions = self.composition.fractions(counts) if self.composition else {}
            made += [
                Candidate(fractions, dict(zip((p.name for p in self.process), chosen, strict=True)))
                for chosen in itertools.product(*(g for g in grids if g is not None))
            ]
        return made
