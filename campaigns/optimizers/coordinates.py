"""Coordinates in which composition maps are smooth.

A row as it is known ("raw") holds fractions, then settings: a number, or the index of a
choice. A view turns rows into the points that a model sees, each column scaled to the spread
of a uniform variable over the candidates:

roots
    Square roots of the fractions (Hellinger coordinates): properties change fastest where a
    component begins to appear.
uniform
    Each fraction through its own distribution over the space: every column is uniform on 0 to
    1. On a whole simplex of d components that is ``1 - (1 - x)**(d - 1)``, the law Beta(1, d-1).
fractions
    As they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.parameters import CategoricalParameter
from campaigns.space import CompositionSpace, Space

Array = np.ndarray[Any, Any]

UNIFORM_SD = 12**-0.5  #: of a variable that is uniform between 0 and 1
QUANTILES = np.linspace(0.0, 1.0, 33)
COORDINATES = ("roots", "uniform", "fractions")


@dataclass(frozen=True)
class View:
    """Raw rows as points: a transformation of the fractions, then a scale for each column that varies."""

    fractions: Callable[[Array], Array]
    settings: Callable[[Array], Array]
    components: int
    kept: Array
    scale: Array

    @property
    def width(self) -> int:
        """How many columns a point has."""
        return int(self.kept.sum())

    def __call__(self, raw: Array) -> Array:
        """Points, (n, width)."""
        k = self.components
        columns = np.hstack([self.fractions(raw[:, :k]), self.settings(raw[:, k:])])
        result: Array = columns[:, self.kept] * self.scale
        return result


def view(name: str, space: Space, reference: Array) -> View:
    """A view scaled to the spread of `reference`, raw rows of candidates; constant columns are left out."""
    k = len(space.composition.components) if space.composition else 0
    transform = {
        "roots": lambda f: np.sqrt(np.maximum(f, 0.0)),
        "fractions": lambda f: f,
        "uniform": marginals(space.composition, reference[:, :k]) if k else lambda f: f,
    }[name]
    settings = settings_of(space)
    columns = np.hstack([transform(reference[:, :k]), settings(reference[:, k:])])
    spread = columns.std(axis=0)
    kept = spread > 1e-9
    if not kept.any():
        kept[:1] = True
    return View(transform, settings, k, kept, UNIFORM_SD / np.where(spread > 1e-9, spread, UNIFORM_SD)[kept])


def marginals(composition: CompositionSpace | None, reference: Array) -> Callable[[Array], Array]:
    """Each fraction through its own distribution over the space."""
    if composition is None or whole_simplex(composition):
        return lambda f: 1 - (1 - np.clip(f, 0.0, 1.0)) ** max(1, f.shape[1] - 1)
    knots = [np.unique(np.quantile(column, QUANTILES)) for column in reference.T]

    def transform(f: Array) -> Array:
        columns = [
            np.interp(f[:, i], at, np.linspace(0.0, 1.0, len(at))) if len(at) > 1 else f[:, i]
            for i, at in enumerate(knots)
        ]
        return np.column_stack(columns)

    return transform


def whole_simplex(composition: CompositionSpace) -> bool:
    """Whether any fractions that sum to 1 are allowed."""
    free = all(c.low == 0 and c.high == 1 for c in composition.components)
    return free and not composition.constraints and composition.max_present is None


def settings_of(space: Space) -> Callable[[Array], Array]:
    """Settings from 0 to 1, choices as one column each."""
    parameters = space.process

    def transform(settings: Array) -> Array:
        columns = [np.zeros((len(settings), 0))]
        for i, p in enumerate(parameters):
            column = settings[:, [i]]
            if isinstance(p, CategoricalParameter):
                columns.append((column == np.arange(len(p.choices))).astype(float))
            else:
                columns.append((column - p.low) / (p.high - p.low))
        return np.hstack(columns)

    return transform
