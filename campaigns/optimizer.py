"""The seam to the optimizer: given all that is known, it says what should be made next.

An optimizer keeps nothing between calls that could change an answer. Seed and history
decide the proposal, so a restart, another process or another order of arrival give the
same answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from campaigns.candidate import Candidate

if TYPE_CHECKING:
    import numpy as np

    from campaigns.space import Space

    Array = np.ndarray[Any, Any]

Goal = Literal["best", "many", "target", "map"]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class OutcomeLimit:
    """A property that a useful material must have: ``low <= quantity <= high``."""

    quantity: str
    unit: str = ""
    low: float | None = None
    high: float | None = None

    def kept_by(self, value: float) -> bool:
        """Whether a measured value is within the limit."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is wanted.

    Parameters
    ----------
    quantity
        Property that decides, e.g. "ionic_conductivity".
    target
        Value at which the campaign has what it wants, in `unit`; with the goal "target", the
        value to hit.
    goal
        "best": find the single best. "many": collect all good ones. "target": hit `target`
        or a value inside `band`. "map": learn the whole landscape.
    band
        With the goal "target": smallest and largest value that will do, in `unit`.
    others
        Further objectives: what is wanted then is the Pareto front of all.
    limits
        Thresholds on measured properties; what breaks one is worth nothing.
    weight
        Share of this objective where objectives are added up instead of compared.
    reference
        The worst value that is still of any use: where the dominated volume begins.
    combine
        Several objectives: their Pareto front, or their weighted sum (each in its own spread).
    """

    quantity: str
    unit: str
    direction: Direction
    target: float | None = None
    goal: Goal = "best"
    band: tuple[float, float] | None = None
    others: tuple[Objective, ...] = ()
    limits: tuple[OutcomeLimit, ...] = ()
    weight: float = 1.0
    reference: float | None = None
    combine: Literal["pareto", "weighted"] = "pareto"

    @property
    def all(self) -> tuple[Objective, ...]:
        """The objective and the others."""
        return (self, *self.others)

    @property
    def sign(self) -> float:
        """1 where larger values are wanted, -1 where smaller ones are."""
        return -1.0 if self.direction == "minimize" else 1.0

    @property
    def aim(self) -> tuple[float, float]:
        """With the goal "target": the smallest and the largest value that will do."""
        if self.band is not None:
            return self.band
        assert self.target is not None, "the goal 'target' states a target or a band"
        return self.target, self.target

    def worth(self, values: Any) -> Any:
        """How good values are, larger is better: by direction, or minus the distance to the target."""
        import numpy as np

        if self.goal != "target":
            return self.sign * values
        low, high = self.aim
        return -np.maximum(np.maximum(low - values, values - high), 0.0)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Every property that must be measured, the deciding one first, each once."""
        names = [o.quantity for o in self.all] + [limit.quantity for limit in self.limits]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured property of one sample: value and standard uncertainty, if it is known."""

    value: float
    u: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One experiment that ended, well or badly.

    `number` is the experiment's place in the campaign: it makes the order of arrival
    irrelevant.
    """

    number: int
    candidate: Candidate  #: as requested
    value: float | None  #: the objective's quantity, its unit; None when it was not obtained
    u: float | None = None  #: standard uncertainty of `value`
    actual: Mapping[str, float] = field(default_factory=dict)  #: weighed fractions, where known
    others: Mapping[str, Measured] = field(default_factory=dict)  #: further properties that were measured
    block: str | None = None  #: tray, day or operator that it shares with others

    @property
    def failed(self) -> bool:
        """Whether nothing could be measured."""
        return self.value is None and not self.others

    def measured(self, quantity: str, deciding: str) -> Measured | None:
        """What is known of one property; `deciding` is the objective's quantity."""
        if quantity == deciding:
            return None if self.value is None else Measured(self.value, self.u)
        return self.others.get(quantity)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A candidate and why it was chosen."""

    candidate: Candidate
    reason: str  #: "initial design", "upper confidence bound", "random", "replicate", ...
    predicted: float | None = None  #: posterior mean of the objective, its unit
    predicted_u: float | None = None  #: posterior standard deviation of the mean
    gain: float | None = None  #: expected improvement over the best known, objective's unit
    others: Mapping[str, Measured] = field(default_factory=dict)  #: predictions of further properties
    chance: float | None = None  #: probability that it can be made and keeps all limits


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What an experiment costs, in any one unit: money, or minutes of the bottleneck.

    Parameters
    ----------
    fixed
        Of every experiment.
    components
        Of a batch that were this component alone, by component.
    settings
        Per unit of a numeric process parameter, by parameter: furnace time, say.
    """

    fixed: float = 0.0
    components: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier campaign that may help: what it varied, what it found."""

    name: str
    space: Space
    objective: Objective
    history: Sequence[Observation]


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Each value predicted from all others: how good the model is. Lists in the order of `numbers`."""

    numbers: tuple[int, ...]  #: of the observations
    measured: tuple[float, ...]  #: the objective's unit
    predicted: tuple[float, ...]
    sd: tuple[float, ...]  #: of a new measurement there: doubt and noise together
    away: tuple[
        float, ...
    ]  #: measured less predicted, in such standard deviations, on the scale on which models see values

    def inside(self, share: float) -> float:
        """Share of the values inside the central interval that should hold `share` of them."""
        from scipy.special import ndtri

        reach = float(ndtri(0.5 + share / 2))
        hits = [abs(z) <= reach for z in self.away]
        return sum(hits) / len(hits) if hits else float("nan")


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What may still be gained."""

    best: float  #: posterior mean of the best candidate measured, the objective's unit
    best_number: int  #: of the observation it belongs to
    gain: float  #: expected improvement that the best next experiment promises
    left: tuple[float, ...]  #: draws of how much better the best possible that counts is; infinite where none was found

    def within(self, distance: float) -> float:
        """Probability that the best possible is at most `distance` better than what was found."""
        return sum(d <= distance for d in self.left) / len(self.left)

    def distance(self, probability: float) -> float:
        """Distance within which the best possible lies with this probability."""
        at = min(len(self.left) - 1, max(0, math.ceil(probability * len(self.left)) - 1))
        return self.left[at]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Predictions along one component or setting through a candidate; the other shares keep their proportions."""

    name: str
    at: tuple[float | str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    here: float | str  #: the candidate's own place


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a candidate: in the objective's unit, fit to be read aloud."""

    candidate: Candidate
    predicted: float
    predicted_u: float
    gain: float
    chance: float | None  #: that it can be made and keeps all limits
    best: float | None  #: posterior mean of the best measured
    best_number: int | None
    nearest: Observation | None
    nearest_distance: float | None  #: in widths of the space
    binding: tuple[str, ...]  #: limits of the space at which it lies, in words
    importance: Mapping[str, float]  #: share of the predicted variation through each component or setting
    slices: tuple[Slice, ...]
    others: Mapping[str, Measured]  #: predictions of further properties


@runtime_checkable
class Foresees(Protocol):
    """An optimizer that can say what may still be gained."""

    def outlook(self, space: Space, objective: Objective, history: Sequence[Observation], seed: int) -> Outlook: ...


@runtime_checkable
class Predicts(Protocol):
    """An optimizer that can say what it expects of candidates."""

    def predicted(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        candidates: Sequence[Candidate],
        seed: int,
    ) -> Array:
        """The deciding property of each candidate, its unit. Needs at least two measured experiments."""


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
