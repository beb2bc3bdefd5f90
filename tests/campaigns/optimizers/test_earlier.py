"""What an earlier campaign is asked about this one's candidates: in its own units, basis, components and choices."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from campaigns.likeness import unmatched
from campaigns.optimizer import Objective
from campaigns.optimizers.earlier import translation
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter, Parameter
from campaigns.space import Component, CompositionSpace, Space

WATER, SALT = 18.015, 58.443


def space(
    formulas: dict[str, str], *process: Parameter, basis: Literal["mass", "mole"] = "mass", step: str = "0.01"
) -> Space:
    parts = tuple(Component(name=n, formula=f) for n, f in formulas.items())
    composition = CompositionSpace(components=parts, basis=basis, step=Fraction(step)) if parts else None
    return Space(composition=composition, process=process)


def told(here: Space, there: Space, row: list[float]) -> list[float]:
    translate = translation(here, there)
    assert translate is not None
    return [float(x) for x in translate(np.array([row]))[0]]


def test_settings_are_asked_in_the_earlier_campaigns_unit() -> None:
    here = space(
        {}, FloatParameter(name="T", low=300, high=400, unit="K"), FloatParameter(name="t", low=0, high=2, unit="h")
    )
    there = space(
        {}, FloatParameter(name="t", low=0, high=90, unit="min"), FloatParameter(name="T", low=0, high=99, unit="degC")
    )
    assert told(here, there, [350.0, 1.5]) == pytest.approx([90.0, 76.85])


def test_whole_numbers_and_numbers_on_a_scale_are_the_same_setting() -> None:
    here = space({}, IntegerParameter(name="n", low=1, high=5))
    assert told(here, space({}, FloatParameter(name="n", low=0, high=9)), [4.0]) == [4.0]


def test_choices_are_matched_by_name_and_a_new_one_is_none_of_the_old() -> None:
    here = space({}, CategoricalParameter(name="gas", choices=("Ar", "air", "N2")))
    there = space({}, CategoricalParameter(name="gas", choices=("N2", "Ar", "O2")))
    assert [told(here, there, [i])[0] for i in (0.0, 1.0, 2.0)] == [1.0, -1.0, 0.0]


def test_fractions_are_asked_in_the_earlier_campaigns_basis() -> None:
    here, there = space({"a": "NaCl", "b": "H2O"}), space({"b": "H2O", "a": "NaCl"}, basis="mole")
    salt, water = 0.25 / SALT, 0.75 / WATER
    assert told(here, there, [0.25, 0.75]) == pytest.approx([water / (salt + water), salt / (salt + water)], rel=1e-4)
    assert told(there, here, [0.5, 0.5]) == pytest.approx([SALT / (SALT + WATER), WATER / (SALT + WATER)], rel=1e-4)


def test_a_component_that_the_earlier_campaign_never_had_is_none_there_and_the_others_fill_the_whole() -> None:
    here, there = space({"a": "NaCl", "b": "H2O", "c": "KCl"}), space({"a": "NaCl", "d": "KBr", "b": "H2O"})
    assert told(here, there, [0.2, 0.6, 0.2]) == pytest.approx([0.25, 0.0, 0.75])
    assert told(here, there, [0.0, 0.0, 1.0]) == [0.0, 0.0, 0.0]


def test_equal_spaces_are_asked_as_they_are() -> None:
    mix = space({"a": "NaCl", "b": "H2O"}, FloatParameter(name="T", low=0, high=9, unit="degC"))
    assert told(mix, mix, [0.1, 0.9, 1 / 3]) == [0.1, 0.9, 1 / 3]
    assert translation(mix, space({"x": "KCl", "y": "KBr"})) is None


def test_what_cannot_be_compared_is_told() -> None:
    high, other = (Objective(quantity="sigma", unit=u, direction="maximize") for u in ("S/cm", "GPa"))
    here = space(
        {"a": "", "b": "H2O"},
        FloatParameter(name="T", low=0, high=9, unit="K"),
        CategoricalParameter(name="gas", choices=("x", "y")),
    )
    there = space(
        {"a": "", "b": "H2O"},
        FloatParameter(name="T", low=0, high=9, unit="h"),
        FloatParameter(name="gas", low=0, high=1),
        basis="mole",
    )
    assert list(unmatched(here, high, there, other)) == [
        "sigma is told in GPa there and in S/cm here",
        "T is told in h there and in K here",
        "gas is told in plain numbers there and in choices here",
        "fractions are by mole there and by mass here, and there is no formula of a",
    ]
    assert list(unmatched(here, high, here, Objective(quantity="sigma", unit="mS/cm", direction="maximize"))) == []
