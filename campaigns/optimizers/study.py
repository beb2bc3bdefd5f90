"""One campaign's candidates and what its observations say about them: models, chances, search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from campaigns.observations import Closed
from campaigns.optimizers.coordinates import View, view
from campaigns.optimizers.gaussian_process import Kind
from campaigns.optimizers.grid import Grid, Listed, generator
from campaigns.optimizers.mixture import Member, Mixture
from campaigns.optimizers.single import SingleProcess
from campaigns.parameters import CategoricalParameter, IntegerParameter, Parameter
from campaigns.rows import Table, distinct, joined
from campaigns.space import Space

Array = np.ndarray[Any, Any]

WHOLE = 5000  #: a space or list of at most so many candidates is looked at whole
REFERENCE = 2048  #: candidates drawn to learn how wide the space is
BASE = 1200  #: candidates drawn once from a large space
MOST_LEFT = 5000  #: of a long list that is nearly used up, so many of what is left are looked at
PARENTS, CHILDREN = 10, 24  #: local search: parents, and children of each
TWIN = 0.005  #: of a setting's range: candidates that differ by less in every number are the same to a lab
ALIKE = 1 - 1e-9  #: of that: a step of exactly so much is told apart
SIZES = (0.1, 0.05, 0.02, 0.008, 0.003, 0.001)  #: how far children are from their parents, round by round

POOL_LENGTH, POOL_NOISE = (0.0, 1.0), (-3.0, 1.0)
SPACE_LENGTH, SPACE_NOISE = (-0.7, 1.0), (-4.0, 1.0)
FAILURES = Kind(nu=2.5, ard=True, length=(0.0, 0.7), amplitude=(0.0, 0.7), noise=(-3.0, 1.0))
FAILED = -2.0  #: label of a candidate that could not be made; 0 is that of one that could
UNSURE = 0.3  #: variance of a label that no model explains


@dataclass(frozen=True)
class Setup:
    """Which models look at which coordinates."""

    members: tuple[tuple[str, Kind], ...]
    forest: int


def setup(space: Space, finite: bool, coordinates: str) -> Setup:
    """The default mixture, by facts that the user states: compositions or settings, a list or a space.

    Measured on public data: `benchmarks/README.md`.
    """
    length, noise = (POOL_LENGTH, POOL_NOISE) if finite else (SPACE_LENGTH, SPACE_NOISE)
    five, three, same = (
        Kind(nu=2.5, length=length, noise=noise),
        Kind(nu=1.5, length=length, noise=noise),
        Kind(nu=2.5, ard=False, length=length, noise=noise),
    )
    composed: tuple[tuple[str, Kind], ...]
    if finite:
        composed = (("roots", five), ("roots", three), ("fractions", three), ("roots", same), ("fractions", same))
    else:
        composed = (("uniform", five), ("roots", five), ("fractions", same), ("uniform", same))
    members: tuple[tuple[str, Kind], ...] = (
        composed if space.composition else (("fractions", five), ("fractions", three), ("fractions", same))
    )
    if coordinates != "auto" and space.composition:
        members = tuple((coordinates, kind) for _, kind in members)
    forest = 0 if not space.process else 2 if finite and not space.composition else 1
    return Setup(members, forest)


class Study:
    """See module. Made for one space and seed; its models grow row by row.

    Parameters
    ----------
    coordinates
        "auto", or the coordinates in which all models see compositions.
    features
        What earlier campaigns predict, as functions of raw rows.
    single
        Whether the library's own process takes the place of the mixture.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        coordinates: str = "auto",
        features: Sequence[Callable[[Array], Array]] = (),
        single: bool = False,
    ) -> None:
        self.space, self.seed, self.features, self.single = space, seed, tuple(features), single
        self.size = len(space.pool) if space.pool is not None else None  #: of a list
        self.grid = Grid(space) if space.pool is None else Listed(space)
        whole = self.grid.all(WHOLE)
        self.finite = whole is not None
        self.table = distinct(self.grid.draw(generator(seed, "base"), BASE) if whole is None else whole)
        self.raw = self.grid.raw(self.table)
        reference = self.raw if self.finite else self.grid.raw(self.grid.draw(generator("width"), REFERENCE))
        self.views: dict[str, View] = {n: view(n, space, reference) for n in ("roots", "uniform", "fractions")}
        self.setup = setup(space, self.finite or self.size is not None, coordinates)
        self.models: dict[str, Mixture] = {}

    # -- models ---------------------------------------------------------------------------

    def model(self, quantity: str, blocks: bool = False, *, tail: bool = True) -> Mixture:
        """The mixture for one property; knows the candidates of the table."""
        found = self.models.get(quantity)
        if found is None or (found.blocks, found.tail) != (blocks, tail):
            found = self.models[quantity] = self._model(quantity, self.raw, blocks=blocks, tail=tail)
        return found

    def bare_model(self, quantity: str) -> Mixture:
        """A mixture that is only asked about rows it is given."""
        return self._model(quantity, None)

    def _model(self, quantity: str, candidates: Array | None, *, blocks: bool = False, tail: bool = True) -> Mixture:
        if self.single:
            return SingleProcess(self.views["roots" if self.space.composition else "fractions"], self.seed)  # type: ignore[return-value]
        return Mixture(
            [Member(self.views[name], kind) for name, kind in self.setup.members],
            seed=f"{self.seed}/{quantity}",
            candidates=candidates,
            forest=self.setup.forest,
            forest_view=self.views["fractions"],
            blocks=blocks,
            features=self.features,
            tail=tail,
            judge=not (self.finite or self.size is not None),
        )

    def chances(self, made: Array, failed: Array) -> Callable[[Array], Array] | None:
        """Probability that a candidate can be made and measured, learned from those that could not.

        A process over labels, read through the normal distribution (Rasmussen and Williams
        2006, section 3.3, with labels taken as values); None while nothing failed.

        Parameters
        ----------
        made, failed
            Raw rows of all experiments, and which of them failed.
        """
        if not failed.any():
            return None
        name = "roots" if self.space.composition else "fractions"
        model = self.models.setdefault(
            "", Mixture([Member(self.views[name], FAILURES)], seed="failures", candidates=self.raw, labels=True)
        )
        model.fit(made, np.where(failed, FAILED, 0.0))

        def chance(raw: Array) -> Array:
            mean, sd = model.standardised(raw)
            result: Array = ndtr((1.0 + mean) / np.sqrt(UNSURE + sd**2))
            return result

        return chance

    # -- candidates -----------------------------------------------------------------------

    @cached_property
    def rows(self) -> dict[bytes, int]:
        """Row of each candidate of the table."""
        return {key: i for i, key in enumerate(self.table.keys)}

    def farthest(self, rng: np.random.Generator, taken: Table, tries: int) -> Table | None:
        """Of some candidates at random, the one farthest from all that were taken."""
        drawn = self.grid.draw(rng, tries)
        if not len(drawn) or not len(taken):
            return None
        points, others = (self.views["uniform"](self.grid.raw(t)) for t in (drawn, taken))
        return drawn.rows([int(np.argmax(cdist(points, others).min(axis=1)))])


def twins(space: Space, table: Table) -> Callable[[Table], Array] | None:
    """Tells of rows whether some row of `table` is the same to a lab: the same composition and choices, numbers nearly.

    None where no setting has steps so fine that this would say more than the keys.
    """
    numbers = [not isinstance(p, CategoricalParameter) for p in space.process]
    if not len(table) or not any(fine(p) for p in space.process):
        return None
    width = [(p.high - p.low) * TWIN if n else 0.5 for p, n in zip(space.process, numbers, strict=True)]  # type: ignore[union-attr]

    def points(rows: Table) -> Array:
        return np.hstack([2.0 * rows.counts, rows.settings / np.array(width)])

    tree = cKDTree(points(table))
    return lambda rows: np.asarray(tree.query(points(rows), p=np.inf, distance_upper_bound=1.0)[0] < ALIKE)


def fine(parameter: Parameter) -> bool:
    """Whether neighbours of a setting are nearer than can be told apart."""
    if isinstance(parameter, CategoricalParameter):
        return False
    step = 1 if isinstance(parameter, IntegerParameter) else parameter.step or 0.0
    return bool(step < ALIKE * TWIN * (parameter.high - parameter.low))


class Search:
    """The candidate of the highest score among those still open.

    Parameters
    ----------
    closed
        Candidates that are not open.
    near
        Candidates around which a large space is searched as well.
    fixed
        Settings that every candidate must have, by the parameter's place.
    taken
        What was measured or is under way: nothing that is the same to a lab is open while there is anything else.
    """

    def __init__(
        self,
        study: Study,
        closed: Closed,
        near: Table,
        rng: np.random.Generator,
        fixed: dict[int, float],
        taken: Table | None = None,
    ) -> None:
        self.study, self.closed, self.near, self.rng, self.fixed = study, closed, near, rng, fixed
        self.twins = twins(study.space, taken) if taken is not None and study.size is None else None
        self.chosen: Table | None = None
        self.score = -np.inf
        self.first = (study.table, np.zeros(0))

    def __call__(self, score: Callable[[Array], Array]) -> Array:
        """The best one's raw row; `chosen` is None when nothing is open."""
        self._table(score)
        if not self.study.finite:
            self._refine(score)
        if self.chosen is None and self.twins is not None:
            self.twins = None
            return self(score)
        if self.chosen is None:
            self._rest(score)
        one = self.study.table.rows([0]) if self.chosen is None else self.chosen
        raw: Array = self.study.grid.raw(one)[0]
        return raw

    def _table(self, score: Callable[[Array], Array]) -> None:
        """Look through the candidates whose predictions are at hand."""
        table = self.study.table
        scores = score(self.study.raw).copy()
        for place, value in self.fixed.items():
            scores[table.settings[:, place] != value] = -np.inf
        if self.study.finite:
            scores[[row for key in self.closed if (row := self.study.rows.get(key)) is not None]] = -np.inf
        self._take(table, scores)
        self.first = (table, scores)

    def _take(self, table: Table, scores: Array) -> None:
        """Remember the best open one, if it beats what was found before."""
        if self.twins is not None and len(table):
            scores = np.where(self.twins(table), -np.inf, scores)
        for row in np.argsort(-scores, kind="stable")[: len(self.closed) + 1]:
            if scores[row] <= self.score or scores[row] == -np.inf:
                return
            one = table.rows([int(row)])
            if one.keys[0] not in self.closed:
                self.chosen, self.score = one, float(scores[row])
                return

    def _refine(self, score: Callable[[Array], Array]) -> None:
        """Children of the best, nearer and nearer, then every neighbour on the grid."""
        grid = self.study.grid
        table, scores = self.first
        order = np.argsort(-scores, kind="stable")[:PARENTS]
        parents, at = table.rows(order), scores[order]
        for size in SIZES:
            start = joined([parents, self.near]) if size == SIZES[0] else parents
            children = self._held(grid.near(start, size, CHILDREN, self.rng))
            found = score(grid.raw(children)) if len(children) else np.zeros(0)
            self._take(children, found)
            both, all_scores = joined([parents, children]), np.concatenate([at, found])
            order = np.argsort(-all_scores, kind="stable")[:PARENTS]
            parents, at = both.rows(order), all_scores[order]
        self._climb(score)

    def _climb(self, score: Callable[[Array], Array]) -> None:
        """From the best, step by step along the grid while it gets better."""
        for _ in range(PARENTS):
            before = self.score
            if self.chosen is None:
                return
            around = self._held(self.study.grid.around(self.chosen, 0, (1, 2)))
            if len(around):
                self._take(around, score(self.study.grid.raw(around)))
            if self.score <= before:
                return

    def _held(self, table: Table) -> Table:
        """With the settings that must be the same."""
        return self.study.grid.with_settings(table, self.fixed) if self.fixed else table

    def _rest(self, score: Callable[[Array], Array]) -> None:
        """Nothing that was looked at is open: of a long list, what is left of the whole."""
        left = self.study.grid.open(self.closed, self.fixed, MOST_LEFT)
        if left is not None and len(left):
            self._take(left, score(self.study.grid.raw(left)))
