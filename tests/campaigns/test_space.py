from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.candidate import Candidate
from campaigns.errors import SpaceError
from campaigns.optimizers.grid import _at
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter, values
from campaigns.pool import allowed_codes
from campaigns.space import Component, CompositionSpace, LinearConstraint, Space
from tests.strategies import composition_spaces


def part(name: str, low: float = 0, high: float = 1) -> Component:
    return Component(name=name, formula=name, low=Fraction(str(low)), high=Fraction(str(high)))


@settings(deadline=None)
@given(composition_spaces(), st.integers(0, 10**6))
def test_every_draw_can_be_weighed_and_sums_to_one_exactly(space: CompositionSpace, seed: int) -> None:
    counts = space.draw(random.Random(seed))
    if counts is None:
        return
    fractions = space.fractions(counts)
    assert sum(fractions.values()) == 1
    assert space.problems(fractions) == []
    assert all((f / space.step).denominator == 1 for f in fractions.values())


@settings(deadline=None, max_examples=30)
@given(composition_spaces(), st.integers(0, 10**6))
def test_every_neighbour_is_in_the_space(space: CompositionSpace, seed: int) -> None:
    counts = space.draw(random.Random(seed))
    for moved in space.neighbours(counts) if counts else []:
        assert space.problems(space.fractions(moved)) == []


def test_a_small_space_is_listed_whole() -> None:
    space = CompositionSpace(components=(part("A"), part("B"), part("C")), step=Fraction(1, 4))
    found = space.enumerate(1000)
    assert found is not None
    assert len(found) == len(set(found)) == space.count() == 15
    assert all(space.allows(c) for c in found)
    assert space.enumerate(14) is None


@pytest.mark.parametrize(
    ("components", "options", "reason"),
    [
        ((part("A", 0.6), part("B", 0.6)), {}, "smallest fractions already sum to 1.2"),
        ((part("A", 0, 0.3), part("B", 0, 0.3)), {}, "largest fractions only sum to 0.6"),
        ((part("A"), part("B")), {"step": Fraction(3, 100)}, "does not divide 1"),
        ((part("A"), part("A")), {}, "named twice"),
        ((part("A"), part("B")), {"balance": "C"}, "'C' is not a component"),
        ((part("A", 0.1), part("B", 0.1), part("C", 0.1)), {"max_present": 2}, "must always be present"),
        ((part("A", 0.121, 0.129), part("B")), {}, "no multiple of 0.01"),
        ((), {}, "at least one component"),
    ],
)
def test_an_impossible_space_says_why(
    components: tuple[Component, ...], options: dict[str, object], reason: str
) -> None:
    with pytest.raises(SpaceError, match=reason):
        CompositionSpace(components=components, **options)  # type: ignore[arg-type]


def test_constraints_that_exclude_everything_are_named() -> None:
    never = LinearConstraint(name="more A than there is", coefficients={"A": Fraction(1)}, low=Fraction(2))
    with pytest.raises(SpaceError, match="more A than there is"):
        Space(composition=CompositionSpace(components=(part("A"), part("B")), constraints=(never,)))


def test_a_bound_that_is_met_to_the_last_digit_is_met() -> None:
    third = LinearConstraint(name="A at most 0.3", coefficients={"A": Fraction(1)}, high=Fraction("0.3"))
    space = CompositionSpace(components=(part("A"), part("B")), step=Fraction(1, 10), constraints=(third,))
    assert space.allows((3, 7))
    assert not space.allows((4, 6))


def test_at_most_k_components_are_present() -> None:
    space = CompositionSpace(components=tuple(part(n) for n in "ABCDE"), max_present=2)
    rng = random.Random(1)
    drawn = [space.draw(rng) for _ in range(100)]
    assert all(counts is not None and sum(n > 0 for n in counts) <= 2 for counts in drawn)


def test_settings_are_drawn_on_their_grid() -> None:
    space = Space(
        process=(
            FloatParameter(name="temperature", low=20, high=60, unit="degC", step=2.5),
            IntegerParameter(name="cycles", low=1, high=5),
            CategoricalParameter(name="gas", choices=("Ar", "N2")),
        )
    )
    rng = random.Random(3)
    for _ in range(200):
        candidate = space.draw(rng)
        assert candidate is not None
        assert space.problems(candidate) == []


def test_shares_that_do_not_sum_to_one_are_no_candidate() -> None:
    with pytest.raises(ValueError, match="sum to 0.9"):
        Candidate({"A": Fraction(9, 10)})


@pytest.mark.parametrize("unit", [1e-13, 1e-20, 1e-300])
@pytest.mark.parametrize("step", [None, 0.5])
def test_a_range_of_tiny_numbers_keeps_its_settings(unit: float, step: float | None) -> None:
    p = FloatParameter(name="dose", low=1 * unit, high=5 * unit, step=None if step is None else step * unit)
    shares = np.array([0.0, 0.3, 0.55, 1.0])
    found = [p.at(s) for s in shares]
    assert len(set(found)) == 4
    assert list(_at(p, shares)) == found
    assert [p.problem(v) for v in found] == [None] * 4
    assert allowed_codes(p, np.array(found)).all()
    assert "outside" in str(p.problem(6 * unit))
    if step is not None:
        assert len(values(p) or []) == 9
        assert "not on its grid" in str(p.problem(1.25 * unit))
        assert not allowed_codes(p, np.array([1.25 * unit, 6 * unit])).any()


def test_an_ordinary_range_is_rounded_to_twelve_decimals_as_ever() -> None:
    for low, high in [(0.0, 1.0), (1e-3, 5e-3), (20.0, 900.0), (-1e300, 1e300)]:
        assert FloatParameter(name="x", low=low, high=high).digits == 12


def test_mandatory_components_take_places_of_those_that_may_be_present() -> None:
    """Al is always there with at most 0.3; only one of the others fits beside it."""
    parts = (
        Component(name="Al", formula="Al", low=Fraction(1, 10), high=Fraction(3, 10)),
        Component(name="Cu", formula="Cu", high=Fraction(6, 10)),
        Component(name="Mg", formula="Mg", high=Fraction(6, 10)),
    )
    loose = LinearConstraint(name="loose", coefficients={"Cu": Fraction(1)}, high=Fraction(9, 10))
    with pytest.raises(SpaceError, match="of the 2 components that may be present only sum to 0.9"):
        CompositionSpace(components=parts, step=Fraction(1, 20), max_present=2, constraints=(loose,))
