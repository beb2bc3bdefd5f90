"""First experiments, before a model knows anything: typical of the space, and far from each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.optimizer import Proposal
from campaigns.optimizers.grid import Table, distinct, generator
from campaigns.optimizers.study import Study
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
    return [Proposal(candidate=c, reason="initial design") for c in found if c not in made]


def _recommended(study: Study, table: Table) -> list[int]:
    """What each earlier campaign promises most of, before anything is known of this one."""
    raw = study.grid.raw(table)
    return [int(np.argmax(feature(raw))) for feature in study.features]


def spread_out(study: Study, taken: Sequence[Candidate], n: int) -> list[Proposal]:
    """Candidates far from all others (Gonzalez 1985), for when there is nothing to learn from yet."""
    made, table = set(taken), _table(study)
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
