"""When to stop: budgets, targets, and nothing left to gain. Pure decisions over plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from campaigns.optimizer import Objective, Observation, Outlook


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a campaign may use up. None means no limit."""

    experiments: int | None = None
    time_s: float | None = None  #: lab time since the first experiment was planned
    money: float | None = None
    stock_mg: Mapping[str, float] = field(default_factory=dict)
    instrument_s: Mapping[str, float] = field(default_factory=dict)  #: by capability


@dataclass(frozen=True, kw_only=True)
class Used:
    """What it has used up, with what is in flight counted as asked for."""

    experiments: int = 0
    time_s: float = 0.0
    money: float = 0.0
    stock_mg: Mapping[str, float] = field(default_factory=dict)
    instrument_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one more experiment will take."""

    money: float = 0.0
    stock_mg: Mapping[str, float] = field(default_factory=dict)
    instrument_s: Mapping[str, float] = field(default_factory=dict)  #: where limited; nothing where mates have paid
    price_per_mg: Mapping[str, float] = field(default_factory=dict)  #: at which the feedstock was reckoned


def weighed_money(cost: Cost, drawn_mg: Mapping[str, float]) -> float:
    """What an experiment has cost once it is known what was really taken out of the bottles."""
    more = (cost.price_per_mg[name] * (drawn_mg.get(name, 0.0) - mg) for name, mg in cost.stock_mg.items())
    return cost.money + (sum(more) if cost.price_per_mg else 0.0)


def exhausted(limits: Limits, used: Used) -> str | None:
    """Which limit forbids another experiment of any kind; None while none does."""
    if limits.experiments is not None and used.experiments >= limits.experiments:
        return f"budget of {limits.experiments} experiments used"
    if limits.time_s is not None and used.time_s >= limits.time_s:
        return f"time budget of {limits.time_s / 3600:.4g} h of lab time used"
    if limits.money is not None and used.money >= limits.money:
        return f"money budget of {limits.money:.6g} EUR used"
    return None


def affordable(limits: Limits, used: Used, cost: Cost) -> str | None:
    """Why this experiment cannot be paid for; None when it can. Called before each one starts."""
    if limits.money is not None and used.money + cost.money > limits.money:
        known = f"{used.money:.6g} used or promised, the next takes {cost.money:.3g}"
        return f"money budget of {limits.money:.6g} EUR: {known}"
    for name, need in cost.stock_mg.items():
        limit = limits.stock_mg.get(name)
        if limit is not None and used.stock_mg.get(name, 0.0) + need > limit:
            left = limit - used.stock_mg.get(name, 0.0)
            return f"stock of {name}: {left / 1000:.4g} g left, the next experiment takes {need / 1000:.4g} g"
    for name, need in cost.instrument_s.items():
        limit, already = limits.instrument_s[name], used.instrument_s.get(name, 0.0)
        if already + need > limit:
            return (
                f"instrument time for {name}: {already / 3600:.3g} of {limit / 3600:.3g} h used or promised,"
                f" the next experiment takes {need / 3600:.3g} h"
            )
    return None


def add(used: Used, cost: Cost) -> Used:
    """What will have been used once this experiment is made."""
    return Used(
        experiments=used.experiments + 1,
        time_s=used.time_s,
        money=used.money + cost.money,
        stock_mg=summed(used.stock_mg, cost.stock_mg),
        instrument_s=summed(used.instrument_s, cost.instrument_s),
    )


def standing(limits: Limits, used: Used) -> list[str]:
    """What is used or promised of what is limited by more than time and number, in words."""
    found = [f"{used.money:.6g} of {limits.money:.6g} EUR"] if limits.money is not None else []
    found += [
        f"{used.stock_mg.get(n, 0.0) / 1000:.4g} of {mg / 1000:.4g} g of {n}" for n, mg in limits.stock_mg.items()
    ]
    hours = {n: (used.instrument_s.get(n, 0.0) / 3600, s / 3600) for n, s in limits.instrument_s.items()}
    return [*found, *(f"{took:.3g} of {all_:.3g} h of {n}" for n, (took, all_) in hours.items())]


def summed(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """By name."""
    return {n: a.get(n, 0.0) + b.get(n, 0.0) for n in {*a, *b}}


def target_reached(objective: Objective, history: Sequence[Observation]) -> str | None:
    """The experiment that has what is wanted, in words; None when none has, or when no single one could.

    With the goal "best" the target is a threshold. With the goal "target" a value inside
    the band is a hit. Where one value is aimed at instead, a measurement is a hit when the
    target lies within its standard uncertainty: when it is no further away than the doubt
    about it. A measurement that states no uncertainty must then be exact, and a coarse one
    hits easily: who knows a tolerance states a band. Whatever reaches the target must keep
    all limits. Campaigns that collect or map ("many", "map") do not end here.
    """
    if objective.goal in ("many", "map") or (objective.target is None and objective.band is None):
        return None
    for o in sorted(history, key=lambda o: o.number):
        if o.value is not None and hits(objective, o.value, o.u) and keeps_limits(objective, o):
            return (
                f"target of {aim(objective)} {objective.unit} reached"
                f" by experiment {o.number} ({o.value:.4g} {objective.unit})"
            )
    return None


def hits(objective: Objective, value: float, u: float | None) -> bool:
    """Whether a value is what is wanted; see `target_reached`."""
    if objective.band is not None:
        return objective.band[0] <= value <= objective.band[1]
    if objective.target is None:
        return False
    if objective.goal == "target":
        return abs(value - objective.target) <= (u or 0.0)
    return value >= objective.target if objective.direction == "maximize" else value <= objective.target


def keeps_limits(objective: Objective, o: Observation) -> bool:
    """Whether all limits are known to be kept: what was not measured counts as broken."""
    known = [(limit, o.measured(limit.quantity, objective.quantity)) for limit in objective.limits]
    return all(found is not None and limit.kept_by(found.value) for limit, found in known)


def aim(objective: Objective) -> str:
    """Target or band as people say it."""
    if objective.band is not None:
        return f"{objective.band[0]:g} to {objective.band[1]:g}"
    return f"{objective.target:g}"


def nothing_to_gain(threshold: float | None, patience: int, gains: Sequence[float | None]) -> str | None:
    """Whether the last `patience` proposals all promised less than `threshold`.

    Parameters
    ----------
    gains
        Expected improvement of each proposal in order; None for those of the initial design.
    """
    if threshold is None or len(gains) < patience:
        return None
    last = gains[-patience:]
    if all(g is not None and g < threshold for g in last):
        return f"the last {patience} proposals each promised an improvement below {threshold:g}"
    return None


def near_enough(within: float, probability: float, outlook: Outlook, unit: str) -> str | None:
    """Whether the best possible is hardly better than what was found, in words; None when it may well be."""
    sure = outlook.within(within)
    if sure < probability:
        return None
    return f"with {sure:.0%} probability the best possible is at most {within:g} {unit} better than what was found"
