"""The default optimizer: bayesian-optimization with candidates that can be made.

The library keeps the observations and asks (`library.py`). What is ours sits on its hooks: a
mixture of small models as its surrogate (`mixture.py`), acquisition functions that choose
among feasible candidates (`decision.py`). `docs/optimizer.md` tells how it thinks.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

from campaigns.candidate import Candidate
from campaigns.observations import Observations
from campaigns.optimizer import (
    Earlier,
    Explanation,
    LeaveOneOut,
    Objective,
    Observation,
    Outlook,
    Prices,
    Proposal,
)
from campaigns.optimizers.decision import Decision
from campaigns.optimizers.design import default_initial, initial_design, on_tray, spread_out
from campaigns.optimizers.earlier import features
from campaigns.optimizers.explain import explanation, leave_one_out, outliers, outlook
from campaigns.optimizers.knowledge import FEWEST, Knowledge
from campaigns.optimizers.study import Study
from campaigns.space import Space

BUDGET = 50  #: experiments to come, where the user does not say


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
        What candidates cost; with these, promise per cost decides.
    shared
        Process parameters that all of one tray have in common.
    tray
        Places of a tray.
    earlier
        Campaigns to start from.
    replicates
        Whether a candidate may be made again where that helps most; by default in spaces, not
        in lists.
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
        replicates: bool | None = None,
    ) -> None:
        self.initial, self.budget, self.model, self.coordinates = initial, budget or BUDGET, model, coordinates
        self.prices, self.shared, self.tray, self.earlier = prices, tuple(shared), tray, tuple(earlier)
        self.replicates = replicates
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
        known = Observations.of(space, objective, history)
        waiting = sorted(pending, key=lambda c: repr(c.key))
        with one_thread():
            study = self.study(space, objective, seed)
            found = self._designed(study, known, waiting, n)
            if len(found) < n and len(known.measured(objective.quantity)) < FEWEST:
                taken = [*(o.candidate for o in known), *waiting, *(p.candidate for p in found)]
                places = self._shared_places(space)
                return spread_out(study, list(dict.fromkeys(taken)), found, n, tray=self.tray, shared=places)
            if len(found) < n:
                found = self._decided(Knowledge(study, objective, known), waiting, found, n)
        return found

    def _designed(self, study: Study, known: Observations, waiting: Sequence[Candidate], n: int) -> list[Proposal]:
        """What is left of the first experiments."""
        wanted = self.initial if self.initial is not None else default_initial(study.space)
        if len(known.times) >= wanted:
            return []
        taken = list(dict.fromkeys([*(o.candidate for o in known), *waiting]))
        if len(taken) >= wanted:
            return []
        size = n if self.tray > 1 else min(n, wanted - len(taken))  # a tray is not filled half by design, half by model
        wanted, places = max(wanted, len(taken) + size), self._shared_places(study.space)
        return initial_design(study, wanted, taken, size, tray=self.tray, shared=places)

    def _decided(
        self, knowledge: Knowledge, waiting: Sequence[Candidate], designed: Sequence[Proposal], n: int
    ) -> list[Proposal]:
        """The candidates that the model wants, one after the other, each believed before the next."""
        space, shared = knowledge.study.space, self._shared_places(knowledge.study.space)
        found = list(designed)
        decision = Decision(
            knowledge,
            [*waiting, *(p.candidate for p in found)],
            budget=self.budget,
            prices=self.prices,
            shared=shared,
            tray=self.tray,
            given=len(found),
            fixed=on_tray(knowledge.study, found, self.tray, shared),
            replicates=space.pool is None if self.replicates is None else self.replicates,
        )
        while len(found) < n and (proposal := decision.next()) is not None:
            found.append(proposal)
        decision.forget()
        return found

    def _shared_places(self, space: Space) -> list[int]:
        names = [p.name for p in space.process]
        return [names.index(name) for name in self.shared]

    def study(self, space: Space, objective: Objective, seed: int) -> Study:
        """What only depends on space and seed, kept between calls."""
        if self._study is None or self._study.space is not space or self._study.seed != seed:
            told = features(space, objective, self.earlier, lambda s: Study(s, seed, self.coordinates))
            self._study = Study(space, seed, self.coordinates, told, single=self.model == "single-gp")
        return self._study

    # -- what it can say about itself -----------------------------------------------------

    def _knowledge(self, space: Space, objective: Objective, history: Sequence[Observation], seed: int) -> Knowledge:
        return Knowledge(self.study(space, objective, seed), objective, Observations.of(space, objective, history))

    def leave_one_out(
        self, space: Space, objective: Objective, history: Sequence[Observation], seed: int
    ) -> LeaveOneOut:
        """Each value predicted from all others. Needs at least two measured experiments."""
        with one_thread():
            return leave_one_out(self._knowledge(space, objective, history, seed))

    def outliers(
        self, space: Space, objective: Objective, history: Sequence[Observation], seed: int
    ) -> dict[int, float]:
        """Observations far from what all others say: number -> residual in standard deviations."""
        with one_thread():
            return outliers(self._knowledge(space, objective, history, seed))

    def outlook(self, space: Space, objective: Objective, history: Sequence[Observation], seed: int) -> Outlook:
        """What may still be gained. Needs at least two measured experiments."""
        with one_thread():
            return outlook(self._knowledge(space, objective, history, seed))

    def predicted(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        candidates: Sequence[Candidate],
        seed: int,
    ) -> Any:
        """The deciding property of each candidate, its unit. Needs at least two measured experiments."""
        with one_thread():
            known = self._knowledge(space, objective, history, seed)
            grid = known.study.grid
            return objective.sign * known.model.predict(grid.raw(grid.table(candidates)))

    def explain(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        candidate: Candidate,
        seed: int,
    ) -> Explanation:
        """Why a candidate, by what was known (`history`) when it was chosen."""
        with one_thread():
            return explanation(self._knowledge(space, objective, history, seed), candidate)


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
