"""Between fractions and milligrams: what to weigh in, and what was really made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from campaigns.candidate import Candidate
from materials_db.formula import molar_mass

Basis = Literal["mass", "mole"]


def mass_fractions(fractions: Mapping[str, float], formulas: Mapping[str, str], basis: Basis) -> dict[str, float]:
    """Mass fractions of a composition given in either basis."""
    if basis == "mass":
        return {name: float(f) for name, f in fractions.items()}
    masses = {name: float(f) * molar_mass(formulas[name]) for name, f in fractions.items()}
    total = sum(masses.values())
    return {name: m / total for name, m in masses.items()}


def masses_mg(candidate: Candidate, formulas: Mapping[str, str], basis: Basis, batch_mg: float) -> dict[str, float]:
    """Masses to weigh (mg, by component) so that one batch has the candidate's composition.

    Parameters
    ----------
    formulas
        Formula of each component; molar masses are needed for a mole basis only.
    batch_mg
        Mass of the whole batch, mg.
    """
    exact = {name: float(f) for name, f in candidate.fractions.items()}
    shares = mass_fractions(exact, formulas, basis)
    return {name: round(share * batch_mg, 6) for name, share in shares.items()}


def actual_fractions(
    masses: Mapping[str, tuple[float, float]], formulas: Mapping[str, str], basis: Basis
) -> dict[str, tuple[float, float]]:
    """What was really made: fraction and its standard uncertainty, by component.

    First-order propagation of independent weighing errors (JCGM 100:2008, 5.1.2): with
    amounts a_i = m_i / M_i (M = 1 for a mass basis) and x_i = a_i / A,
    u(x_i)^2 = sum_j ((delta_ij - x_i) / A)^2 u(a_j)^2.

    Parameters
    ----------
    masses
        Weighed mass and its standard uncertainty, mg, by component.
    """
    unit = {name: molar_mass(formulas[name]) if basis == "mole" else 1.0 for name in masses}
    amount = {name: max(0.0, m) / unit[name] for name, (m, _) in masses.items()}
    u = {name: du / unit[name] for name, (_, du) in masses.items()}
    total = sum(amount.values())
    if total <= 0:
        return {}
    share = {name: a / total for name, a in amount.items()}
    return {i: (share[i], math.sqrt(sum((((i == j) - share[i]) / total * u[j]) ** 2 for j in masses))) for i in masses}
