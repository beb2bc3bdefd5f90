"""One round of proposals: what is known and under way goes in, candidates come out one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.observations import Closed
from campaigns.optimizer import Measured, Prices, Proposal
from campaigns.optimizers.grid import generator
from campaigns.optimizers.knowledge import Knowledge
from campaigns.optimizers.library import Doubt, NearBand, OverCandidates, Score, UpperBound
from campaigns.optimizers.study import Search
from campaigns.pareto import expected_gain_1d, expected_volume, reference_point
from campaigns.rows import Table, joined

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]

GOOD = 0.05  #: share of a list that counts as good
FEW, MANY = (1.5, 1.5), (2.0, 0.5)  #: kappa at the beginning and end, where good ones are few, where many
OPEN_KAPPA = 2.0  #: kappa in a space that is no list
TARGET_KAPPA = 1.0  #: kappa of the distance to a target
SETTLED = 8  #: experiments after which kappa begins to change
LOOK, LOOK_TRIES = 4, 60  #: every so many proposals in such a space goes where nothing was measured
NEAR = 5  #: best known candidates around which a space is searched
CAREFUL = 1.0  #: standard deviations of the objective that e times less chance must be made up by
THRIFTY = 0.5  #: the same for e times the price
REPEATS, AGAIN = 3, 0.1  #: replicates of one candidate at most; standard deviations by which one must win


class Decision:
    """See module.

    Parameters
    ----------
    budget
        Experiments in all.
    prices
        What candidates cost, if that matters.
    shared, tray
        Places of the settings that all of one tray have in common; places of a tray.
    given, fixed
        How many candidates of this round there are already; the settings of the tray that the last lies on.
    replicates
        Whether a candidate may be made again where that helps most.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        waiting: Sequence[Candidate],
        *,
        budget: int,
        prices: Prices | None = None,
        shared: Sequence[int] = (),
        tray: int = 1,
        given: int = 0,
        fixed: dict[int, float] | None = None,
        replicates: bool = False,
    ) -> None:
        self.knowledge, self.study, self.objective = knowledge, knowledge.study, knowledge.objective
        self.budget, self.shared, self.tray, self.replicates = budget, tuple(shared), tray, replicates
        self.price = knowledge.price(prices) if prices is not None else None
        self.under_way = self.study.grid.table(waiting)
        self.closed = Closed(knowledge.known.times, self.under_way.keys)
        self.given = given
        self.to_believe: Array | None = None
        self.fixed = dict(fixed or {})
        self.marks = {q: m.mark() for q, m in knowledge.models.items()}
        if waiting:
            self.to_believe = self.study.grid.raw(self.under_way)

    @property
    def taken(self) -> int:
        """How many experiments there are, with those under way."""
        return len(self.knowledge.known) + len(self.under_way)

    def _believe(self) -> None:
        """Take what is under way to turn out as predicted."""
        raw, self.to_believe = self.to_believe, None
        if raw is not None:
            for model in self.knowledge.models.values():
                model.believe(raw)

    def forget(self) -> None:
        """Take back what was only believed."""
        for quantity, mark in self.marks.items():
            self.knowledge.models[quantity].restore(mark)

    # -- the next candidate ---------------------------------------------------------------

    def next(self) -> Proposal | None:
        """The next candidate; None when nothing is left."""
        self._believe()
        rng = generator(self.study.seed, "search", len(self.knowledge.known), self.taken)
        if self.given % self.tray == 0:
            self.fixed = {}
        chosen, reason = self._look(rng), "exploration"
        if chosen is None:
            taken = joined([self.knowledge.known.table(), self.under_way])
            search = Search(self.study, self.closed, self.knowledge.best_table(NEAR), rng, self.fixed, taken)
            acquisition, reason = self._acquisition(search)
            knowledge = self.knowledge
            acquisition.suggest(
                gp=knowledge.model, target_space=knowledge.spaces[knowledge.quantity], fit_gp=False, random_state=0
            )
            chosen = search.chosen
            again = self._again(search.score, acquisition) if chosen is not None else None
            if again is not None:
                chosen, reason = again, "replicate"
        return None if chosen is None else self._proposal(chosen, reason)

    def _look(self, rng: np.random.Generator) -> Table | None:
        """Now and then, in a space that is no list: somewhere nothing was measured."""
        number = self.taken
        due = number % LOOK == 0 and self.budget / 3 <= number < self.budget - 10
        if self.study.finite or self.study.size is not None or not due or self.fixed or self.objective.goal == "map":
            return None
        found = self.study.farthest(rng, joined([self.knowledge.known.table(), self.under_way]), LOOK_TRIES)
        return None if found is None or found.keys[0] in self.closed else found

    def _again(self, score: float, acquisition: OverCandidates) -> Table | None:
        """The best measured candidate, where making it once more promises clearly more than any other."""
        if not self.replicates or self.fixed:
            return None
        table = self.knowledge.best_table(1)
        key, best = table.keys[0], self.knowledge.known.candidate(int(self.knowledge.ranked[0]))
        times = self.knowledge.known.times[key]
        if times > REPEATS or key in self.under_way.keys or not self.study.grid.allows(best):
            return None
        acq = acquisition._get_acq(self.knowledge.model)
        ours = -float(acq(self.study.grid.raw(table))[0])
        unit = 1.0 if isinstance(acquisition, Score) else self.knowledge.model.scale.spread
        return table if ours > score + AGAIN * unit else None

    # -- what is worth what ---------------------------------------------------------------

    def _acquisition(self, search: Search) -> tuple[OverCandidates, str]:
        objective, adjust = self.objective, self._adjust()
        if objective.others and all(o.quantity in self.knowledge.models for o in objective.all):
            return self._several(search)
        if objective.goal == "map":
            return Doubt(search, adjust), "least known"
        if objective.goal == "target":
            low, high = objective.aim
            turned = (low, high) if objective.sign > 0 else (-high, -low)
            return NearBand(turned, self.kappa, search, adjust), "nearest to target"
        return UpperBound(self.kappa, search, adjust), "upper confidence bound"

    @property
    def kappa(self) -> float:
        """How much doubt is worth.

        Constant where the budget can exhaust the good ones, so that one must look elsewhere;
        falling where there are more good ones than experiments.
        """
        size = len(self.study.table) if self.study.finite else self.study.size
        if self.objective.goal == "target":
            return TARGET_KAPPA
        if size is None:
            return OPEN_KAPPA if self.objective.goal != "many" else OPEN_KAPPA / 2
        first, last = MANY if GOOD * size >= self.budget else FEW
        done = (self.taken - SETTLED) / max(1, self.budget - SETTLED)
        return first + min(1.0, max(0.0, done)) * (last - first)

    def _adjust(self) -> Function | None:
        """Chances and prices, as standard deviations of the objective."""
        chance, price, spread = self.knowledge.chance, self.price, self.knowledge.model.scale.spread
        if chance is None and price is None:
            return None
        typical = float(np.mean(price(self.study.raw))) or 1.0 if price is not None else 1.0

        def adjust(raw: Array) -> Array:
            total = np.zeros(len(raw))
            if chance is not None:
                total += CAREFUL * spread * np.log(np.maximum(chance(raw), 1e-9))
            if price is not None:
                total -= THRIFTY * spread * np.log(np.maximum(price(raw) / typical, 1e-3))
            return total

        return adjust

    def _several(self, search: Search) -> tuple[OverCandidates, str]:
        """Several objectives: the volume that is gained, or a sum."""
        objectives, models = self.objective.all, self.knowledge.models
        if self.objective.combine == "weighted" or not len(self.knowledge.whole):  # no front yet
            return Score(self._worth(self._sum), search), "weighted sum"
        means, front = self.knowledge.front()
        stated = [None if o.reference is None else o.sign * o.reference for o in objectives]
        reference = reference_point(means, stated)
        spread = np.array([models[o.quantity].scale.spread for o in objectives])
        if len(objectives) == 2:

            def gain(raw: Array) -> Array:
                told = [models[o.quantity].predict(raw, return_std=True) for o in objectives]
                m, s = (np.column_stack([t[i] for t in told]) / spread for i in (0, 1))
                return expected_volume(m, s, means[front] / spread, reference / spread)

            return Score(self._worth(gain, log=True), search), "expected gain of the front"
        rng = generator(self.study.seed, "weights", self.taken)
        weights = rng.dirichlet(np.ones(len(objectives)))

        def nearest(raw: Array) -> Array:
            told = [models[o.quantity].predict(raw, return_std=True) for o in objectives]
            bounds = [(m + self.kappa * s - r) / w for (m, s), r, w in zip(told, reference, spread, strict=True)]
            result: Array = np.min([b / w for b, w in zip(bounds, np.maximum(weights, 1e-6), strict=True)], axis=0)
            return result

        return Score(self._worth(nearest), search), "a random corner of the front"

    def _sum(self, raw: Array) -> Array:
        """The weighted sum of optimistic predictions, each in its own spread."""
        total, variance = np.zeros(len(raw)), np.zeros(len(raw))
        for o in self.objective.all:
            mean, sd = self.knowledge.models[o.quantity].standardised(raw)
            total, variance = total + o.weight * mean, variance + (o.weight * sd) ** 2
        result: Array = total + self.kappa * np.sqrt(variance)
        return result

    def _worth(self, score: Function, *, log: bool = False) -> Function:
        """A score with chances and prices, in units of its own."""
        chance, price = self.knowledge.chance, self.price
        typical = float(np.mean(price(self.study.raw))) or 1.0 if price is not None else 1.0

        def worth(raw: Array) -> Array:
            total = np.log(np.maximum(score(raw), 1e-30)) if log else score(raw)
            if chance is not None:
                total = total + np.log(np.maximum(chance(raw), 1e-9))
            if price is not None:
                total = total - np.log(np.maximum(price(raw) / typical, 1e-3))
            return total

        return worth

    # -- what is said about it ------------------------------------------------------------

    def _proposal(self, chosen: Table, reason: str) -> Proposal:
        raw, knowledge = self.study.grid.raw(chosen), self.knowledge
        model, chance = knowledge.model, knowledge.chance
        mean, sd, best, _ = knowledge.beside_best(raw)
        gain = model.scale.spread * float(expected_gain_1d(mean, sd, best)[0])
        proposal = Proposal(
            candidate=self.study.grid.candidate(chosen, 0),
            reason=reason,
            predicted=self.objective.sign * float(model.scale.back(mean)[0]),
            predicted_u=model.scale.spread * float(sd[0]),
            gain=gain if not self.objective.others and self.objective.goal in ("best", "many") else None,
            others={q: predicted(knowledge, q, raw) for q in knowledge.models if q != knowledge.quantity},
            chance=None if chance is None else float(chance(raw)[0]),
        )
        self._take(chosen, raw)
        return proposal

    def _take(self, chosen: Table, raw: Array) -> None:
        """Count it as under way."""
        self.given += 1
        self.under_way = joined([self.under_way, chosen])
        self.closed.add(chosen.keys[0])
        self.fixed = {place: float(chosen.settings[0, place]) for place in self.shared} if self.tray > 1 else {}
        self.to_believe = raw


def predicted(knowledge: Knowledge, quantity: str, raw: Array) -> Measured:
    """The prediction of one further property at one raw row."""
    model = knowledge.models[quantity]
    mean, sd = model.standardised(raw)
    sign = knowledge.signs.get(quantity, 1.0)
    return Measured(sign * float(model.scale.back(mean)[0]), model.scale.spread * float(sd[0]))
