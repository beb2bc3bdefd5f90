"""What replayed campaigns are compared by: how soon they found the best that is in the data, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from campaigns.optimizer import Objective
from campaigns.replay import Known, Run

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_OF_IT = 0.9  #: share of the volume that the data's own front dominates, until which experiments are counted
TOP, BEST_FEW = 0.05, 0.01  #: shares of the candidates that count as good, and as the very best
ENOUGH = 10  #: good candidates after which acceleration against random is taken


def scored_by(objective: Objective) -> str:
    """By what replays are compared: "top" candidates of one merit, or the "hypervolume" of a front."""
    return "hypervolume" if objective.others and objective.combine == "pareto" else "top"


def oriented(known: Known) -> Array:
    """Values of all objectives, a column each, larger is better; NaN where there are none."""
    import numpy as np

    told = {known.objective.quantity: known.values, **known.others}
    return np.column_stack([o.sign * told[o.quantity] for o in known.objective.all])


def weighted_sum(known: Known) -> Array:
    """The objectives added up with their weights, each in standard deviations of its column."""
    import numpy as np

    columns = oriented(known)
    spread = np.nanstd(columns, axis=0)
    weights = np.array([o.weight for o in known.objective.all])
    return np.asarray(columns @ (weights / np.where(spread > 0, spread, 1.0)))


def merit(known: Known) -> Array:
    """How good each candidate is, larger is better; -inf where it failed or breaks a limit."""
    import numpy as np

    o, values = known.objective, known.values
    if o.others:
        good = weighted_sum(known)
    elif o.goal == "target":
        low, high = o.band or (o.target, o.target)
        assert low is not None
        assert high is not None
        good = -np.maximum(0.0, np.maximum(low - values, values - high))
    else:
        good = values if o.direction == "maximize" else -values
    return np.where(~np.isnan(good) & within_limits(known), good, -np.inf)


def within_limits(known: Known) -> Array:
    """Mask of the candidates that keep all limits."""
    import numpy as np

    told, kept = {known.objective.quantity: known.values, **known.others}, np.ones(len(known), dtype=bool)
    for limit in known.objective.limits:
        column = told.get(limit.quantity)
        if column is not None:
            kept &= np.array([limit.kept_by(v) for v in column])
    return kept


@dataclass(frozen=True, kw_only=True)
class Front:
    """What a campaign with several objectives can reach in a table.

    Values are oriented: larger is better.
    """

    values: Array  #: a row per candidate; NaN where it does not count
    reference: Array  #: where the dominated volume begins, as the optimizer takes it
    whole: float  #: volume that the front of all candidates dominates

    @classmethod
    def of(cls, known: Known) -> Front:
        """Of a table; what breaks a limit or was not measured in full does not count."""
        import numpy as np

        from campaigns.pareto import on_front, reference_point, volume

        values = oriented(known)
        counts = ~np.isnan(values).any(axis=1) & within_limits(known)
        values = np.where(counts[:, None], values, np.nan)
        there = values[counts]
        stated = [None if o.reference is None else o.sign * o.reference for o in known.objective.all]
        if not len(there):
            return cls(values=values, reference=np.zeros(len(stated)), whole=0.0)
        reference = reference_point(there, stated)
        return cls(values=values, reference=reference, whole=volume(there[on_front(there)], reference))

    def share_found(self, picks: Sequence[int], budget: int) -> list[float]:
        """Share of the volume that is dominated after each evaluation; it stays where a run ended early."""
        import numpy as np

        from campaigns.pareto import on_front, volume

        front, shares = self.values[:0], [0.0]
        for pick in picks:
            value, share = self.values[pick], shares[-1]
            if not np.isnan(value).any() and not (front >= value).all(axis=1).any():
                front = np.vstack([front, value])
                front = front[on_front(front)]
                share = volume(front, self.reference) / self.whole if self.whole > 0 else 1.0
            shares.append(share)
        return shares[1:] + shares[-1:] * (budget - len(picks))


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Which candidates count as what."""

    top: Array  #: mask of the best 5 %
    few: Array  #: mask of the best 1 %
    best: Array  #: mask of the best, several where they are equal
    attainable: int  #: how many of the top 5 % a campaign of this budget can find

    @classmethod
    def of(cls, known: Known, budget: int) -> Marks:
        """Of a table."""
        good = merit(known)
        top, few = (at_least(good, share) for share in (TOP, BEST_FEW))
        return cls(top=top, few=few, best=good == good.max(), attainable=max(1, min(int(top.sum()), budget)))


def at_least(good: Array, share: float) -> Array:
    """Mask of the best share of the candidates, all of those that equal the last one."""
    import numpy as np

    count = max(1, math.ceil(share * len(good)))
    return np.asarray((good >= np.sort(good)[-count]) & (good > -np.inf))


def shares_found(run: Run, marks: Marks, budget: int) -> list[float]:
    """Share of the attainable top 5 % after each evaluation; it stays where a run ended early."""
    found, shares = 0, []
    for pick in run.picks:
        found += bool(marks.top[pick])
        shares.append(found / marks.attainable)
    return shares + shares[-1:] * (budget - len(shares))


def evaluations_until(run: Run, mask: Array, count: int = 1) -> int | None:
    """Evaluations until so many of these were found; None when the run ended before."""
    found: set[int] = set()
    for i, pick in enumerate(run.picks, start=1):
        if mask[pick]:
            found.add(pick)
            if len(found) >= count:
                return i
    return None


def censored_median(values: Sequence[int | None], budget: int) -> float | None:
    """Median, runs that did not get there counted as beyond the budget; None when that is the median."""
    ordered = sorted(budget + 1 if v is None else v for v in values)
    middle = len(ordered) // 2
    found = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return None if found > budget else float(found)


def figures(known: Known, runs: Sequence[Run], budget: int) -> dict[str, Any]:
    """What one method reached, over its seeds."""
    return {
        "scored_by": scored_by(known.objective),
        "seeds": len(runs),
        "budget": budget,
        **(volumes(known, runs, budget) if scored_by(known.objective) == "hypervolume" else tops(known, runs, budget)),
        "cpu_ms": cpu_ms(runs),
    }


def cpu_ms(runs: Sequence[Run]) -> float | None:
    """Processor time of one proposal, median."""
    import numpy as np

    spent = [s for r in runs for s in r.cpu_s]
    return float(np.median(spent)) * 1e3 if spent else None


def way(curves: Array) -> dict[str, Any]:
    """Mean way of some runs with its standard error."""
    return {
        "curve": [float(v) for v in curves.mean(axis=0)],
        "curve_se": [standard_error(column) for column in curves.T],
    }


def volumes(known: Known, runs: Sequence[Run], budget: int) -> dict[str, Any]:
    """How far the front was pushed out, as a share of what the data's own front dominates."""
    import numpy as np

    front = Front.of(known)
    curves = np.array([front.share_found(run.picks, budget) for run in runs])
    until = [next((i for i, v in enumerate(c, start=1) if v >= MOST_OF_IT), None) for c in curves]
    return {
        "volume": float(curves[:, -1].mean()),
        "volume_se": standard_error(curves[:, -1]),
        "until_90pct": censored_median(until, budget),
        **way(curves),
    }


def tops(known: Known, runs: Sequence[Run], budget: int) -> dict[str, Any]:
    """How many of the best candidates were found, and how soon."""
    import numpy as np

    marks = Marks.of(known, budget)
    curves = np.array([shares_found(run, marks, budget) for run in runs])
    good = int(marks.top.sum())
    enough = max(1, min(ENOUGH, math.ceil(good / 2)))
    until_enough = censored_median([evaluations_until(r, marks.top, enough) for r in runs], budget)
    until_best = [evaluations_until(r, marks.best) for r in runs]
    by_chance = enough * (len(known) + 1) / (good + 1)
    found_best = np.array([u is not None for u in until_best], dtype=float)
    return {
        "top": float(curves[:, -1].mean()),
        "top_se": standard_error(curves[:, -1]),
        "until_top_1pct": censored_median([evaluations_until(r, marks.few) for r in runs], budget),
        "until_best": censored_median(until_best, budget),
        "found_best": float(found_best.mean()),
        "found_best_se": standard_error(found_best),
        "acceleration": None if until_enough is None else by_chance / until_enough,
        **way(curves),
    }


def standard_error(values: Array) -> float | None:
    """Of the mean; None for a single value."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
