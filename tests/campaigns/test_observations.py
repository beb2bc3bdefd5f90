"""A history in columns says what the same history of objects says."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from campaigns.candidate import Candidate
from campaigns.observations import ROOM, Closed, Observations
from campaigns.optimizer import Measured, Objective, Observation, OutcomeLimit
from tests.campaigns.optimizers.random_cases import random_case
from tests.campaigns.optimizers.test_every_optimizer import HIGH, MIX, MIXED, observations

LIMITED = replace(HIGH, limits=(OutcomeLimit(quantity="viscosity", high=4.0),))


@pytest.mark.parametrize("seed", range(60))
def test_a_history_that_arrives_in_any_order_is_given_back_by_number(seed: int) -> None:
    case, rng = random_case(seed), random.Random(seed)
    told = list(case.history)
    rng.shuffle(told)
    held = Observations(case.space, case.objective)
    for observation in told:
        held.append(observation)
    assert list(held) == sorted(case.history, key=lambda o: o.number)
    assert [held.candidate(i) for i in range(len(held))] == [o.candidate for o in held]
    assert sum(held.times.values()) == len(case.history)


def test_a_long_one_finds_room() -> None:
    told = observations(MIXED, 2 * ROOM + 3)
    held = Observations.of(MIXED, HIGH, told)
    assert list(held) == told
    assert held[-1] == told[-1]
    assert held[3:6] == told[3:6]
    assert held.numbered(told[7].number) == told[7]
    assert held.numbered(10**6) is None
    with pytest.raises(IndexError):
        held[len(told)]


def test_what_is_held_so_already_is_handed_back() -> None:
    held = Observations.of(MIX, HIGH, observations(MIX, 5))
    assert Observations.of(replace(MIX), HIGH, held) is held
    assert Observations.of(MIX, LIMITED, held) is not held
    assert list(Observations.of(MIX, LIMITED, held)) == list(held)


@pytest.mark.parametrize(
    "strange",
    [
        {"candidate": Candidate({"A": Fraction(1, 3), "B": Fraction(2, 3)})},
        {"candidate": Candidate({"A": Fraction(1, 2), "Z": Fraction(1, 2)})},
        {"candidate": Candidate({"A": 1}, {"pressure": 3.0})},
        {"actual": {"A": 0.5, "water": 0.5}},
        {"others": {"colour": Measured(3.0, 0.1)}},
        {"value": None, "u": 0.1},
    ],
)
def test_what_columns_cannot_say_is_kept_as_it_is(strange: dict[str, object]) -> None:
    odd = replace(observations(MIX, 1)[0], **strange)  # type: ignore[arg-type]
    held = Observations.of(MIX, HIGH, [*(replace(o, number=o.number + 5) for o in observations(MIX, 3)), odd])
    assert held[0] == odd
    assert held.candidate(0) == odd.candidate
    assert held.only([odd.number])[0] == odd


def test_where_it_was_weighed_a_model_is_told_what_was_weighed() -> None:
    asked = Candidate({"A": Fraction(1, 2), "B": Fraction(1, 2)})
    one = Observation(number=1, candidate=asked, value=1.0)
    held = Observations.of(MIX, HIGH, [one, replace(one, number=2, actual={"A": 0.49, "B": 0.51})])
    assert held.made().tolist() == [[0.5, 0.5, 0.0, 0.0], [0.49, 0.51, 0.0, 0.0]]
    assert held.table().counts.tolist() == [[25.0, 25.0, 0.0, 0.0]] * 2
    assert held.times == {held.rows.key(asked): 2}


def test_some_of_them_are_a_history_of_their_own() -> None:
    told = observations(MIX, 12)
    held = Observations.of(MIX, HIGH, told)
    some = held.only([2, 5, 11])
    assert [o.number for o in some] == [2, 5, 11]
    some.append(replace(told[0], number=4))
    assert [o.number for o in some] == [2, 4, 5, 11]
    assert list(held) == told


def test_limits_are_broken_only_by_what_was_measured() -> None:
    one = observations(MIX, 1)[0]
    told = [replace(one, number=1), *(replace(one, number=n, others={"viscosity": Measured(float(n))}) for n in (4, 5))]
    held = Observations.of(MIX, LIMITED, told)
    assert held.keep(LIMITED.limits).tolist() == [True, True, False]
    assert np.isnan(held.values("viscosity")).tolist() == [True, False, False]


def test_blocks_are_counted_by_their_labels_where_there_are_several() -> None:
    one = observations(MIX, 1)[0]
    days = ["2026-02-02", None, "2026-02-01", "2026-02-02"]
    held = Observations.of(MIX, HIGH, [replace(one, number=n, block=day) for n, day in enumerate(days, 1)])
    assert held.blocks(np.arange(4)).tolist() == [1, -1, 0, 1]
    assert held.blocks(np.array([0, 3])).tolist() == [-1, -1]


def test_what_is_closed_was_made_or_is_under_way() -> None:
    closed = Closed({b"a": 2, b"b": 1}, [b"b", b"c"])
    closed.add(b"a")
    closed.add(b"d")
    assert (len(closed), sorted(closed)) == (4, [b"a", b"b", b"c", b"d"])
    assert b"c" in closed
    assert b"e" not in closed


def test_other_objectives_have_columns_too() -> None:
    several = replace(HIGH, others=(Objective(quantity="price", unit="", direction="minimize"),))
    told = [replace(o, others={"price": Measured(float(o.number), 0.5)}) for o in observations(MIX, 3)]
    held = Observations.of(MIX, several, told)
    assert held.values("price").tolist() == [1.0, 2.0, 3.0]
    assert held.u("price").tolist() == [0.5] * 3
    assert list(held) == told
