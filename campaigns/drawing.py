"""Compositions at random, many at once: each that can be weighed is as likely as any other.

A composition is a way to share out the dispenser's steps among the components. How many
ways there are, from each component on and for each number of steps left, is counted once;
a draw then walks through the components, choosing each share in proportion to the ways that
it leaves open. Bounds, components that may be absent and the number present hold by
construction. Linear constraints are met by rejection or, where that is hopeless, by moving
a draw to the nearest composition that meets them (a small integer programme).
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

REJECTION = 4000  #: draws after which constraints count as too narrow for rejection
SOLVED = 24  #: compositions found by integer programmes, from which others are reached
NEARLY = 0.5  #: share by which the distance of such a composition may exceed the smallest
WALKS, MOVES = 12, 60  #: rounds of that; smallest moves kept


class Constraint(Protocol):
    """``low <= sum(coefficient * fraction) <= high``."""

    @property
    def coefficients(self) -> Mapping[str, Fraction]: ...
    @property
    def low(self) -> Fraction | None: ...
    @property
    def high(self) -> Fraction | None: ...


class Compositions(Protocol):
    """What a draw must know of a space of compositions (`campaigns.space.CompositionSpace`)."""

    @property
    def components(self) -> Sequence[Any]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def steps(self) -> int: ...
    @property
    def max_present(self) -> int | None: ...
    @property
    def constraints(self) -> Sequence[Constraint]: ...

    def bounds(self, component: Any) -> tuple[int, int]: ...

    def allows(self, counts: Sequence[int]) -> bool: ...


class Drawing:
    """The ways to share out the steps of one space."""

    def __init__(self, space: Compositions) -> None:
        import numpy as np

        self.space, self.steps = space, space.steps
        bounds = [space.bounds(c) for c in space.components]
        self.absent = np.array([c.may_be_absent for c in space.components])
        self.low = np.array([max(low, 1) for low, _ in bounds])
        self.high = np.array([high for _, high in bounds])

    @cached_property
    def ways(self) -> list[Array]:
        """``ways[i][p, s]``: ways to share `s` steps among components i and later, at most `p` of them present.

        Without a limit on the number present there is one row. Counted in floating point.
        """
        import numpy as np

        most = self.space.max_present
        rows = 1 if most is None else min(most, len(self.low)) + 1
        last = np.zeros((rows, self.steps + 1))
        last[:, 0] = 1.0
        ways = [last]
        for i in range(len(self.low) - 1, -1, -1):
            ways.insert(0, self._with(i, ways[0]))
        return ways

    def _with(self, i: int, later: Array) -> Array:
        """The ways once component `i` takes part."""
        import numpy as np

        low, high, steps = self.low[i], self.high[i], self.steps
        limited = self.space.max_present is not None
        cumulated = np.pad(np.cumsum(later, axis=1), ((0, 0), (1, 0)))
        s = np.arange(steps + 1)
        upper, lower = np.clip(s - low + 1, 0, None), np.clip(s - high, 0, None)
        present = np.where(upper > lower, cumulated[:, upper] - cumulated[:, lower], 0.0)
        if limited:
            present = np.vstack([np.zeros((1, steps + 1)), present[:-1]])
        return present + (later if self.absent[i] else 0.0)

    @property
    def count(self) -> float:
        """How many compositions there are, linear constraints left aside; exact up to 2**53."""
        return float(self.ways[0][-1, self.steps])

    def uniform(self, rng: Any, size: int) -> Array:
        """`size` compositions as whole steps, linear constraints left aside; none where there are none."""
        import numpy as np

        if self.count < 0.5:
            return np.zeros((0, len(self.low)))
        ways = self.ways
        left = np.full(size, self.steps)
        room = np.full(size, len(ways[0]) - 1)
        counts = np.zeros((size, len(self.low)))
        for i in range(len(self.low)):
            share = self._shares(i, rng.random(size) * ways[i][room, left], left, room)
            counts[:, i] = share
            left = left - share
            room = room - ((share > 0) & (self.space.max_present is not None))
        result: Array = counts[(left == 0) & allowed(self.space, counts, constraints=False)]
        return result

    def _shares(self, i: int, at: Array, left: Array, room: Array) -> Array:
        """The share of component `i` where the ways, absent first and then from few steps to many, reach `at`."""
        import numpy as np

        later = self.ways[i + 1]
        none = later[room, left] if self.absent[i] else np.zeros(len(at))
        shares = np.zeros(len(at), dtype=int)
        for p in np.unique(room):
            rows = np.flatnonzero((room == p) & (at >= none))
            if not len(rows):
                continue
            after = later[p - 1] if self.space.max_present is not None else later[0]
            cumulated = np.concatenate([[0.0], np.cumsum(after)])
            most = np.clip(left[rows] - self.low[i] + 1, 0, None)
            value = cumulated[most] - (at[rows] - none[rows])
            found = np.searchsorted(cumulated, value, side="left") - 1
            shares[rows] = np.clip(left[rows] - found, self.low[i], np.minimum(self.high[i], left[rows]))
        return shares

    def draw(self, rng: Any, size: int) -> Array:
        """Up to `size` compositions that meet the constraints too, as whole steps.

        Fewer where the constraints leave little room; none only where nothing is left.
        """
        import numpy as np

        if not self.space.constraints:
            return self.uniform(rng, size)
        tried = self.uniform(rng, max(REJECTION, 2 * size))
        found = tried[allowed(self.space, tried)]
        if len(found) and len(found) < size and len(found) >= len(tried) // 50:
            more = self.uniform(rng, min(200_000, int(1.3 * size * len(tried) / len(found))))
            found = np.vstack([found, more[allowed(self.space, more)]])
        if len(found) >= min(size, SOLVED):
            return found[:size]
        return self._walked(np.vstack([found, self.solved]), rng, size)

    @cached_property
    def solved(self) -> Array:
        """Compositions that meet narrow constraints: the nearest to a few uniform draws."""
        import numpy as np

        tried = self.uniform(np.random.default_rng(0), SOLVED)
        found: dict[tuple[int, ...], None] = {}
        for at in tried:
            nearest = self.nearest(at)
            if nearest is None:
                break  # there is none at all
            found[nearest] = None
        return np.array(list(found), dtype=float).reshape(len(found), len(self.low))

    def _walked(self, found: Array, rng: Any, size: int) -> Array:
        """More compositions from a few: a + (b - c) keeps every equality, and is kept where it is in bounds."""
        import numpy as np

        found = np.unique(found, axis=0)
        for _ in range(WALKS):
            if not 1 < len(found) < size:
                break
            a, b, c = found[rng.integers(0, len(found), (3, 2 * size))]
            moved = a + b - c
            found = np.unique(np.vstack([found, moved[(moved >= 0).all(axis=1) & allowed(self.space, moved)]]), axis=0)
        picked: Array = found[rng.permutation(len(found))[:size]]
        return picked

    @cached_property
    def moves(self) -> Array:
        """Smallest moves between compositions that keep the equalities of narrow constraints."""
        import numpy as np

        some = self._walked(self.solved, np.random.default_rng(1), 4 * SOLVED)
        apart = (some[:, None, :] - some[None, :, :]).reshape(-1, some.shape[1]).astype(int)
        apart = apart[np.abs(apart).sum(axis=1) > 0]
        primitive = np.unique(apart // np.gcd.reduce(apart, axis=1)[:, None], axis=0)
        return primitive[np.argsort(np.abs(primitive).sum(axis=1), kind="stable")[:MOVES]]

    def nearest(self, at: Any) -> tuple[int, ...] | None:
        """A composition that meets everything, near `at` in steps moved; None when there is none.

        By branch and bound (HiGHS, through scipy). Whether there is one is decided exactly; that
        it is the nearest of all need not be proved, which took some spaces hours.
        """
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp

        k = len(self.low)
        eye, nothing = np.eye(k), np.zeros((k, k))
        # Unknowns: steps, whether present, distance to `at`.
        rows: list[Any] = [np.hstack([np.ones(k), np.zeros(2 * k)])]
        lower, upper = [float(self.steps)], [float(self.steps)]
        blocks = [
            (np.hstack([eye, -np.diag(self.low.astype(float)), nothing]), np.zeros(k), np.full(k, np.inf)),
            (np.hstack([eye, -np.diag(self.high.astype(float)), nothing]), np.full(k, -np.inf), np.zeros(k)),
            (np.hstack([eye, nothing, -eye]), np.full(k, -np.inf), np.asarray(at, dtype=float)),
            (np.hstack([-eye, nothing, -eye]), np.full(k, -np.inf), -np.asarray(at, dtype=float)),
        ]
        if self.space.max_present is not None:
            rows.append(np.hstack([np.zeros(k), np.ones(k), np.zeros(k)]))
            lower.append(0.0)
            upper.append(float(self.space.max_present))
        for coefficients, low, high in whole_constraints(self.space):
            rows.append(np.hstack([np.array(coefficients, dtype=float), np.zeros(2 * k)]))
            lower.append(-np.inf if low is None else float(low))
            upper.append(np.inf if high is None else float(high))
        stacked = np.vstack([np.array(rows), *(b[0] for b in blocks)])
        with quiet():
            solution = milp(
                np.concatenate([np.zeros(2 * k), np.ones(k)]),
                constraints=LinearConstraint(
                    stacked,
                    np.concatenate([lower, *(b[1] for b in blocks)]),
                    np.concatenate([upper, *(b[2] for b in blocks)]),
                ),
                bounds=Bounds(
                    np.concatenate([np.zeros(k), 1.0 - self.absent, np.zeros(k)]),
                    np.concatenate([np.full(k, float(self.steps)), np.ones(k), np.full(k, np.inf)]),
                ),
                integrality=np.concatenate([np.ones(2 * k), np.zeros(k)]),
                options={"mip_rel_gap": NEARLY, "presolve": False},
            )
        if solution.x is None:
            return None
        counts = tuple(round(n) for n in solution.x[:k])
        return counts if self.space.allows(counts) else None


@contextmanager
def quiet() -> Iterator[None]:
    """HiGHS prints remarks of its own past Python, whatever it is told: they go nowhere.

    labctl itself prints on another descriptor (`labctl.app.keep_stdout`).
    """
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def whole_constraints(space: Compositions) -> list[tuple[list[int], int | None, int | None]]:
    """Each constraint in whole numbers: coefficient by component, smallest and largest sum over the steps."""
    found = []
    for c in space.constraints:
        terms = [c.coefficients.get(n) for n in space.names]
        scale = math.lcm(*(t.denominator for t in (*terms, c.low, c.high) if t is not None))
        found.append(
            (
                [int(t * scale) if t is not None else 0 for t in terms],
                None if c.low is None else int(c.low * scale) * space.steps,
                None if c.high is None else int(c.high * scale) * space.steps,
            )
        )
    return found


def allowed(space: Compositions, counts: Any, *, constraints: bool = True) -> Array:
    """Which rows of whole steps, each summing to the whole, are compositions of the space.

    Constraints are compared in whole numbers: a bound that is met to the last digit is met.
    """
    import numpy as np

    counts = np.asarray(counts)
    good = np.ones(len(counts), dtype=bool)
    for i, component in enumerate(space.components):
        low, high = space.bounds(component)
        column = counts[:, i]
        good &= ((column >= low) & (column <= high)) | ((column == 0) & component.may_be_absent)
    if space.max_present is not None:
        good &= (counts > 0).sum(axis=1) <= space.max_present
    if constraints and space.constraints:
        good &= meets(space, counts)
    return good


def meets(space: Compositions, counts: Array) -> Array:
    """Which rows meet the linear constraints."""
    import numpy as np

    good = np.ones(len(counts), dtype=bool)
    for coefficients, low, high in whole_constraints(space):
        small = max(map(abs, coefficients)) * space.steps * len(coefficients) < 2**62
        kind: Any = np.int64 if small else object  # Python's own numbers where 64 bits would overflow
        total = counts.astype(np.int64).astype(kind) @ np.array(coefficients, dtype=kind)
        if low is not None:
            good &= (total >= low).astype(bool)
        if high is not None:
            good &= (total <= high).astype(bool)
    return good
