from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.candidate import Candidate
from campaigns.weighing import actual_fractions, masses_mg
from materials_db.formula import molar_mass

FORMULAS = {"LiPF6": "LiPF6", "EC": "C3H4O3", "EMC": "C4H8O3"}
CANDIDATE = Candidate({"LiPF6": Fraction(1, 10), "EC": Fraction(3, 10), "EMC": Fraction(6, 10)})


def test_masses_of_a_batch_by_mass() -> None:
    assert masses_mg(CANDIDATE, FORMULAS, "mass", 6000) == {"EC": 1800.0, "EMC": 3600.0, "LiPF6": 600.0}


def test_masses_of_a_batch_by_mole_keep_the_mole_ratio() -> None:
    masses = masses_mg(CANDIDATE, FORMULAS, "mole", 6000)
    assert sum(masses.values()) == pytest.approx(6000, abs=1e-4)
    moles = {n: m / molar_mass(FORMULAS[n]) for n, m in masses.items()}
    assert moles["EMC"] / moles["LiPF6"] == pytest.approx(6, rel=1e-6)


@given(st.sampled_from(["mass", "mole"]), st.floats(100, 20000))
def test_weighing_in_exactly_gives_back_the_composition(basis: str, batch: float) -> None:
    masses = {n: (m, 0.1) for n, m in masses_mg(CANDIDATE, FORMULAS, basis, batch).items()}  # type: ignore[arg-type]
    actual = actual_fractions(masses, FORMULAS, basis)  # type: ignore[arg-type]
    assert {n: f for n, (f, _) in actual.items()} == pytest.approx(
        {n: float(f) for n, f in CANDIDATE.fractions.items()}, abs=1e-6
    )


def test_the_stated_uncertainty_is_the_scatter_of_many_weighings() -> None:
    rng = random.Random(5)
    truth = {"LiPF6": 600.0, "EC": 1800.0, "EMC": 3600.0}
    found = [
        actual_fractions({n: (m + rng.gauss(0, 5.0), 5.0) for n, m in truth.items()}, FORMULAS, "mole")["EC"]
        for _ in range(4000)
    ]
    mean = sum(f for f, _ in found) / len(found)
    scatter = (sum((f - mean) ** 2 for f, _ in found) / len(found)) ** 0.5
    assert found[0][1] == pytest.approx(scatter, rel=0.06)


def test_an_empty_vial_has_no_composition() -> None:
    assert actual_fractions({"EC": (0.0, 0.1)}, FORMULAS, "mass") == {}
