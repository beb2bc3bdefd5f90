"""Many candidates at once, as rows: drawing them, moving between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.drawing import allowed
from campaigns.observations import Closed
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter
from campaigns.pool import allowed_codes
from campaigns.rows import Rows, Table, joined
from campaigns.space import Space

Array = np.ndarray[Any, Any]

ABSENT = 0.03  #: chance that a move takes a component out
OTHER_CHOICE = 0.15  #: chance that a move changes a choice
NEAR_SHARE, NEAR_MOST = 0.05, 2000  #: of a long list: share that counts as near, times the distance; at most
EXACT = 22  #: decimals at most to which numpy rounds as Python does
AROUND = 40  #: nearest of a long list


def generator(*of: object) -> np.random.Generator:
    """A numpy generator that is the same in every process for the same words."""
    digest = hashlib.sha256("/".join(str(o) for o in of).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


class Grid(Rows):
    """The candidates of one space."""

    def allows(self, candidate: Candidate) -> bool:
        """Whether this candidate may be proposed."""
        return not self.space.problems(candidate)

    # -- drawing --------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator, size: int) -> Table:
        """Feasible candidates at random; fewer where the space is hard to draw from."""
        counts = self.composition.drawing.draw(rng, size) if self.composition else np.zeros((size, 0))
        shares = rng.random((len(counts), len(self.space.process)))
        return Table(counts, self._settings(shares))

    def all(self, limit: int) -> Table | None:
        """Every candidate, or None when there are more than `limit`."""
        whole = self.space.all(limit)
        return None if whole is None else self.table(whole)

    def _settings(self, shares: Array) -> Array:
        """Settings at these shares of the way from low to high, on their grids."""
        columns = [_at(p, shares[:, i]) for i, p in enumerate(self.space.process)]
        return np.column_stack(columns) if columns else np.zeros((len(shares), 0))

    # -- moving ---------------------------------------------------------------------------

    def near(self, table: Table, size: float, each: int, rng: np.random.Generator) -> Table:
        """Feasible candidates scattered around each row, `size` of the whole away."""
        repeated = table.rows(np.repeat(np.arange(len(table)), each))
        counts = self._scattered(repeated.counts, size, rng) if self.composition else repeated.counts
        settings = self._shifted(self._snapped(repeated.settings), size, rng)
        if self.composition is None:
            return Table(counts, settings)
        good = allowed(self.composition, counts)
        return Table(counts[good], settings[good])

    def _scattered(self, counts: Array, size: float, rng: np.random.Generator) -> Array:
        """Shares changed at random, some to nothing, brought back to the whole and to whole steps."""
        shape = counts.shape
        hit = rng.random(shape) < max(0.4, 2.0 / shape[1])
        moved = counts / self.steps + max(size, 1.0 / self.steps) * rng.standard_normal(shape) * hit
        drawing = self.composition.drawing if self.composition else None
        assert drawing is not None
        moved = np.clip(moved, 0.0, drawing.high / self.steps)
        moved[(rng.random(shape) < ABSENT) & drawing.absent] = 0.0
        low = np.where(drawing.absent, 0.0, drawing.low / self.steps)
        moved = np.maximum(moved, low)
        total = moved.sum(axis=1, keepdims=True)
        share = np.where(total > 1e-9, moved / np.maximum(total, 1e-9), 1.0 / shape[1])
        return whole_steps(share, self.steps)

    def _snapped(self, settings: Array) -> Array:
        """Settings as they may be proposed: what was measured by hand lies beside the grid, or out of bounds."""
        columns = [_nearest(p, settings[:, i]) for i, p in enumerate(self.space.process)]
        return np.column_stack(columns) if columns else settings

    def with_settings(self, table: Table, fixed: Mapping[int, float]) -> Table:
        """These candidates, with the settings that all must have."""
        settings = table.settings.copy()
        for place, value in fixed.items():
            settings[:, place] = value
        return Table(table.counts, settings)

    def open(self, closed: Closed, fixed: Mapping[int, float], limit: int) -> Table | None:
        """Candidates that are open when all that were looked at are not; None where the space is no list."""
        return None

    def _shifted(self, settings: Array, size: float, rng: np.random.Generator) -> Array:
        """Settings changed at random, some not at all."""
        columns = []
        p_hit = max(0.4, 1.0 / max(1, settings.shape[1]))
        for i, p in enumerate(self.space.process):
            column, hit = settings[:, i], rng.random(len(settings))
            if isinstance(p, CategoricalParameter):
                other = rng.integers(0, len(p.choices), len(settings)).astype(float)
                columns.append(np.where(hit < OTHER_CHOICE, other, column))
                continue
            step = size
            if isinstance(p, IntegerParameter):
                step = max(size, 0.7 / (p.high - p.low))
            elif p.step is not None:
                step = max(size, 0.7 * p.step / (p.high - p.low))
            share = (column - p.low) / (p.high - p.low) + step * rng.standard_normal(len(settings))
            share = np.clip(share, 0.0, 1.0)
            new = np.round(p.low + share * (p.high - p.low)) if isinstance(p, IntegerParameter) else _at(p, share)
            columns.append(np.where(hit < p_hit, new, column))
        return np.column_stack(columns) if columns else settings

    def around(self, table: Table, row: int, sizes: Sequence[int]) -> Table:
        """All feasible candidates that differ from one row by some steps between two components, or in one setting."""
        counts, settings = table.counts[row], table.settings[row]
        tables = []
        if self.composition is not None:
            moved = self._moved(counts, sizes)
            tables.append(Table(moved, np.repeat(settings[None, :], len(moved), axis=0)))
        for i, parameter in enumerate(self.space.process):
            values = _neighbours(parameter, float(settings[i]))
            changed = np.repeat(settings[None, :], len(values), axis=0)
            changed[:, i] = values
            tables.append(Table(np.repeat(counts[None, :], len(values), axis=0), changed))
        return joined(tables)

    def _moved(self, counts: Array, sizes: Sequence[int]) -> Array:
        """Some steps from one component to another; along narrow constraints, the smallest moves that keep them."""
        assert self.composition is not None
        k = len(counts)
        moves = [(i, j, by) for by in sizes for i in range(k) for j in range(k) if i != j]
        change = np.zeros((len(moves), k))
        for row, (i, j, by) in enumerate(moves):
            change[row, i], change[row, j] = -by, by
        moved = counts + change
        moved = moved[(moved >= 0).all(axis=1)]
        result: Array = moved[allowed(self.composition, moved)]
        if len(result) or not self.composition.constraints:
            return result
        along = self.composition.drawing.moves
        moved = counts + np.vstack([along, -along])
        moved = moved[(moved >= 0).all(axis=1)]
        found: Array = moved[allowed(self.composition, moved)]
        return found


class Listed(Grid):
    """The candidates of a list, of any length: neighbours are those that are near in the list."""

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        assert space.pool is not None
        self.pool = space.pool
        self.whole = Table(space.pool.counts, space.pool.settings)

    @cached_property
    def tree(self) -> Any:
        """For nearest neighbours, by fractions and settings from 0 to 1."""
        from scipy.spatial import cKDTree

        return cKDTree(self._points(self.whole))

    def _points(self, table: Table) -> Array:
        wide = np.vstack([self.whole.settings.min(axis=0), self.whole.settings.max(axis=0)])
        span = np.where(wide[1] > wide[0], wide[1] - wide[0], 1.0)
        return np.hstack([table.counts / self.steps, (table.settings - wide[0]) / span])

    def allows(self, candidate: Candidate) -> bool:
        return candidate in self.pool

    def draw(self, rng: np.random.Generator, size: int) -> Table:
        if size >= len(self.whole):
            return self.whole
        return self.whole.rows(rng.integers(0, len(self.whole), size))

    def all(self, limit: int) -> Table | None:
        return self.whole if len(self.whole) <= limit else None

    def near(self, table: Table, size: float, each: int, rng: np.random.Generator) -> Table:
        reach = min(len(self.whole), max(2 * each, int(NEAR_SHARE * size * len(self.whole))), NEAR_MOST)
        _, found = self.tree.query(self._points(table), k=reach)
        picked = rng.integers(0, reach, (len(table), each))
        return self.whole.rows(np.unique(np.take_along_axis(found.reshape(len(table), -1), picked, axis=1)))

    def with_settings(self, table: Table, fixed: Mapping[int, float]) -> Table:
        """Those that have them: what is not in the list cannot be made."""
        same = [table.settings[:, place] == value for place, value in fixed.items()]
        return table.rows(np.flatnonzero(np.logical_and.reduce(same)))

    def open(self, closed: Closed, fixed: Mapping[int, float], limit: int) -> Table | None:
        """The first of the whole list that are open."""
        left = self.with_settings(self.whole, fixed) if fixed else self.whole
        rows = (row for row, key in enumerate(left.keys) if key not in closed)
        return left.rows(np.fromiter(islice(rows, limit), int))

    def around(self, table: Table, row: int, sizes: Sequence[int]) -> Table:
        _, found = self.tree.query(self._points(table.rows([row])), k=min(len(self.whole), AROUND))
        return self.whole.rows(np.ravel(found))


def whole_steps(shares: Array, steps: int) -> Array:
    """Shares of each row as whole steps that sum to the whole, nearest to them (largest remainders)."""
    scaled = shares * steps
    counts = np.floor(scaled + 1e-9)
    left = np.rint(steps - counts.sum(axis=1)).astype(int)
    order = np.argsort(counts - scaled, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(shares.shape[1])[None, :], axis=1)
    result: Array = counts + (rank < left[:, None])
    return result


def _at(parameter: Any, share: Array) -> Array:
    """Settings at these shares of the way, as `parameter.at` gives them."""
    value: Array
    if isinstance(parameter, CategoricalParameter):
        value = np.minimum(len(parameter.choices) - 1, np.floor(share * len(parameter.choices)))
    elif isinstance(parameter, IntegerParameter):
        value = np.minimum(parameter.high, parameter.low + np.floor(share * (parameter.high - parameter.low + 1)))
    else:
        width, step = parameter.high - parameter.low, parameter.step
        value = parameter.low + share * width
        if step is not None:
            most = np.floor(width / step + 1e-9)
            value = parameter.low + step * np.minimum(most, np.round((value - parameter.low) / step))
        value = _rounded(value, parameter.digits)
    return value


def _rounded(values: Array, digits: int) -> Array:
    """As Python rounds, bit for bit: beyond 22 decimals numpy's power of ten is no exact number any more."""
    if digits <= EXACT:
        return np.round(values, digits)
    return np.array([round(float(v), digits) for v in values.ravel()]).reshape(values.shape)


def _nearest(parameter: Any, column: Array) -> Array:
    """A column of settings, each as it is if it may be, else the nearest that may."""
    good = allowed_codes(parameter, column)
    if good.all():
        return column
    if isinstance(parameter, FloatParameter):
        share = np.clip((column - parameter.low) / ((parameter.high - parameter.low) or 1.0), 0.0, 1.0)
        return np.where(good, column, _at(parameter, share))
    choices = isinstance(parameter, CategoricalParameter)
    low, high = (0, len(parameter.choices) - 1) if choices else (parameter.low, parameter.high)
    return np.where(good, column, np.clip(np.round(column), low, high))


def _neighbours(parameter: Any, code: float) -> list[float]:
    """Settings near this one, or the other choices."""
    if isinstance(parameter, CategoricalParameter):
        return [float(i) for i in range(len(parameter.choices)) if i != code]
    if isinstance(parameter, FloatParameter):
        share, step = parameter.share(code), parameter.step
        sizes = (0.002, 0.01) if step is None else (step / (parameter.high - parameter.low),)
        near = {parameter.at(min(1.0, max(0.0, share + sign * size))) for size in sizes for sign in (-1, 1)}
    else:
        near = {float(min(parameter.high, max(parameter.low, code + by))) for by in (-1, 1)}
    return sorted(near - {code})
