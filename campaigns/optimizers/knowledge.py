"""What is known when a decision is made: a model of each property, the chance to be of use, what is best so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from heapq import nsmallest
from typing import Any

import numpy as np
from scipy.special import ndtr

from campaigns.optimizer import Measured, Objective, Observation, OutcomeLimit, Prices
from campaigns.optimizers.grid import Table
from campaigns.optimizers.library import Observations
from campaigns.optimizers.mixture import Mixture
from campaigns.optimizers.study import Study
from campaigns.pareto import on_front

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]  #: of raw rows

FEWEST = 2  #: values from which a model of a property is made
TOP = 8  #: best measured candidates among which the best prediction is looked for


class Knowledge:
    """See module. Values of an objective are turned so that larger is better."""

    def __init__(self, study: Study, objective: Objective, known: Sequence[Observation]) -> None:
        self.study, self.objective, self.known = study, objective, known
        self.observations: dict[str, list[Observation]] = {}
        self.models: dict[str, Mixture] = {}
        self.spaces: dict[str, Observations] = {}
        self.signs = {o.quantity: o.sign for o in objective.all}
        for quantity in objective.quantities:
            told = [o for o in known if self.value(o, quantity) is not None]
            self.observations[quantity] = told
            if len(told) >= FEWEST:
                self._fit(quantity, told)

    def value(self, observation: Observation, quantity: str) -> Measured | None:
        """What one experiment says of one property."""
        return observation.measured(quantity, self.objective.quantity)

    def _fit(self, quantity: str, told: Sequence[Observation]) -> None:
        """The model of one property, through the library's store."""
        found = [m for o in told if (m := self.value(o, quantity)) is not None]
        labels = sorted({o.block for o in told if o.block is not None})
        several = len(labels) > 1
        model = self.study.model(quantity, several, tail=self._tail(quantity))
        space = Observations(self.study.space)
        values = self.signs.get(quantity, 1.0) * np.array([m.value for m in found])
        space.hold(self.study.made(told), values)
        model.fit(
            space.params,
            space.target,
            np.array([(m.u or 0.0) ** 2 for m in found]),
            np.array([labels.index(o.block) if several and o.block is not None else -1 for o in told]),
        )
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
    def measured(self) -> list[Observation]:
        """Experiments that say something of the deciding property."""
        return self.observations[self.quantity]

    # -- chances --------------------------------------------------------------------------

    @cached_property
    def chance(self) -> Function | None:
        """Probability that a candidate can be made and keeps all limits; None while nothing speaks against any."""
        parts = [self.study.chances(self.known)]
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

    def keeps_limits(self, observation: Observation) -> bool:
        """Whether no measured property of it breaks a limit."""
        told = [(limit, self.value(observation, limit.quantity)) for limit in self.objective.limits]
        return all(m is None or limit.kept_by(m.value) for limit, m in told)

    def worth(self, observation: Observation) -> float:
        """How good a measured value is, larger the better: by direction, or by nearness to the target."""
        value = self.value(observation, self.quantity)
        assert value is not None
        o = self.objective
        if o.goal != "target":
            return o.sign * value.value
        low, high = band(o)
        return -max(low - value.value, value.value - high, 0.0)

    @cached_property
    def ranked(self) -> list[Observation]:
        """The `TOP` best measured, the best first, those within all limits before the others."""
        return nsmallest(TOP, self.measured, key=lambda o: (not self.keeps_limits(o), -self.worth(o), o.number))

    def best_table(self, size: int) -> Table:
        """The best candidates measured, `TOP` at most, as asked for."""
        return self.study.grid.table([o.candidate for o in self.ranked[:size]])

    def incumbent(self) -> tuple[float, Observation]:
        """The best posterior mean among the best measured, standardised; and whose it is."""
        return self.beside_best(np.zeros((0, len(self.study.space.names))))[2:]

    def beside_best(self, raw: Array) -> tuple[Array, Array, float, Observation]:
        """Mean and standard deviation at raw rows, standardised, with the incumbent: asked together, as that is quicker."""
        top = [o for o in self.ranked if self.keeps_limits(o)] or self.ranked
        mean, sd = self.model.standardised(np.vstack([raw, self.study.made(top)]))
        n = len(raw)
        at = int(np.argmax(mean[n:]))
        return mean[:n], sd[:n], float(mean[n + at]), top[at]

    def front(self) -> tuple[Array, Array]:
        """Posterior means of all objectives where all were measured; and which of them nothing beats."""
        quantities = [o.quantity for o in self.objective.all]
        whole = [o for o in self.known if all(self.value(o, q) is not None for q in quantities)]
        whole = [o for o in whole if self.keeps_limits(o)] or whole
        raw = self.study.made(whole)
        means = np.column_stack([self.models[q].predict(raw) for q in quantities])
        return means, on_front(means)


def band(objective: Objective) -> tuple[float, float]:
    """The values that will do."""
    if objective.band is not None:
        return objective.band
    assert objective.target is not None, "the goal 'target' states a target or a band"
    return objective.target, objective.target
