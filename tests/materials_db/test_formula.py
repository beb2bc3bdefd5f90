from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from pymatgen.core import Composition

from materials_db.errors import FormulaError
from materials_db.formula import Formula, molar_mass
from tests.strategies import formulas

TRAPS = [
    ("NaCl 2H2O", "space"),
    ("FE2O3", "Fe2O3"),
    ("Xx2O3", "Xx"),
    ("X", "not an element"),
    ("D2O", "deuterium"),
    ("T2", "tritium"),
    ("", "empty"),
    ("   ", "empty"),
    ("LaMnO3-d", "open amounts"),
    ("LaMnO3-δ", "open amounts"),
    ("3-d", "begins with an element"),
    ("Fe2O3+", "charges"),
    ("Fe0", "amount of 0"),
    ("nacl", "NaCl"),
    ("Fe(", "missing"),
    ("Fe()2", "between the brackets"),
    ("Fe)", "closes nothing"),
    ("2H2O", "begins with an element"),
    ("CuSO4.5H2O", "decimal or a hydrate"),
    ("(CuSO4.5H2O)2", "decimal or a hydrate"),
    ("[CuSO4.5H2O]", "decimal or a hydrate"),
    ("MgCl2.6NH3", "decimal or a hydrate"),
    ("CuSO4.5(H2O)", "decimal or a hydrate"),
    ("CuSO4·5 H2O", "CuSO4·5H2O"),
    ("CuSO4.5 H2O", "CuSO4·5H2O"),
    ("CuSO4 · 5 H2O", "CuSO4·5H2O"),
    ("Fe٣O", "does not belong"),
    ("NaCl.2H2O", "full stop"),
    ("Fe1e5", "capital"),
    ("Fe,O", "does not belong"),
    ("Fe9999999", "believable"),
    ("CuSO4·", "beside the dot"),
    ("·5H2O", "beside the dot"),
    ("Q2", "not an element"),
    ("H" * 300, "characters long"),
    ("=1+1", "does not belong"),
    ("Fe\nO", "space"),
    ("Lix", "open amount"),
]


@pytest.mark.parametrize(("text", "reason"), TRAPS)
def test_what_is_no_plain_formula_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason.replace("(", r"\(")):
        Formula.parse(text)


@pytest.mark.parametrize(
    "amounts",
    [
        {"Fe": float("nan")},
        {"Fe": 0},
        {},
        {"Fe": True},
        {"Fe": float("inf")},
        {"Fe": "1"},
        {"Zz": 1},
        {1: 2},
        {"Fe": -1},
    ],
)
def test_amounts_that_are_no_amounts_are_refused(amounts: dict[str, Any]) -> None:
    with pytest.raises(FormulaError):
        Formula.of(amounts)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("LiPF6", {"Li": 1, "P": 1, "F": 6}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4*5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("MgSO4·0.5H2O", {"Mg": 1, "S": 1, "O": Fraction(9, 2), "H": 1}),
        ("K4[Fe(CN)6]", {"K": 4, "Fe": 1, "C": 6, "N": 6}),
        ("H₂O", {"H": 2, "O": 1}),
        ("La0.7Sr0.3MnO3", {"La": Fraction(7, 10), "Sr": Fraction(3, 10), "Mn": 1, "O": 3}),
        ("CO", {"C": 1, "O": 1}),
        ("Co", {"Co": 1}),
        ("No", {"No": 1}),
    ],
)
def test_formulas_mean_what_chemists_mean(text: str, amounts: dict[str, Any]) -> None:
    assert Formula.parse(text).amounts == amounts


@given(formulas())
def test_a_hydrate_is_the_salt_and_its_water(text: str) -> None:
    salt = Formula.parse(text).amounts
    water = {"H": salt.get("H", 0) + 10, "O": salt.get("O", 0) + 5}
    assert Formula.parse(f"{text}·5H2O").amounts == {**salt, **water}


@settings(deadline=None)
@given(formulas())
def test_it_agrees_with_pymatgen_where_pymatgen_is_right(text: str) -> None:
    ours, theirs = Formula.parse(text), Composition(text)
    assert {s: float(a) for s, a in ours.amounts.items()} == pytest.approx(theirs.get_el_amt_dict())
    assert ours.molar_mass == pytest.approx(float(theirs.weight), rel=1e-9)


def test_lithium_salt_weighs_what_the_bottle_says() -> None:
    assert molar_mass("LiPF6") == pytest.approx(151.905, abs=0.002)


def test_reading_a_formula_imports_nothing_heavy() -> None:
    code = "import sys; from materials_db.formula import Formula; Formula.parse('LiPF6'); print('pymatgen' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
