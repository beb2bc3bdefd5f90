"""Several objectives: fronts, and the volume that a candidate is expected to add.

All values are oriented so that larger is better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

Array = np.ndarray[Any, Any]

MARGIN = 0.1  #: of a front's range, by which the reference lies below its worst values


def on_front(values: Array) -> Array:
    """Which rows no other row beats: at least as good everywhere, better somewhere."""
    front: list[int] = []
    for i in np.lexsort(-values.T):  # what beats a row comes before it
        best = values[front]
        if not ((best >= values[i]).all(axis=1) & (best > values[i]).any(axis=1)).any():
            front.append(i)
    result = np.zeros(len(values), dtype=bool)
    result[front] = True
    return result


def reference_point(values: Array, stated: list[float | None]) -> Array:
    """Where the dominated volume begins: as stated, else a little below the worst of the front."""
    front = values[on_front(values)]
    low, high = front.min(axis=0), front.max(axis=0)
    span = np.where(high > low, high - low, values.max(axis=0) - values.min(axis=0))
    own = low - MARGIN * np.where(span > 0, span, 1.0)
    return np.array([o if s is None else s for s, o in zip(stated, own, strict=True)])


def expected_gain_1d(mean: Array, sd: Array, level: Array | float) -> Array:
    """Expected excess of a normally distributed value over a level (expected improvement, Jones et al. 1998)."""
    sd = np.maximum(sd, 1e-12)
    z = (mean - level) / sd
    result: Array = (mean - level) * ndtr(z) + sd * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.maximum(result, 0.0)


def expected_volume(means: Array, sds: Array, front: Array, reference: Array) -> Array:
    """Expected hypervolume improvement for two objectives, exactly.

    The region that is not yet dominated is cut into strips along the first objective; in each
    the expectation is a product of one-dimensional ones, as the objectives are modelled
    independently (Emmerich, Deutz and Klinkenberg 2011).

    Parameters
    ----------
    means, sds
        Predictions, (n, 2).
    front
        Points that nothing beats, (m, 2).
    """
    inside = front[(front > reference).all(axis=1)]
    order = np.argsort(inside[:, 0], kind="stable")
    cuts = np.concatenate([[reference[0]], inside[order, 0], [np.inf]])
    levels = np.concatenate([inside[order, 1], [reference[1]]])
    total = np.zeros(len(means))
    below = expected_gain_1d(means[:, 0], sds[:, 0], cuts[0])
    for i, level in enumerate(levels):
        last = cuts[i + 1] == np.inf
        above = np.zeros(len(means)) if last else expected_gain_1d(means[:, 0], sds[:, 0], cuts[i + 1])
        total += np.maximum(below - above, 0.0) * expected_gain_1d(means[:, 1], sds[:, 1], level)
        below = above
    return total


def volume(front: Array, reference: Array) -> float:
    """Hypervolume dominated by a set of points, exactly, by slicing along the last objective."""
    points = front[(front > reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    order = np.argsort(-points[:, -1], kind="stable")
    points, total = points[order], 0.0
    for i in range(len(points)):
        below = points[i + 1, -1] if i + 1 < len(points) else reference[-1]
        if points[i, -1] > below:
            slab = points[: i + 1, :-1]
            total += volume(slab[on_front(slab)], reference[:-1]) * float(points[i, -1] - below)
    return total
