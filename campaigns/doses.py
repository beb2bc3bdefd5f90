"""The smallest doses that a campaign can come to ask for, held against what a doser can weigh in."""

from __future__ import annotations

import math
from collections.abc import Mapping

from campaigns.pool import Pool
from campaigns.space import CompositionSpace
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from materials_db.formula import molar_mass


def small_dose_fault(spec: Spec, doser: str, least_mg: float) -> Fault | None:
    """A batch so small that the smallest share of some component could not be weighed in; None at all is no dose.

    Parameters
    ----------
    doser
        The instrument that weighs in the smallest doses, and
    least_mg
        the smallest of these, mg.
    """
    composition, batch_mg = spec.space.composition, spec.recipe.batch
    if composition is None:
        return None
    shares = shares_in_list(spec.space.pool, composition) if spec.space.pool else least_shares(composition)
    name = min(shares, key=lambda n: shares[n])
    dose_mg = round(shares[name] * batch_mg, 6)  # as masses_mg rounds it
    if dose_mg >= least_mg:
        return None
    return Fault(
        message=f"the smallest share of {name} would be {dose_mg:.3g} mg, but {doser} weighs in {least_mg:g} mg or more",
        key="recipe.batch",
        value=shown(f"{batch_mg:g} mg"),
        hint=f'write batch = "{rounded_up(least_mg / shares[name]):.15g} mg" or more, or a larger step, or a larger min of {name}',
        code="LAB-0231",
    )


def least_shares(space: CompositionSpace) -> dict[str, float]:
    """The smallest mass fraction of each component that may be present; constraints may leave only larger ones."""
    most = {c.name: space.bounds(c)[1] for c in space.components}
    found = {}
    for component in space.components:
        name, others = component.name, {n: high for n, high in most.items() if n != component.name}
        if most[name]:
            least = max(space.bounds(component)[0], 1, space.steps - sum(others.values()))
            mine = least * mass_of(name, space)
            found[name] = mine / (mine + heaviest(space.steps - least, others, space))
    return found


def heaviest(steps: int, most: Mapping[str, int], space: CompositionSpace) -> float:
    """The most that so many steps of these components can weigh together."""
    total = 0.0
    for name in sorted(most, key=lambda n: mass_of(n, space), reverse=True):
        taken = min(steps, most[name])
        steps, total = steps - taken, total + taken * mass_of(name, space)
    return total


def shares_in_list(pool: Pool, space: CompositionSpace) -> dict[str, float]:
    """The smallest mass fraction of each component that some candidate of a list has."""
    import numpy as np

    masses = pool.counts * [mass_of(name, space) for name in space.names]
    shares = np.where(masses > 0, masses / masses.sum(axis=1, keepdims=True), np.inf).min(axis=0)
    return {name: float(share) for name, share in zip(space.names, shares, strict=True) if np.isfinite(share)}


def mass_of(name: str, space: CompositionSpace) -> float:
    """What a unit of a component weighs: a mole, or, where fractions are of mass, one of that."""
    return molar_mass(space.formulas[name]) if space.basis == "mole" else 1.0


def rounded_up(value: float) -> float:
    """A number that is no smaller, with three digits that count."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / digit - 1e-9) * digit
