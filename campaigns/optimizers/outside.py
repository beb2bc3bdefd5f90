"""What optimizers of other libraries have in common: random first experiments, then a choice among feasible candidates.

They learn nothing from failed experiments. Several objectives: of an experiment that measured
all of them they are told one merit each, or the weighted sum.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.drawn import MOST, choices, default_initial, initial, merit
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a library is asked: where it may go, what is known."""

    space: Space
    objective: Objective
    measured: Sequence[Observation]  #: those with all objectives
    waiting: Sequence[Candidate]
    open: list[Candidate]  #: to choose among; never empty
    n: int
    seed: int

    @property
    def of_front(self) -> bool:
        """Whether a Pareto front is wanted."""
        return bool(self.objective.others) and self.objective.combine == "pareto"

    @property
    def merits(self) -> Array:
        """A row per measured experiment, a column per objective or one of their weighted sum; larger is better."""
        import numpy as np

        values = np.array([merits(self.objective, o) for o in self.measured])
        if self.of_front or not self.objective.others:
            return values
        spread = values.std(axis=0)
        weights = np.array([o.weight for o in self.objective.all])
        total: Array = values @ (weights / np.where(spread > 0, spread, 1.0))
        return total[:, None]


def merits(objective: Objective, o: Observation) -> list[float]:
    """What an experiment is worth in each objective."""
    return [merit(objective, o), *(further.sign * o.others[further.quantity].value for further in objective.others)]


def complete(objective: Objective, o: Observation) -> bool:
    """Whether all objectives were measured."""
    return o.value is not None and all(further.quantity in o.others for further in objective.others)


class OutsideOptimizer(ABC):
    """See module.

    Parameters
    ----------
    initial
        Experiments at random before the library decides; by default by the number of dimensions.
    """

    name: str
    most = MOST  #: candidates that the library is given

    def __init__(self, initial: int | None = None) -> None:
        self.initial = initial

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
        taken = {o.candidate for o in known} | set(waiting)
        measured = [o for o in known if complete(objective, o)]
        wanted = self.initial if self.initial is not None else default_initial(space)
        if len(taken) < wanted or len(measured) < 2:
            return initial(space, taken, min(n, max(1, wanted - len(taken))), seed, len(taken))
        found = choices(space, taken, seed, len(known), len(taken), most=self.most)
        if not found:
            return []
        asked = Asked(
            space=space, objective=objective, measured=measured, waiting=waiting, open=found,
            n=min(n, len(found)), seed=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.chosen(asked)

    @abstractmethod
    def chosen(self, asked: Asked) -> list[Proposal]:
        """What the library wants, at most `asked.n` of the open candidates."""
