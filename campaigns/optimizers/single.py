"""The library's own surrogate (`model = "single-gp"`), with the ways to ask it that the mixture has."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from campaigns.optimizers.coordinates import View
from campaigns.optimizers.library import plain_process
from campaigns.optimizers.mixture import Scale

Array = np.ndarray[Any, Any]


class SingleProcess:
    """scikit-learn's Gaussian process as `bayes_opt` sets it up, over our coordinates.

    It knows no noise: replicates are averaged before it sees them, and stated uncertainty and
    blocks are not used.
    """

    blocks = tail = False

    def __init__(self, view: View, seed: int) -> None:
        self.process: Any = plain_process(view, seed)
        self.fitted: Any = None
        self.believed: list[Array] = []

    def fit(
        self, raw: Array, values: Array, variance: Array | None = None, block: Array | None = None
    ) -> SingleProcess:
        """Learn these rows; replicates as their mean."""
        where, group = np.unique(raw, axis=0, return_inverse=True)
        group = group.ravel()
        self.raw, self.values = where, np.bincount(group, values) / np.bincount(group)
        self.scale = Scale.of(self.values)
        self.X_train_ = raw
        self._condition(self.process.kernel, self.process.n_restarts_optimizer, "fmin_l_bfgs_b")
        return self

    def _condition(self, kernel: Any, restarts: int, optimizer: str | None) -> None:
        from sklearn.base import clone

        raw, values = self.raw, self.values
        if self.believed:
            raw = np.vstack([raw, *self.believed])
            values = np.concatenate([values, *(self.fitted.predict(b) for b in self.believed)])
        self.fitted = clone(self.process).set_params(kernel=kernel, n_restarts_optimizer=restarts, optimizer=optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fit that ends at a bound
            self.fitted.fit(raw, values)

    def predict(self, raw: Array, return_std: bool = False) -> Any:
        """Mean, and standard deviation when asked, in the values' unit."""
        return self.fitted.predict(np.atleast_2d(raw), return_std=return_std)

    def standardised(self, raw: Array) -> tuple[Array, Array]:
        """The same in standardised values."""
        mean, sd = self.predict(raw, return_std=True)
        return self.scale(mean), np.maximum(sd / self.scale.spread, 1e-9)

    def believe(self, raw: Array) -> None:
        """Take each row to turn out as predicted."""
        self.believed.append(np.atleast_2d(raw))
        self._condition(self.fitted.kernel_, 0, None)

    def mark(self) -> Sequence[Any]:
        """Where `restore` returns to."""
        return list(self.believed)

    def restore(self, mark: Sequence[Any]) -> None:
        """Forget the beliefs since."""
        self.believed = list(mark)
