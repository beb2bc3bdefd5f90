"""Where two campaigns mean the same: units, bases and choices of an earlier one beside those of this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from campaigns.optimizer import Objective
from campaigns.parameters import CategoricalParameter, Parameter
from campaigns.space import CompositionSpace, Space
from campaigns.units import UnitError, conversion
from materials_db.formula import molar_mass


def unmatched(space: Space, objective: Objective, other: Space, deciding: Objective) -> Iterator[str]:
    """What an earlier campaign (`other`, `deciding`) and this one call the same and cannot be compared, in words."""
    if objective.quantity == deciding.quantity and change(deciding.unit, objective.unit) is None:
        yield differs(objective.quantity, deciding.unit, objective.unit)
    before = {p.name: p for p in other.process}
    for p in space.process:
        if (old := before.get(p.name)) is not None and matched(p, old) is None:
            yield differs(p.name, kind(old), kind(p))
    if space.composition and other.composition and (missing := without_formula(space.composition, other.composition)):
        one, two = other.composition.basis, space.composition.basis
        yield f"fractions are by {one} there and by {two} here, and there is no formula of {', '.join(missing)}"


def differs(name: str, there: str, here: str) -> str:
    """One thing that is told in two ways."""
    return f"{name} is told in {there or 'plain numbers'} there and in {here or 'plain numbers'} here"


def kind(parameter: Parameter) -> str:
    """In what the settings of a parameter are told."""
    return "choices" if isinstance(parameter, CategoricalParameter) else parameter.unit


def change(written: str, unit: str) -> tuple[float, float] | None:
    """Offset and factor from one unit to the other; None where they are of different kinds."""
    try:
        return conversion(written, unit)
    except UnitError:
        return None


def matched(parameter: Parameter, old: Parameter) -> Any:
    """How this campaign's settings become the earlier one's; None where they cannot.

    Offset and factor of numbers; of choices the place of each among the earlier ones, -1 where it was none of them.
    """
    if isinstance(parameter, CategoricalParameter) and isinstance(old, CategoricalParameter):
        return tuple(old.choices.index(c) if c in old.choices else -1 for c in parameter.choices)
    if isinstance(parameter, CategoricalParameter) or isinstance(old, CategoricalParameter):
        return None
    return change(parameter.unit, old.unit)


def without_formula(here: CompositionSpace, there: CompositionSpace) -> list[str]:
    """Components of both that are told in two bases, and have no formula to convert them by."""
    if here.basis == there.basis:
        return []
    return [n for n in here.names if n in there.names and not (here.formulas.get(n) or there.formulas.get(n))]


def amounts(here: CompositionSpace, there: CompositionSpace) -> list[float]:
    """By what each share of this composition is multiplied to be told in the other's basis, 0 where that has none of it.

    The products must be brought to a sum of 1 where they are not.
    """
    if here.basis == there.basis or without_formula(here, there):
        return [float(n in there.names) for n in here.names]
    masses = {n: molar_mass(here.formulas.get(n) or there.formulas[n]) for n in here.names if n in there.names}
    return [(masses[n] if here.basis == "mole" else 1 / masses[n]) if n in masses else 0.0 for n in here.names]
