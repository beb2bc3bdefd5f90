"""The seam to the optimizer: given all that is known, it says what should be made next.

An optimizer keeps nothing between calls. Seed and history decide the proposal, so a
restart, another process or another order of arrival give the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from campaigns.candidate import Candidate

if TYPE_CHECKING:
    from campaigns.space import Space


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is wanted."""

    quantity: str  #: property that decides, e.g. "ionic_conductivity"
    unit: str
    direction: Literal["maximize", "minimize"]
    target: float | None = None  #: value at which the campaign has what it wants, in `unit`


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One experiment that ended, well or badly.

    `number` is the experiment's place in the campaign: it makes the order of arrival
    irrelevant.
    """

    number: int
    candidate: Candidate  #: as requested
    value: float | None  #: the objective's quantity, its unit; None when the experiment failed
    u: float | None = None  #: standard uncertainty of `value`
    actual: Mapping[str, float] = field(default_factory=dict)  #: weighed fractions, where known

    @property
    def failed(self) -> bool:
        """Whether nothing could be measured."""
        return self.value is None


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A candidate and why it was chosen."""

    candidate: Candidate
    reason: str  #: "initial design", "expected improvement", "random", ...
    predicted: float | None = None  #: posterior mean of the objective, its unit
    predicted_u: float | None = None  #: posterior standard deviation of the mean
    gain: float | None = None  #: expected improvement over the best known, objective's unit


class Optimizer(Protocol):
    """Proposes candidates."""

    name: str  #: with version, as it is recorded beside each proposal

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        """Up to `n` new candidates; fewer (or none) only when the space has no more.

        Parameters
        ----------
        history
            Experiments that ended, in any order.
        pending
            Candidates that are being made or measured now.
        seed
            The campaign's seed.
        """
