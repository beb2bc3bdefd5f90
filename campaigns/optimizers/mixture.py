"""The surrogate: a few small models that each see the candidates in their own way, averaged.

Gaussian processes of different smoothness in different coordinates, and for process
parameters a forest. Mean and variance of the mixture follow the law of total variance. All
processes count the same in a list; in a space each counts by how well it predicts the rows
left out (pseudo-BMA, Yao, Vehtari, Simpson and Gelman 2018, with the evidence tempered, as
nearby rows say much the same). It is fitted and asked as the library does (`fit`, `predict`), and keeps the
predictions of attached candidates up to date row by row.

What it answers depends on the rows and the seed alone, bit for bit: hyperparameters are
fitted at fixed numbers of rows, each time from those of a fixed smaller number, and rows
beyond are added one by one, in a running process and after a restart alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from campaigns.optimizers.coordinates import View
from campaigns.optimizers.forest import Forest
from campaigns.optimizers.gaussian_process import GaussianProcess, Kind, Rows
from campaigns.optimizers.grid import generator

Array = np.ndarray[Any, Any]

EACH = 40  #: up to so many rows, hyperparameters are fitted for every new one
LONGEST = 50  #: rows between two fits at most
FIT_ON = 100  #: rows on which hyperparameters are fitted: the best half and a random rest
MOST = 600  #: rows that a process holds: beyond, the best half and a random rest
ANCHORS = (8, 12, 16, 24, 32, 48, 64, 96, 144, 216, 324, 486, 729, 1093, 1640, 2460, 3690)
TAIL = 2.0  #: robust standard deviations below the median beyond which values are pulled in
TEMPER, LEAST = 0.2, 0.02  #: how much of the evidence for a process counts, where it counts; its smallest weight
ENOUGH = 12  #: rows from which leave-one-out predictions say anything
REMAINDER = (-2.5, 1.0)  #: prior of the log variance that earlier campaigns leave unexplained, where there are any
OUTLIER, DEGREES = 4.0, 4.0  #: leave-one-out residual that is suspect; degrees of freedom of its weight


@dataclass(frozen=True)
class Scale:
    """Values as models see them: mean 0, sd 1.

    Where larger is better, the bad tail is pulled in by a logarithm: what is bad need not be
    told apart.
    """

    unit: float
    shift: float
    low: float
    robust: float
    mean: float
    sd: float
    deepest: float = 0.0  #: how far below `low` values were seen, as the logarithm has it

    @classmethod
    def of(cls, values: Array, *, tail: bool = True) -> Scale:
        """The scale of these values; harmless where all are equal. `tail`: whether the bad tail is pulled in."""
        unit = float(np.max(np.abs(values - np.median(values)))) or 1.0
        shift = float(np.median(values))
        y = (values - shift) / unit
        robust = float(1.4826 * np.median(np.abs(y))) + 1e-12
        scale = cls(unit, shift, -TAIL * robust if tail else -np.inf, robust, 0.0, 1.0)
        pulled = scale(values)
        sd = float(pulled.std())
        deepest = max(0.0, float(scale.low - pulled.min()) / robust) if tail else 0.0
        return cls(unit, shift, scale.low, robust, float(pulled.mean()), sd if sd > 1e-9 else 1.0, deepest)

    def __call__(self, values: Array) -> Array:
        """Standardised values."""
        y = (values - self.shift) / self.unit
        below = np.maximum(self.low - y, 0.0) / self.robust
        y = np.where(below > 0, self.low - self.robust * np.log1p(below), y)
        result: Array = (y - self.mean) / self.sd
        return result

    def back(self, standard: Array) -> Array:
        """Values in their own unit; below all that was seen a straight line goes on from there."""
        y = standard * self.sd + self.mean
        below = np.maximum(self.low - y, 0.0) / self.robust
        seen = np.minimum(below, self.deepest)
        straight = np.expm1(seen) + (below - seen) * np.exp(seen)
        y = np.where(below > 0, self.low - self.robust * straight, y)
        result: Array = y * self.unit + self.shift
        return result

    @property
    def spread(self) -> float:
        """One standard deviation in the values' unit, tail aside."""
        return self.sd * self.unit


AS_THEY_ARE = Scale(1.0, 0.0, -np.inf, 1.0, 0.0, 1.0)


@dataclass(frozen=True)
class Member:
    """One process of the mixture: how it sees the candidates, what it assumes."""

    view: View
    kind: Kind


@dataclass
class Known:
    """All rows: raw, values that are larger the better, variance and block of each."""

    raw: Array
    values: Array
    variance: Array
    block: Array

    def __len__(self) -> int:
        return len(self.values)

    def shared_with(self, other: Known) -> int:
        """How many leading rows are the same."""
        n = min(len(self), len(other))
        same = (
            (self.raw[:n] == other.raw[:n]).all(axis=1)
            & (self.values[:n] == other.values[:n])
            & (self.variance[:n] == other.variance[:n])
            & (self.block[:n] == other.block[:n])
        )
        return n if same.all() else int(np.argmin(same))


def checkpoint(n: int) -> int:
    """The number of rows, at most `n`, at which hyperparameters are fitted."""
    at = min(n, EACH)
    while n > at:
        step = min(LONGEST, max(2, at // 20))
        if at + step > n:
            break
        at += step
    return at


def picked(values: Array, most: int, *seed: object) -> Array:
    """Rows to work on: all, or the best half of `most` and a random rest."""
    if len(values) <= most:
        return np.arange(len(values))
    order, rng = np.argsort(-values, kind="stable"), generator(*seed)
    half = most // 2
    return np.sort(np.concatenate([order[:half], rng.choice(order[half:], most - half, replace=False)]))


@dataclass
class State:
    """One member's process and how far it is."""

    process: GaussianProcess
    at: int = 0  #: rows at the last fit
    held: int = 0  #: rows of `Known` it has been told of
    spread: float = 1.0  #: of the values at the last fit: the unit of their variance
    rows: Array = field(default_factory=lambda: np.zeros(0, int))  #: which, in its own order
    anchors: dict[int, Array] = field(default_factory=dict)  #: hyperparameters at fixed numbers of rows
    judged: Array = field(default_factory=lambda: np.zeros(0, int))  #: rows of the last fit
    density: Array = field(default_factory=lambda: np.zeros(0))  #: log density of each, predicted from the others


class Mixture:
    """See module.

    Parameters
    ----------
    members
        The Gaussian processes.
    forest
        Weight of the forest, in members; 0 for none.
    forest_view
        How the forest sees the candidates.
    candidates
        Raw rows whose predictions are kept up to date.
    blocks
        Whether rows of one block share a shift that is learned.
    features
        Functions of raw rows that enter linearly, each with a weight that is learned.
    labels
        Whether values are labels, to be taken as they are.
    tail
        Whether bad values need not be told apart.
    judge
        Whether processes count by how well they predict; else all the same.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        seed: object,
        candidates: Array | None = None,
        forest: int = 0,
        forest_view: View | None = None,
        blocks: bool = False,
        features: Sequence[Callable[[Array], Array]] = (),
        labels: bool = False,
        tail: bool = True,
        judge: bool = False,
    ) -> None:
        self.judge = judge
        if features:
            members = [replace(m, kind=replace(m.kind, amplitude=REMAINDER)) for m in members]
        self.members, self.seed, self.candidates = tuple(members), seed, candidates
        self.forest_weight, self.forest_view = forest, forest_view
        self.blocks, self.features, self.labels, self.tail = blocks, tuple(features), labels, tail
        self.states = [
            State(GaussianProcess(m.view.width, m.kind, features=len(self.features), blocks=blocks))
            for m in self.members
        ]
        self.known: Known | None = None
        self._scales: dict[int, Scale] = {}
        self._at_candidates: tuple[Array, Array] | None = None
        self.forest_points = forest_view(candidates) if forest and forest_view and candidates is not None else None
        if candidates is not None:
            for m, s in zip(self.members, self.states, strict=True):
                s.process.attach(self._points(m, candidates))

    def _points(self, member: Member, raw: Array) -> Array:
        """Rows as one member's process sees them, features last."""
        points = member.view(raw)
        return np.column_stack([points, *(f(raw) for f in self.features)]) if self.features else points

    def _scale(self, at: int) -> Scale:
        """The scale of the first `at` values."""
        assert self.known is not None
        if at not in self._scales:
            self._scales[at] = AS_THEY_ARE if self.labels else Scale.of(self.known.values[:at], tail=self.tail)
        return self._scales[at]

    # -- fitting --------------------------------------------------------------------------

    def fit(self, raw: Array, values: Array, variance: Array | None = None, block: Array | None = None) -> Mixture:
        """Learn these rows. Values are larger the better; `variance` is that of each value, 0 where unknown."""
        n = len(values)
        new = Known(
            np.asarray(raw, dtype=float),
            np.asarray(values, dtype=float),
            np.zeros(n) if variance is None else variance,
            np.full(n, -1) if block is None else block,
        )
        shared = self.known.shared_with(new) if self.known is not None else 0
        self.known, self._scales = new, {}
        self.scale = self._scale(n)
        self.standard = self.scale(new.values)
        for j, (member, state) in enumerate(zip(self.members, self.states, strict=True)):
            self._forget(state, shared)
            self._update(j, member, state)
        if self.forest_weight and self.forest_view is not None:
            rows = picked(self.standard, MOST, self.seed, "forest rows", n)
            self.forest = Forest(generator(self.seed, "forest", n)).fit(
                self.forest_view(new.raw[rows]), self.standard[rows]
            )
            self._forest_of_candidates: tuple[Array, Array] | None = None
        self.weights = self._weighed()
        self._at_candidates = None
        self.X_train_ = new.raw  # the library reads the number of dimensions here
        return self

    def _forget(self, state: State, shared: int) -> None:
        """Drop what was learned from rows that have changed."""
        if state.held > shared:
            state.held = state.at = 0
        state.anchors = {n: theta for n, theta in state.anchors.items() if n <= shared}

    def _update(self, j: int, member: Member, state: State) -> None:
        """Fit at the checkpoint of this number of rows, then add the rows beyond one by one."""
        assert self.known is not None
        n = len(self.known)
        at = n if n < EACH + j else checkpoint(n - j) + j
        if state.at != at:
            self._fit_at(member, state, at)
        for row in range(state.held, n):
            point = self._points(member, self.known.raw[row : row + 1])[0]
            variance = float(self.known.variance[row]) / state.spread / state.spread
            state.process.push(point, 1.0, variance, int(self.known.block[row]))
            state.rows = np.append(state.rows, row)
        state.held = n

    def _fit_at(self, member: Member, state: State, at: int) -> None:
        """Hyperparameters and state from the first `at` rows."""
        start = state.process.start
        anchor = max((a for a in ANCHORS if a < at), default=None)
        if anchor is not None:
            if anchor not in state.anchors:
                state.anchors[anchor] = self._hyperparameters(member, state, anchor, start)
            start = state.anchors[anchor]
        theta = self._hyperparameters(member, state, at, start)
        rows, index = self._rows(member, at, MOST, "rows")
        state.process.condition(rows, theta)
        spread = self._scale(at).spread
        if len(rows) >= ENOUGH and not self.labels:
            mean, variance = state.process.leave_one_out(rows.values)
            z = (rows.values - mean) / np.sqrt(variance)
            state.judged, state.density = index, -0.5 * (np.log(variance) + z**2) - np.log(spread)
            if (share := doubted(z)) is not None:
                told = Rows(points=rows.points, values=rows.values, share=share, known=rows.known, block=rows.block)
                state.process.condition(told, theta)
        state.at, state.held, state.rows, state.spread = at, at, index, spread

    def _weighed(self) -> Array:
        """How much each process counts."""
        equal = np.full(len(self.states), 1 / len(self.states))
        if not self.judge or self.labels or len(self.known or ()) < ENOUGH:
            return equal
        common = reduce(np.intersect1d, (s.judged for s in self.states))
        score = TEMPER * np.array([s.density[np.isin(s.judged, common)].sum() for s in self.states])
        weights = np.maximum(np.exp(score - score.max()), LEAST)
        result: Array = weights / weights.sum()
        return result

    def _hyperparameters(self, member: Member, state: State, at: int, start: Array) -> Array:
        rows, _ = self._rows(member, at, FIT_ON, "fit")
        return state.process.fitted(rows, start)

    def _rows(self, member: Member, at: int, most: int, purpose: str) -> tuple[Rows, Array]:
        """Rows among the first `at`, standardised by these."""
        assert self.known is not None
        scale = self._scale(at)
        standard = scale(self.known.values[:at])
        index = picked(standard, most, self.seed, purpose, at)
        return Rows(
            points=self._points(member, self.known.raw[index]),
            values=standard[index],
            share=np.ones(len(index)),
            known=self.known.variance[index] / scale.spread / scale.spread,
            block=self.known.block[index],
        ), index

    # -- predictions ----------------------------------------------------------------------

    def values_of(self, state: State) -> Array:
        """Standardised values of the rows that a member holds."""
        return self.standard[state.rows]

    def standardised(self, raw: Array) -> tuple[Array, Array]:
        """Mean and standard deviation in standardised values."""
        if raw is self.candidates:
            return self.of_candidates()
        points = {id(m.view): self._points(m, raw) for m in {id(m.view): m for m in self.members}.values()}
        parts = [
            s.process.predict(points[id(m.view)], self.values_of(s))
            for m, s in zip(self.members, self.states, strict=True)
        ]
        if self.forest_weight and self.forest_view is not None:
            parts.append(self.forest.predict(self.forest_view(raw)))
        return mixed(parts, self._shares)

    @property
    def _shares(self) -> Array:
        """How much each part of a prediction counts: the processes, and the forest if there is one."""
        if not self.forest_weight:
            return self.weights
        n = len(self.states)
        return np.append(n * self.weights, self.forest_weight) / (n + self.forest_weight)

    def of_candidates(self) -> tuple[Array, Array]:
        """The same for the attached candidates."""
        if self._at_candidates is None:
            parts = [s.process.of_candidates(self.values_of(s)) for s in self.states]
            if self.forest_weight and self.forest_points is not None:
                if self._forest_of_candidates is None:
                    self._forest_of_candidates = self.forest.predict(self.forest_points)
                parts.append(self._forest_of_candidates)
            self._at_candidates = mixed(parts, self._shares)
        return self._at_candidates

    def at(self, row: int) -> tuple[float, float]:
        """Mean and standard deviation, standardised, at one of the attached candidates."""
        mean, sd = self.of_candidates()
        return float(mean[row]), float(sd[row])

    def predict(self, raw: Array, return_std: bool = False) -> Any:
        """Mean, and the standard deviation of the noiseless value when asked, in the values' unit (tail straightened)."""
        mean, sd = self.standardised(raw)
        level = self.scale.shift + self.scale.unit * (self.scale.mean + self.scale.sd * mean)
        return (level, self.scale.spread * sd) if return_std else level

    def left_out(self) -> tuple[Array, Array, Array]:
        """Mean and variance of each row's value, noise included, predicted from all others; and which rows."""
        rows = [s.rows for s in self.states]
        common = sorted(set.intersection(*(set(r.tolist()) for r in rows)))
        parts = []
        for s in self.states:
            mean, variance = s.process.leave_one_out(self.values_of(s))
            place = {row: i for i, row in enumerate(s.rows.tolist())}
            at = [place[row] for row in common]
            parts.append((mean[at], variance[at]))
        mean, sd = mixed(parts, self.weights)
        return mean, sd**2, np.array(common, dtype=int)

    def drawn(self, raw: Array, size: int, rng: np.random.Generator) -> Array:
        """Landscapes at some rows, (size, n), standardised: each from one of the processes, drawn jointly."""
        which = rng.choice(len(self.states), size, p=self.weights)
        found = np.empty((size, len(raw)))
        for j, (m, s) in enumerate(zip(self.members, self.states, strict=True)):
            chosen = np.flatnonzero(which == j)
            mean, covariance = s.process.joint(self._points(m, raw), self.values_of(s))
            factor = np.linalg.cholesky(covariance)
            found[chosen] = mean + rng.standard_normal((len(chosen), len(raw))) @ factor.T
        return found

    # -- beliefs --------------------------------------------------------------------------

    def believe(self, raw: Array) -> None:
        """Take each row to turn out as predicted: no mean moves, doubt near by goes."""
        for m, s in zip(self.members, self.states, strict=True):
            for point in self._points(m, np.atleast_2d(raw)):
                s.process.push(point)
        self._at_candidates = None

    def mark(self) -> list[tuple[int, Array | None]]:
        """Where `restore` returns to."""
        return [s.process.mark() for s in self.states]

    def restore(self, mark: list[tuple[int, Array | None]]) -> None:
        """Forget the beliefs since."""
        for s, m in zip(self.states, mark, strict=True):
            s.process.restore(m)
        self._at_candidates = None


def doubted(z: Array) -> Array | None:
    """Noise of rows far below what all others say, as under Student's t; None when there is none.

    Only surprises to the worse are doubted: one to the better may be the peak that is looked
    for, and is worth a replicate. `z`: leave-one-out residuals in standard deviations.
    """
    suspect = z < -OUTLIER
    return np.where(suspect, (DEGREES + z**2) / (DEGREES + 1), 1.0) if suspect.any() else None


def mixed(parts: Sequence[tuple[Array, Array]], weights: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of a mixture, by the law of total variance."""
    means, variances = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    mean = weights @ means
    return mean, np.sqrt(np.maximum(weights @ (variances + means**2) - mean * mean, 1e-12))
