"""What is known when a decision is made: a model of each property, the chance to be of use, what is best so far."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr

from campaigns.observations import Observations
from campaigns.optimizer import Objective, OutcomeLimit, Prices
from campaigns.optimizers.library import Store
from campaigns.optimizers.mixture import Mixture
from campaigns.optimizers.study import Study
from campaigns.pareto import on_front
from campaigns.rows import Table

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]  #: of raw rows

FEWEST = 2  #: values from which a model of a property is made
TOP = 8  #: best measured candidates among which the best prediction is looked for


class Knowledge:
    """See module. Values of an objective are turned so that larger is better."""

    def __init__(self, study: Study, objective: Objective, known: Observations) -> None:
        self.study, self.objective, self.known = study, objective, known
        self.rows = {
            quantity: known.measured(quantity) for quantity in objective.quantities
        }  #: that say something of it
        self.models: dict[str, Mixture] = {}
        self.spaces: dict[str, Store] = {}
        self.signs = {o.quantity: o.sign for o in objective.all}
        for quantity, rows in self.rows.items():
            if len(rows) >= FEWEST:
                self._fit(quantity, rows)

    def _fit(self, quantity: str, rows: Array) -> None:
        """The model of one property, through the library's store."""
        known, blocks = self.known, self.known.blocks(rows)
        u = known.u(quantity)[rows]
        model = self.study.model(quantity, bool((blocks >= 0).any()), tail=self._tail(quantity))
        space = Store(self.study.space)
        space.hold(known.made(rows), self.signs.get(quantity, 1.0) * known.values(quantity)[rows])
        model.fit(space.params, space.target, np.where(np.isnan(u), 0.0, u) ** 2, blocks)
        self.models[quantity], self.spaces[quantity] = model, space

    def _tail(self, quantity: str) -> bool:
        """Whether bad values of a property need not be told apart: not where values count, not only their order."""
        by_value = {limit.quantity for limit in self.objective.limits}
        by_value |= {o.quantity for o in self.objective.all if o.goal in ("target", "map")}
        return quantity in self.signs and quantity not in by_value

    @property
    def quantity(self) -> str:
        """The deciding property."""
        return self.objective.quantity

    @property
    def model(self) -> Mixture:
        """The model of the deciding property."""
        return self.models[self.quantity]

    @property
    def measured(self) -> Array:
        """Rows that say something of the deciding property."""
        return self.rows[self.quantity]

    # -- chances --------------------------------------------------------------------------

    @cached_property
    def chance(self) -> Function | None:
        """Probability that a candidate can be made and keeps all limits; None while nothing speaks against any."""
        parts = [self.study.chances(self.known.made(), self.known.failed)]
        parts += [self._keeps(limit) for limit in self.objective.limits]
        told = [p for p in parts if p is not None]
        if not told:
            return None
        return lambda raw: np.prod([p(raw) for p in told], axis=0)

    def _keeps(self, limit: OutcomeLimit) -> Function | None:
        """Probability that a candidate keeps one limit."""
        model = self.models.get(limit.quantity)
        if model is None:
            return None
        sign = self.signs.get(limit.quantity, 1.0)
        low = -np.inf if limit.low is None else limit.low
        high = np.inf if limit.high is None else limit.high
        low, high = (low, high) if sign > 0 else (-high, -low)

        def keeps(raw: Array) -> Array:
            mean, sd = model.predict(raw, return_std=True)
            sd = np.maximum(sd, 1e-12 * model.scale.unit)
            result: Array = ndtr((high - mean) / sd) - ndtr((low - mean) / sd)
            return np.maximum(result, 0.0)

        return keeps

    def price(self, prices: Prices) -> Function:
        """What raw rows cost."""
        names = self.study.space.names
        rates = np.array([prices.components.get(n, prices.settings.get(n, 0.0)) for n in names])
        return lambda raw: np.maximum(prices.fixed + raw @ rates, 0.0)

    # -- what is best ---------------------------------------------------------------------

    @cached_property
    def kept(self) -> Array:
        """Of each row, whether no measured property of it breaks a limit."""
        return self.known.keep(self.objective.limits)

    @cached_property
    def worth(self) -> Array:
        """How good each row's value is, larger the better: by direction, or by nearness to the target; NaN without one."""
        worth: Array = self.objective.worth(self.known.values(self.quantity))
        return worth

    @cached_property
    def ranked(self) -> Array:
        """The `TOP` best rows, the best first, those within all limits before the others."""
        rows = self.measured
        order = np.lexsort((rows, -self.worth[rows], ~self.kept[rows]))
        best: Array = rows[order[:TOP]]
        return best

    def best_table(self, size: int) -> Table:
        """The best candidates measured, `TOP` at most, as asked for."""
        return self.known.table(self.ranked[:size])

    def incumbent(self) -> tuple[float, int]:
        """The best posterior mean among the best measured, standardised; and whose it is, by row."""
        return self.beside_best(np.zeros((0, len(self.study.space.names))))[2:]

    def beside_best(self, raw: Array) -> tuple[Array, Array, float, int]:
        """Mean and standard deviation at raw rows, standardised, with the incumbent: asked together, as that is quicker."""
        top = self.ranked[self.kept[self.ranked]]
        top = top if len(top) else self.ranked
        mean, sd = self.model.standardised(np.vstack([raw, self.known.made(top)]))
        n = len(raw)
        at = int(np.argmax(self._worth_of(mean[n:])))
        return mean[:n], sd[:n], float(mean[n + at]), int(top[at])

    def _worth_of(self, mean: Array) -> Array:
        """How good standardised means are, larger the better: of a target, what lies nearest to it and not highest."""
        if self.objective.goal != "target":
            return mean
        worth: Array = self.objective.worth(self.objective.sign * self.model.scale.back(mean))
        return worth

    @property
    def whole(self) -> Array:
        """Rows in which all that is wanted was measured."""
        values = [self.known.values(o.quantity) for o in self.objective.all]
        return np.flatnonzero(~np.isnan(values).any(axis=0))

    def front(self) -> tuple[Array, Array]:
        """Posterior means of all objectives where all were measured; and which of them nothing beats."""
        whole = self.whole
        kept = whole[self.kept[whole]]
        raw = self.known.made(kept if len(kept) else whole)
        means = np.column_stack([self.models[o.quantity].predict(raw) for o in self.objective.all])
        return means, on_front(means)
