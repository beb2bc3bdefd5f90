"""The default optimizer: bayesian-optimization with candidates that can be made.

The library keeps the observations and asks (`library.py`). What is ours sits on its hooks: a
mixture of small models as its surrogate, acquisition functions that choose among feasible
candidates. `docs/optimizer.md` tells how it thinks.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from campaigns.candidate import Candidate
from campaigns.optimizer import Earlier, Objective, Observation, Prices, Proposal
from campaigns.optimizers.grid import distinct, generator
from campaigns.optimizers.study import Study
from campaigns.space import Space

Array = np.ndarray[Any, Any]

EVERY = 4000  #: a space of at most so many candidates is searched whole for the first design
DESIGN_DRAWS = 400  #: candidates among which the initial design is spread
BUDGET = 50  #: experiments to come, where the user does not say
GOOD = 0.05  #: share of a list that counts as good
FEW, MANY = (1.5, 1.5), (2.0, 0.5)  #: kappa at the beginning and end, where good ones are few, where many
OPEN_KAPPA = 2.0  #: kappa in a space that is no list
LOOK = 4  #: every so many proposals in such a space goes where nothing was measured
LOOK_TRIES = 60


class BayesianOptimizer:
    """See module.

    Parameters
    ----------
    initial
        Experiments that fill the space before the model decides; by default by the number of
        free dimensions.
    budget
        Experiments in all, which decides how boldly it explores.
    model
        "mixture", or "single-gp": the library's own surrogate.
    coordinates
        In which models see compositions: "auto", "roots", "uniform" or "fractions".
    prices
        What candidates cost; with these, gain per cost decides.
    shared
        Process parameters that all of one tray have in common.
    tray
        Places of a tray.
    earlier
        Campaigns to start from.
    """

    def __init__(
        self,
        initial: int | None = None,
        *,
        budget: int | None = None,
        model: Literal["mixture", "single-gp"] = "mixture",
        coordinates: str = "auto",
        prices: Prices | None = None,
        shared: Sequence[str] = (),
        tray: int = 1,
        earlier: Sequence[Earlier] = (),
    ) -> None:
        self.initial, self.budget, self.model, self.coordinates = initial, budget or BUDGET, model, coordinates
        self.prices, self.shared, self.tray, self.earlier = prices, tuple(shared), tray, tuple(earlier)
        self.name = f"bayesian-optimization {version('bayesian-optimization')}, {model}"
        self._study: Study | None = None

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        known = sorted(history, key=lambda o: o.number)
        waiting = sorted(pending, key=lambda c: repr(c.key))
        study = self.study(space, seed)
        taken = {o.candidate for o in known} | set(waiting)
        wanted = self.initial if self.initial is not None else default_initial(space)
        found: list[Proposal] = []
        if len(taken) < wanted:
            found = initial_design(study, seed, wanted, taken, min(n, wanted - len(taken)))
            taken |= {p.candidate for p in found}
        measured = [o for o in known if o.value is not None]
        if len(found) < n and len(measured) < 2:
            found += spread_out(study, seed, taken, n - len(found))
        elif len(found) < n:
            with one_thread():
                planned = [*waiting, *(p.candidate for p in found)]
                found += self._model_based(study, objective, known, planned, n - len(found))
        return found

    def study(self, space: Space, seed: int) -> Study:
        """What only depends on space and seed, kept between calls."""
        if self._study is None or self._study.space is not space or self._study.seed != seed:
            self._study = Study(space, seed, self.coordinates)
        return self._study

    def _model_based(
        self,
        study: Study,
        objective: Objective,
        known: Sequence[Observation],
        waiting: Sequence[Candidate],
        n: int,
    ) -> list[Proposal]:
        """The candidates that the model wants, one after the other, each believed before the next."""
        from campaigns.optimizers.decision import Decision

        decision = Decision(study, objective, known, waiting, budget=self.budget)
        found: list[Proposal] = []
        for _ in range(n):
            proposal = decision.next()
            if proposal is None:
                break
            found.append(proposal)
        decision.forget()
        return found


def import_libraries() -> None:
    """Load what the first proposal of the model will need."""
    for name in ("campaigns.optimizers.library", "scipy.optimize"):
        importlib.import_module(name)


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> Any:
    """One order of summation, so that the same history gives the same bits."""
    return _controller().limit(limits=1)


def free_dimensions(space: Space) -> int:
    """How many numbers one is free to choose."""
    composition = len(space.composition.components) - 1 if space.composition else 0
    return max(1, composition + len(space.process))


def default_initial(space: Space) -> int:
    """How many experiments fill the space before the model decides."""
    return min(40, max(6, 2 * (free_dimensions(space) + 1)))


def initial_design(study: Study, seed: int, size: int, taken: Iterable[Candidate], n: int) -> list[Proposal]:
    """The next candidates of a design that fills the space.

    Farthest-point order over feasible candidates, from the one nearest to the middle: the
    same list for a seed, of which those not yet taken come next.
    """
    made = set(taken)
    fresh = [c for c in farthest(study, generator(seed, "design"), size + len(made)) if c not in made]
    return [Proposal(candidate=c, reason="initial design") for c in fresh[:n]]


def spread_out(study: Study, seed: int, taken: Iterable[Candidate], n: int) -> list[Proposal]:
    """Candidates far from all others, for when there is nothing to learn from yet."""
    made = set(taken)
    fresh = [c for c in farthest(study, generator(seed, len(made)), n + len(made)) if c not in made]
    return [Proposal(candidate=c, reason="space filling") for c in fresh[:n]]


def farthest(study: Study, rng: np.random.Generator, size: int) -> list[Candidate]:
    """Candidates in farthest-point order (Gonzalez 1985), beginning in the middle."""
    grid = study.grid
    table = study.table if study.finite else distinct(grid.draw(rng, max(DESIGN_DRAWS, 4 * size)))
    points = study.views["roots"](grid.raw(table))
    order = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    gap = np.linalg.norm(points - points[order[0]], axis=1)
    while len(order) < min(size, len(table)):
        order.append(int(np.argmax(gap)))
        gap = np.minimum(gap, np.linalg.norm(points - points[order[-1]], axis=1))
    return [study.space.pool[i] if study.space.pool is not None else grid.candidate(table, i) for i in order]
