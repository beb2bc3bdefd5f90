from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from campaigns.budget import (
    Cost,
    Limits,
    Used,
    add,
    affordable,
    exhausted,
    near_enough,
    nothing_to_gain,
    target_reached,
    weighed_money,
)
from campaigns.candidate import Candidate
from campaigns.optimizer import Measured, Objective, Observation, OutcomeLimit, Outlook

CONDUCTIVITY = Objective(quantity="ionic_conductivity", unit="mS/cm", direction="maximize", target=11.0)


def found(number: int, value: float | None) -> Observation:
    return Observation(number=number, candidate=Candidate(), value=value)


def test_the_last_experiment_of_the_budget_may_start_and_no_more() -> None:
    limits = Limits(experiments=30)
    assert exhausted(limits, Used(experiments=29)) is None
    assert exhausted(limits, Used(experiments=30)) == "budget of 30 experiments used"


def test_lab_time_counts_in_hours_for_people() -> None:
    assert exhausted(Limits(time_s=7200), Used(time_s=7200)) == "time budget of 2 h of lab time used"


def test_the_last_gram_is_not_promised_twice() -> None:
    limits = Limits(stock_mg={"LiPF6": 1000})
    cost = Cost(stock_mg={"LiPF6": 600})
    used = Used()
    assert affordable(limits, used, cost) is None
    used = add(used, cost)
    assert affordable(limits, used, cost) == "stock of LiPF6: 0.4 g left, the next experiment takes 0.6 g"


def test_money_that_was_not_weighed_in_comes_back() -> None:
    cost = Cost(money=7.0, stock_mg={"LiPF6": 100.0, "EC": 50.0}, price_per_mg={"LiPF6": 0.02, "EC": 0.0})
    assert weighed_money(cost, {"LiPF6": 110.0, "EC": 50.0}) == pytest.approx(7.2)
    assert weighed_money(cost, {}) == pytest.approx(5.0)  # nothing was dosed: what it costs beside stays
    assert weighed_money(Cost(money=7.0, stock_mg={"LiPF6": 100.0}), {}) == 7.0  # planned before prices were kept


def test_money_that_is_promised_is_not_promised_again() -> None:
    refusal = affordable(Limits(money=10), Used(money=9.5), Cost(money=0.6))
    assert refusal == "money budget of 10 EUR: 9.5 used or promised, the next takes 0.6"


def test_the_target_counts_for_either_direction() -> None:
    low = Objective(quantity="viscosity", unit="mPa*s", direction="minimize", target=2.0)
    assert target_reached(CONDUCTIVITY, [found(1, 10.9), found(2, None)]) is None
    assert target_reached(CONDUCTIVITY, [found(1, 10.9), found(2, 11.2)]) is not None
    assert target_reached(low, [found(1, 1.9)]) is not None


def test_a_campaign_stops_only_after_patience_with_small_promises() -> None:
    assert nothing_to_gain(0.1, 3, [None, 0.05, 0.05]) is None
    assert nothing_to_gain(0.1, 3, [0.5, 0.05, 0.05, 0.05]) is not None
    assert nothing_to_gain(None, 3, [0.0, 0.0, 0.0]) is None


BAND = Objective(quantity="k", unit="mS/cm", direction="maximize", goal="target", band=(12.0, 14.0))
POINT = Objective(quantity="k", unit="mS/cm", direction="maximize", goal="target", target=13.0)


def test_a_band_is_reached_inside_it_and_not_above() -> None:
    assert target_reached(BAND, [found(1, 11.9), found(2, 14.1)]) is None
    reached = target_reached(BAND, [found(1, 14.1), found(2, 14.0)])
    assert reached == "target of 12 to 14 mS/cm reached by experiment 2 (14 mS/cm)"


def test_a_single_value_is_hit_when_it_lies_within_the_doubt_of_the_measurement() -> None:
    near = Observation(number=1, candidate=Candidate(), value=13.2, u=0.1)
    assert target_reached(POINT, [near]) is None
    assert target_reached(POINT, [replace(near, u=0.25)]) is not None
    assert target_reached(POINT, [replace(near, u=None)]) is None
    assert target_reached(POINT, [replace(near, value=13.0, u=None)]) is not None


def test_what_reaches_the_target_keeps_all_limits() -> None:
    limited = replace(CONDUCTIVITY, limits=(OutcomeLimit(quantity="viscosity", high=4.0),))
    good = replace(found(1, 12.0), others={"viscosity": Measured(3.0)})
    assert target_reached(limited, [good]) is not None
    assert target_reached(limited, [replace(good, others={"viscosity": Measured(5.0)})]) is None
    assert target_reached(limited, [replace(good, others={})]) is None


@pytest.mark.parametrize("goal", ["many", "map"])
def test_a_campaign_that_collects_or_maps_is_not_over_with_one_hit(goal: Any) -> None:
    assert target_reached(replace(CONDUCTIVITY, goal=goal), [found(1, 12.0)]) is None


def test_the_best_possible_is_near_enough_with_the_stated_probability() -> None:
    outlook = Outlook(best=12.0, best_number=3, gain=0.1, left=tuple(i / 10 for i in range(10)))
    assert near_enough(0.5, 0.8, outlook, "mS/cm") is None
    assert near_enough(0.7, 0.8, outlook, "mS/cm") == (
        "with 80% probability the best possible is at most 0.7 mS/cm better than what was found"
    )
    assert outlook.distance(0.8) == 0.7
