"""First experiments, before a model knows anything: typical of the space, and far from each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.optimizer import Proposal
from campaigns.optimizers.grid import generator
from campaigns.optimizers.study import Study
from campaigns.rows import Table, distinct
from campaigns.space import Space

Array = np.ndarray[Any, Any]

DRAWS = 1000  #: candidates among which a design of a large space is made
ROUNDS = 20  #: of Lloyd's algorithm


def free_dimensions(space: Space) -> int:
    """How many numbers one is free to choose."""
    composition = len(space.composition.components) - 1 if space.composition else 0
    return max(1, composition + len(space.process))


def default_initial(space: Space) -> int:
    """How many experiments fill the space before the model decides."""
    return 4 if space.pool is not None else min(20, max(4, 2 * free_dimensions(space)))


def initial_design(
    study: Study, size: int, taken: Iterable[Candidate], n: int, *, tray: int = 1, shared: Sequence[int] = ()
) -> list[Proposal]:
    """The next candidates of a design of `size`: those not yet taken, the most typical first.

    Representatives of the space: candidates nearest to the centres of as many clusters
    (Lloyd 1982, k-means++ start from the seed). They lie inside, not on the rim, where most
    compositions that are far from each other are.
    """
    made = set(taken)
    table = _table(study)
    points = study.views["fractions"](study.grid.raw(table))
    order = [*_recommended(study, table), *representatives(points, size, generator(study.seed, "design"))]
    fresh = [i for i in dict.fromkeys(order) if study.grid.candidate(table, i) not in made][:n]
    chosen = table.rows(fresh)
    if tray > 1 and study.space.pool is None:
        chosen = in_trays(chosen, tray, shared)
    found = dict.fromkeys(study.grid.candidate(chosen, i) for i in range(len(chosen)))
    first = [Proposal(candidate=c, reason="initial design") for c in found if c not in made]
    if tray > 1 and shared and study.space.pool is not None:
        return _around_each(study, first, list(taken), n, tray, shared)
    return first


def _around_each(
    study: Study, first: Sequence[Proposal], taken: Sequence[Candidate], n: int, tray: int, shared: Sequence[int]
) -> list[Proposal]:
    """Trays of a list: each begins with a typical candidate, others with its shared settings fill it."""
    found: list[Proposal] = []
    for proposal in first:
        if len(found) >= n or len(found) % tray:
            break
        if proposal.candidate not in {p.candidate for p in found}:
            found = spread_out(study, taken, [*found, proposal], min(n, len(found) + tray), tray=tray, shared=shared)
    return [Proposal(candidate=p.candidate, reason="initial design") for p in found]


def _recommended(study: Study, table: Table) -> list[int]:
    """What each earlier campaign promises most of, before anything is known of this one."""
    raw = study.grid.raw(table)
    return [int(np.argmax(feature(raw))) for feature in study.features]


def spread_out(
    study: Study,
    taken: Sequence[Candidate],
    found: Sequence[Proposal],
    n: int,
    *,
    tray: int = 1,
    shared: Sequence[int] = (),
) -> list[Proposal]:
    """What was found, and up to `n` in all candidates far from all others: for when there is nothing to learn from yet."""
    whole = list(found)
    while len(whole) < n:
        fixed = on_tray(study, whole, tray, shared)
        room = n - len(whole) if not shared else min(n - len(whole), tray - len(whole) % tray) if fixed else 1
        more = _far(study, [*taken, *(p.candidate for p in whole)], room, fixed)
        if not more:
            break
        whole += more
    return whole


def on_tray(study: Study, found: Sequence[Proposal], tray: int, shared: Sequence[int]) -> dict[int, float]:
    """Settings of the tray that the last of some proposals lies on, by place, while there is room on it."""
    if len(found) % tray == 0:
        return {}
    settings = study.grid.table([found[-1].candidate]).settings[0]
    return {place: float(settings[place]) for place in shared}


def _far(study: Study, taken: Sequence[Candidate], n: int, fixed: dict[int, float]) -> list[Proposal]:
    """Candidates with these settings, each far from all before (Gonzalez 1985)."""
    made, table = set(taken), _with_settings(study, _table(study), fixed)
    see = study.views["fractions"]
    points = see(study.grid.raw(table))
    anchors = see(study.grid.raw(study.grid.table(list(taken)))) if taken else points.mean(axis=0)[None]
    gap = ((points[:, None, :] - anchors[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    found: list[Proposal] = []
    for _ in range(len(table)):
        if len(found) == n:
            break
        at = int(np.argmax(gap))
        if gap[at] == -np.inf:
            break
        candidate = study.grid.candidate(table, at)
        if candidate not in made:
            made.add(candidate)  # a list may name it twice
            found.append(Proposal(candidate=candidate, reason="space filling"))
        gap = np.minimum(gap, ((points - points[at]) ** 2).sum(axis=1))
        gap[at] = -np.inf
    return found


def _with_settings(study: Study, table: Table, fixed: dict[int, float]) -> Table:
    """Those of a list that have these settings; those of a space, moved to them."""
    if not fixed:
        return table
    if study.space.pool is None:
        settings = table.settings.copy()
        for place, value in fixed.items():
            settings[:, place] = value
        return distinct(Table(table.counts, settings))
    pool = study.space.pool
    rows = np.flatnonzero(np.all([pool.settings[:, place] == value for place, value in fixed.items()], axis=0))
    if len(rows) > DRAWS:
        rows = generator(study.seed, "tray draws").choice(rows, DRAWS, replace=False)
    return Table(pool.counts[rows], pool.settings[rows])


def representatives(points: Array, size: int, rng: np.random.Generator) -> list[int]:
    """Rows nearest to the centres of `size` clusters, nearest to the middle first."""
    from scipy.cluster.vq import kmeans2

    size = min(size, len(np.unique(points, axis=0)))
    centres, label = kmeans2(points, size, minit="++", rng=rng, iter=ROUNDS, missing="warn")
    rows = [int(np.argmin(((points - c) ** 2).sum(axis=1))) for k, c in enumerate(centres) if (label == k).any()]
    middle = points.mean(axis=0)
    return sorted(dict.fromkeys(rows), key=lambda row: (float(((points[row] - middle) ** 2).sum()), row))


def _table(study: Study) -> Table:
    return study.table if study.finite else distinct(study.grid.draw(generator(study.seed, "design draws"), DRAWS))


def in_trays(chosen: Table, tray: int, shared: Sequence[int]) -> Table:
    """The candidates of each tray with the shared settings of its first."""
    settings = chosen.settings.copy()
    for first in range(0, len(settings), tray):
        for place in shared:
            settings[first : first + tray, place] = settings[first, place]
    return Table(chosen.counts, settings)
