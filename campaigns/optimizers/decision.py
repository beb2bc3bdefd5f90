"""One round of proposals: what is known and under way goes in, candidates come out one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.grid import Table, generator
from campaigns.optimizers.library import Doubt, NearBand, Observations, OverCandidates, UpperBound
from campaigns.optimizers.study import Search, Study

Array = np.ndarray[Any, Any]

GOOD = 0.05  #: share of a list that counts as good
FEW, MANY = (1.5, 1.5), (2.0, 0.5)  #: kappa at the beginning and end, where good ones are few, where many
OPEN_KAPPA = 2.0  #: kappa in a space that is no list
INITIAL = 8  #: experiments after which kappa begins to change
LOOK, LOOK_TRIES = 4, 60  #: every so many proposals in such a space goes where nothing was measured
NEAR = 5  #: best known candidates around which a space is searched
CAREFUL = 1.0  #: standard deviations of the objective that a candidate must promise more to be e times less likely


class Decision:
    """See module.

    Parameters
    ----------
    budget
        Experiments in all.
    """

    def __init__(
        self,
        study: Study,
        objective: Objective,
        known: Sequence[Observation],
        waiting: Sequence[Candidate],
        *,
        budget: int,
    ) -> None:
        self.study, self.objective, self.budget = study, objective, budget
        self.known, self.measured = known, [o for o in known if o.value is not None]
        self.sign = -1.0 if objective.direction == "minimize" else 1.0
        self.taken = [o.candidate for o in known] + list(waiting)
        self.number = len(self.taken)
        self.closed = set(study.grid.table(self.taken).keys)
        self.chance = study.chances(known)
        self._fit()
        self.mark = self.model.mark()
        if waiting:
            self.model.believe(study.grid.raw(study.grid.table(waiting)))

    def _fit(self) -> None:
        study, measured = self.study, self.measured
        labels = sorted({o.block for o in measured if o.block is not None})
        self.model = study.model(self.objective.quantity, blocks=len(labels) > 1)
        self.space = Observations(study.space)
        self.space.hold(study.made(measured), self.sign * np.array([o.value for o in measured]))
        self.model.fit(
            self.space.params,
            self.space.target,
            np.array([(o.u or 0.0) ** 2 for o in measured]),
            np.array([labels.index(o.block) if o.block is not None and len(labels) > 1 else -1 for o in measured]),
        )

    def forget(self) -> None:
        """Take back what was only believed."""
        self.model.restore(self.mark)

    def next(self) -> Proposal | None:
        """The next candidate; None when nothing is left."""
        rng = generator(self.study.seed, "search", len(self.known), self.number)
        looked = self._look(rng)
        search = Search(self.study, self.closed, self._best_known(), rng, {})
        if looked is None:
            acquisition = self._acquisition(search)
            acquisition.suggest(gp=self.model, target_space=self.space, fit_gp=False, random_state=0)
            if search.chosen is None:
                return None
        chosen, reason = (search.chosen, acquisition_name(acquisition)) if looked is None else (looked, "exploration")
        return self._proposal(chosen, reason)

    def _look(self, rng: np.random.Generator) -> Table | None:
        """Now and then, in a space that is no list: somewhere nothing was measured."""
        if self.study.finite or self.number % LOOK or not self.budget / 3 <= self.number < self.budget - 10:
            return None
        found = self.study.farthest(rng, self.taken, LOOK_TRIES)
        return None if found is None or found.keys[0] in self.closed else found

    def _best_known(self) -> Table:
        order = np.argsort(-self.space.target, kind="stable")[:NEAR]
        return self.study.grid.table([self.measured[int(i)].candidate for i in order])

    def _acquisition(self, search: Search) -> OverCandidates:
        adjust = self._adjust()
        if self.objective.goal == "map":
            return Doubt(search, adjust)
        if self.objective.goal == "target":
            return NearBand(band_of(self.objective, self.sign), self.kappa, search, adjust)
        return UpperBound(self.kappa, search, adjust)

    @property
    def kappa(self) -> float:
        """How much doubt is worth.

        Constant where the budget can exhaust the good ones, so that one must look elsewhere;
        falling where there are more good ones than experiments.
        """
        if not self.study.finite:
            return OPEN_KAPPA
        first, last = MANY if GOOD * len(self.study.table) >= self.budget else FEW
        done = (self.number - INITIAL) / max(1, self.budget - INITIAL)
        return first + min(1.0, max(0.0, done)) * (last - first)

    def _adjust(self) -> Callable[[Array], Array] | None:
        """Chances as standard deviations of the objective."""
        if self.chance is None:
            return None
        chance, spread = self.chance, self.model.scale.spread
        return lambda raw: CAREFUL * spread * np.log(np.maximum(chance(raw), 1e-9))

    def _proposal(self, chosen: Table, reason: str) -> Proposal:
        study = self.study
        raw = study.grid.raw(chosen)
        mean, sd = self.model.standardised(raw)
        candidate = self._candidate(chosen)
        self.number += 1
        self.taken.append(candidate)
        self.closed.add(chosen.keys[0])
        self.model.believe(raw)
        return Proposal(
            candidate=candidate,
            reason=reason,
            predicted=self.sign * float(self.model.scale.back(mean)[0]),
            predicted_u=self.model.scale.spread * float(sd[0]),
            gain=self._gain(float(mean[0]), float(sd[0])),
            chance=None if self.chance is None else float(self.chance(raw)[0]),
        )

    def _candidate(self, chosen: Table) -> Candidate:
        pool = self.study.space.pool
        if pool is not None:
            return pool[self.study.rows[chosen.keys[0]]]
        return self.study.grid.candidate(chosen, 0)

    def _gain(self, mean: float, sd: float) -> float:
        """Expected improvement over the best known, the objective's unit (Jones et al. 1998)."""
        best = float(self.model.standardised(self.study.grid.raw(self._best_known()))[0].max())
        z = (mean - best) / max(sd, 1e-12)
        improvement = (mean - best) * float(ndtr(z)) + sd * float(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
        return self.model.scale.spread * max(0.0, improvement)


def band_of(objective: Objective, sign: float) -> tuple[float, float]:
    """The values that will do, larger the better."""
    low, high = objective.band if objective.band else (objective.target or 0.0, objective.target or 0.0)
    return (low, high) if sign > 0 else (-high, -low)


def acquisition_name(acquisition: OverCandidates) -> str:
    """As people say it."""
    return {"UpperBound": "upper confidence bound", "NearBand": "nearest to target", "Doubt": "least known"}[
        type(acquisition).__name__
    ]
