"""A small random forest, all trees grown at once, level by level.

It is right where a response has steps (process windows, printed lattices), where Gaussian
processes smooth too much. Bagging and random splits after Breiman (2001) and Geurts et al.
(2006): of some random cuts, each node takes the best.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TREES, DEPTH, TRIES = 24, 7, 1  #: trees, levels, cuts tried per input and node


class Forest:
    """See module. Grown from a generator, so that the same rows give the same forest."""

    def __init__(self, rng: np.random.Generator, trees: int = TREES, depth: int = DEPTH) -> None:
        self.rng, self.trees, self.depth = rng, trees, depth

    def fit(self, points: Array, values: Array) -> Forest:
        """Grow the trees, each on rows drawn with replacement."""
        n = len(points)
        drawn = self.rng.integers(0, n, (self.trees, n)).ravel()
        x, y = points[drawn], values[drawn]
        tree, node = np.repeat(np.arange(self.trees), n), np.zeros(self.trees * n, int)
        self.feature: list[Array] = []
        self.cut: list[Array] = []
        value = np.full(self.trees, float(values.mean()))
        for level in range(self.depth + 1):
            groups = self.trees << level
            group = (tree << level) + node
            count, total = np.bincount(group, minlength=groups), np.bincount(group, y, minlength=groups)
            above = np.repeat(value, 2) if level else value
            value = np.where(count > 0, total / np.maximum(count, 1), above)
            if level == self.depth:
                break
            feature, cut = self._split(x, y, group, count, total)
            self.feature.append(feature)
            self.cut.append(cut)
            node = 2 * node + (x.take(self._place(x, feature.take(group))) > cut.take(group))
        self.value = value
        return self

    def _place(self, x: Array, column: Array) -> Array:
        """Where one column of each row stands in the flat array: `take` is twice as fast as two indices."""
        return np.arange(0, x.size, x.shape[1]) + column

    def _split(self, x: Array, y: Array, group: Array, count: Array, total: Array) -> tuple[Array, Array]:
        """The best of some random cuts for each node; a cut at infinity keeps a leaf whole."""
        groups, width = len(count), x.shape[1]
        active = np.flatnonzero(count >= 2)
        order, first = np.argsort(group, kind="stable"), np.concatenate([[0], np.cumsum(count)[:-1]])
        best, feature, cut = np.full(groups, -np.inf), np.zeros(groups, int), np.full(groups, np.inf)
        for _ in range(TRIES * width):
            f, c = self.rng.integers(0, width, groups), np.full(groups, np.inf)
            pair, share = self.rng.random((2, len(active))), self.rng.random(len(active))
            one, two = (order[first[active] + (p * count[active]).astype(int)] for p in pair)
            c[active] = share * x[one, f[active]] + (1 - share) * x[two, f[active]]
            left = np.flatnonzero(x.take(self._place(x, f.take(group))) <= c.take(group))
            gone = group.take(left)
            n_left, s_left = np.bincount(gone, minlength=groups), np.bincount(gone, y.take(left), minlength=groups)
            n_right = count - n_left
            gain = s_left**2 / np.maximum(n_left, 1) + (total - s_left) ** 2 / np.maximum(n_right, 1)
            gain[(n_left == 0) | (n_right == 0)] = -np.inf
            better = gain > best
            best[better], feature[better], cut[better] = gain[better], f[better], c[better]
        return feature, cut

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean over the trees and variance between them."""
        base, node = np.arange(self.trees)[:, None], np.zeros((self.trees, len(points)), int)
        at, flat = np.arange(len(points))[None] * points.shape[1], points.ravel()
        for level, (feature, cut) in enumerate(zip(self.feature, self.cut, strict=True)):
            group = (base << level) + node
            node = 2 * node + (flat.take(at + feature.take(group)) > cut.take(group))
        leaves = self.value.take((base << self.depth) + node)
        return leaves.mean(0), leaves.var(0) + 1e-6
