"""How good a model is: what it says of each value that it has not seen, and how often it is right about its doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from campaigns.optimizer import LeaveOneOut, Objective, Observation
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

INTERVALS = {0.50: 0.674490, 0.80: 1.281552, 0.95: 1.959964}  #: stated share -> half width in standard deviations


@runtime_checkable
class HasModel(Protocol):
    """An optimizer that can say how good its model is."""

    def leave_one_out(
        self, space: Space, objective: Objective, history: Sequence[Observation], seed: int
    ) -> LeaveOneOut: ...

    def outliers(
        self, space: Space, objective: Objective, history: Sequence[Observation], seed: int
    ) -> dict[int, float]:
        """Observations far from what all others say: number -> residual in standard deviations, worse is negative."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """See module. `inside` is the share of values within each stated interval."""

    count: int
    error: float  #: root mean square error, the objective's unit
    spread: float  #: standard deviation of the measured values: the error of always saying the mean
    explained: float | None  #: share of the variance that is predicted; None when nothing varies
    inside: dict[float, float]
    predicted: tuple[float, ...]
    sd: tuple[float, ...]
    measured: tuple[float, ...]
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, left_out: LeaveOneOut) -> Quality:
        """From predictions of left-out values."""
        import numpy as np

        measured, predicted, sd, off = (
            np.asarray(a, dtype=float) for a in (left_out.measured, left_out.predicted, left_out.sd, left_out.away)
        )
        away = np.abs(measured - predicted)
        error, spread = float(np.sqrt((away**2).mean())), float(measured.std())
        return cls(
            count=len(measured),
            error=error,
            spread=spread,
            explained=1 - (error / spread) ** 2 if spread > 0 else None,
            inside={stated: float((np.abs(off) <= width).mean()) for stated, width in INTERVALS.items()},
            predicted=tuple(map(float, predicted)),
            sd=tuple(map(float, sd)),
            measured=tuple(map(float, measured)),
            numbers=tuple(int(n) for n in left_out.numbers),
        )

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "count": self.count,
            "rmse": self.error,
            "sd_of_values": self.spread,
            "explained_variance": self.explained,
            "inside": {f"{stated:.2f}": share for stated, share in self.inside.items()},
            "numbers": self.numbers,
            "measured": self.measured,
            "predicted": self.predicted,
            "sd": self.sd,
        }
