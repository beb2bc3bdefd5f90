"""What replayed campaigns are compared by: how soon they found what was wanted of the data, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from campaigns.optimizer import Objective, Predicts
from campaigns.replay import Known, Run

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_OF_IT = 0.9  #: share of the volume that the data's own front dominates, until which experiments are counted
TOP, BEST_FEW = 0.05, 0.01  #: shares of the candidates that count as good, and as the very best
FEWEST = 2  #: values from which a model is made
LOOKS = 5  #: evenly spread over a map's experiments, at which its error is taken
ENOUGH = 10  #: good candidates after which acceleration against random is taken


def scored_by(objective: Objective) -> str:
    """By what replays are compared.

    "top" candidates of one merit, the "hypervolume" of a front, the "distance" to a target, or the "map error".
    """
    if objective.others:
        return "hypervolume" if objective.combine == "pareto" else "top"
    return {"target": "distance", "map": "map error"}.get(objective.goal, "top")


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
    good = weighted_sum(known) if o.others else o.worth(values)
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


def figures(known: Known, runs: Sequence[Run], budget: int, model: Predicts) -> dict[str, Any]:
    """What one method reached, over its seeds.

    Parameters
    ----------
    model
        What a map is drawn with from the method's experiments.
    """
    by = scored_by(known.objective)
    found = map_errors(known, runs, budget, model) if by == "map error" else COUNTED[by](known, runs, budget)
    return {"scored_by": by, "seeds": len(runs), "budget": budget, **found, "cpu_ms": cpu_ms(runs)}


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


# -- a target ---------------------------------------------------------------------------------


def distances(known: Known, runs: Sequence[Run], budget: int) -> dict[str, Any]:
    """How soon the target was hit, and how near to it the runs came.

    A hit is a candidate inside the band; where none is, or the target is a value, one that nothing in the data is
    nearer than. What failed or breaks a limit counts as the farthest that counts.
    """
    import numpy as np

    good = merit(known)
    away = -np.maximum(good, good[good > -np.inf].min())
    hits = [evaluations_until(run, good == good.max()) for run in runs]
    curves = np.array([smallest_so_far(away[list(run.picks)], budget) for run in runs])
    return {
        "until_hit": censored_median(hits, budget),
        "hit": float(np.mean([h is not None for h in hits])),
        "distance": float(curves[:, -1].mean()),
        "distance_se": standard_error(curves[:, -1]),
        "distance_possible": float(away.min()),
        **way(curves),
    }


def smallest_so_far(away: Array, budget: int) -> Array:
    """Smallest distance after each evaluation; it stays where a run ended early."""
    import numpy as np

    found = np.minimum.accumulate(away)
    return np.concatenate([found, np.full(budget - len(found), found[-1])])


# -- a map ------------------------------------------------------------------------------------


def map_errors(known: Known, runs: Sequence[Run], budget: int, model: Predicts) -> dict[str, Any]:
    """How wrong the map is that a model draws from the experiments, over all candidates: root mean square error."""
    import numpy as np

    at = sorted({math.ceil(budget * i / LOOKS) for i in range(1, LOOKS + 1)})
    curves = np.array([[map_error(known, run.picks[:n], model, run.seed) for n in at] for run in runs])
    return {
        "error": float(curves[:, -1].mean()),
        "error_se": standard_error(curves[:, -1]),
        "sd_of_values": float(known.values[merit(known) > -np.inf].std()),
        "at": at,
        **way(curves),
    }


def map_error(known: Known, picks: Sequence[int], model: Predicts, seed: int) -> float:
    """Over all candidates with a value that keep the limits; with too little known for a model, that of the mean."""
    import numpy as np

    rows = np.flatnonzero(merit(known) > -np.inf)
    wanted, told = known.values[rows], [known.observation(i, row) for i, row in enumerate(picks, start=1)]
    if sum(o.value is not None for o in told) < FEWEST:
        return float(wanted.std())
    guess = model.predicted(known.space, known.objective, told, [known.pool[int(row)] for row in rows], seed)
    return float(np.sqrt(np.mean((guess - wanted) ** 2)))


COUNTED = {"top": tops, "hypervolume": volumes, "distance": distances}
