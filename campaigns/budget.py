"""When to stop: budgets, targets, and nothing left to gain. Pure decisions over plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from campaigns.optimizer import Objective, Observation


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a campaign may use up. None means no limit."""

    experiments: int | None = None
    time_s: float | None = None  #: lab time since launch
    money: float | None = None
    stock_mg: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Used:
    """What it has used up, with what is in flight counted as asked for."""

    experiments: int = 0
    time_s: float = 0.0
    money: float = 0.0
    stock_mg: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one more experiment will take."""

    money: float = 0.0
    stock_mg: Mapping[str, float] = field(default_factory=dict)


def exhausted(limits: Limits, used: Used) -> str | None:
    """Which limit forbids another experiment of any kind; None while none does."""
    if limits.experiments is not None and used.experiments >= limits.experiments:
        return f"budget of {limits.experiments} experiments used"
    if limits.time_s is not None and used.time_s >= limits.time_s:
        return f"time budget of {limits.time_s / 3600:.4g} h of lab time used"
    if limits.money is not None and used.money >= limits.money:
        return f"money budget of {limits.money:.6g} used"
    return None


def affordable(limits: Limits, used: Used, cost: Cost) -> str | None:
    """Why this experiment cannot be paid for; None when it can. Called before each one starts."""
    if limits.money is not None and used.money + cost.money > limits.money:
        return f"money budget of {limits.money:.6g}: {used.money:.6g} used or promised, the next takes {cost.money:.3g}"
    for name, need in cost.stock_mg.items():
        limit = limits.stock_mg.get(name)
        if limit is not None and used.stock_mg.get(name, 0.0) + need > limit:
            left = limit - used.stock_mg.get(name, 0.0)
            return f"stock of {name}: {left / 1000:.4g} g left, the next experiment takes {need / 1000:.4g} g"
    return None


def add(used: Used, cost: Cost) -> Used:
    """What will have been used once this experiment is made."""
    names = {*used.stock_mg, *cost.stock_mg}
    return Used(
        experiments=used.experiments + 1,
        time_s=used.time_s,
        money=used.money + cost.money,
        stock_mg={n: used.stock_mg.get(n, 0.0) + cost.stock_mg.get(n, 0.0) for n in names},
    )


def target_reached(objective: Objective, history: Sequence[Observation]) -> str | None:
    """The experiment that reached the target, in words; None when there is no target or none did."""
    if objective.target is None:
        return None
    sign = 1 if objective.direction == "maximize" else -1
    for o in sorted(history, key=lambda o: o.number):
        if o.value is not None and sign * o.value >= sign * objective.target:
            return (
                f"target of {objective.target:g} {objective.unit} reached"
                f" by experiment {o.number} ({o.value:.4g} {objective.unit})"
            )
    return None


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
