"""Where chemistry becomes physics: a candidate as instructions that instruments understand, limits checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from campaigns.candidate import Candidate, Setting
from campaigns.carried_out import StepSection
from campaigns.errors import RecipeError
from campaigns.spec import Spec
from campaigns.units import UnitError, conversion, quantity
from campaigns.weighing import masses_mg
from instruments.contract import Capability

MASSES = "masses_mg"  #: the parameter that a recipe fills from the composition


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation, with everything that its instrument will be told."""

    name: str
    capability: str
    instruments: tuple[str, ...]  #: any one of these
    params: Mapping[str, Any]
    hold_until: str | None = None

    def json(self) -> dict[str, Any]:
        """As it goes on record."""
        return {
            "name": self.name,
            "capability": self.capability,
            "instruments": list(self.instruments),
            "params": dict(self.params),
            "hold_until": self.hold_until,
        }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The physical instructions that make and test a candidate."""

    steps: tuple[Step, ...]

    @property
    def masses_mg(self) -> dict[str, float]:
        """Feedstock that it asks for, mg, by component."""
        found: dict[str, float] = {}
        for step in self.steps:
            for name, mg in step.params.get(MASSES, {}).items():
                found[name] = found.get(name, 0.0) + mg
        return found


def resolve(spec: Spec, candidate: Candidate, capabilities: Mapping[str, Sequence[Capability]]) -> Recipe:
    """The recipe of one candidate.

    Raises
    ------
    RecipeError
        No instrument has the capability, or a set-point lies outside its hard limits.
    """
    return Recipe(steps=tuple(resolve_step(spec, section, candidate, capabilities) for section in spec.recipe.steps))


def resolve_step(
    spec: Spec, section: StepSection, candidate: Candidate, capabilities: Mapping[str, Sequence[Capability]]
) -> Step:
    """One step for one candidate."""
    able = offering(section, capabilities)
    if not able:
        raise RecipeError(f"step {section.name!r}: no instrument offers {section.capability!r}")
    raw = {key: substituted(key, value, candidate.process, section.name, spec) for key, value in section.params.items()}
    fitting: list[tuple[str, dict[str, Any]]] = []
    refusals: dict[str, RecipeError] = {}
    for instrument, capability in able.items():
        try:
            fitting.append((instrument, parameters(capability, raw, spec, candidate)))
        except RecipeError as error:
            refusals[instrument] = error
    if not fitting:
        reasons = "; ".join(f"{instrument}: {error}" for instrument, error in refusals.items())
        raise RecipeError(f"step {section.name!r}: {reasons}", next(iter(refusals.values())).key)
    return Step(
        name=section.name,
        capability=section.capability,
        instruments=tuple(instrument for instrument, params in fitting if params == fitting[0][1]),
        params=fitting[0][1],
        hold_until=section.hold_until,
    )


def offering(section: StepSection, capabilities: Mapping[str, Sequence[Capability]]) -> dict[str, Capability]:
    """The instruments that can do this step, with the capability."""
    return {
        name: c
        for name, offered in capabilities.items()
        for c in offered
        if c.name == section.capability and section.instrument in (None, name)
    }


def substituted(key: str, value: Any, process: Mapping[str, Setting], step: str, spec: Spec) -> Any:
    """``"$temperature"`` is the candidate's setting of that name."""
    if not (isinstance(value, str) and value.startswith("$")):
        return value
    if value[1:] not in process:
        raise RecipeError(f"step {step!r}: {value!r} names no process parameter", key)
    return _Setting(process[value[1:]], spec.numeric_units.get(value[1:], ""))


@dataclass(frozen=True)
class _Setting:
    """A process setting, and the unit of its number."""

    value: Setting
    unit: str


def parameters(capability: Capability, raw: Mapping[str, Any], spec: Spec, candidate: Candidate) -> dict[str, Any]:
    """Parameters as the capability's model wants them, checked against its hard limits."""
    keys = parameter_keys(capability)
    found: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; it knows {', '.join(keys) or 'none'}"
            raise RecipeError(f"{capability.name} has no parameter {key!r}{hint}", key)
        field, unit = keys[key]
        found[field] = number(value, unit, key)
    if MASSES in capability.params_model.model_fields:
        composition = spec.space.composition
        if composition is None:
            raise RecipeError(f"{capability.name} weighs feedstock, but the campaign varies no composition")
        found[MASSES] = masses_mg(candidate, composition.formulas, composition.basis, spec.recipe.batch)
    try:
        return capability.params_model.model_validate(found).model_dump(mode="json")
    except ValidationError as error:
        first = dict(min(error.errors(include_url=False), key=lambda e: e["type"] == "missing"))
        raise RecipeError(limit_words(capability, first), parameter_key(capability, first)) from None


def parameter_keys(capability: Capability) -> dict[str, tuple[str, str]]:
    """The names that campaign files use -> field and unit."""
    keys: dict[str, tuple[str, str]] = {}
    for name, info in capability.params_model.model_fields.items():
        if name != MASSES:
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            keys[str(extra.get("key", name))] = (name, str(extra.get("unit", "")))
    return keys


def number(value: Any, unit: str, key: str) -> Any:
    """A parameter's value in the unit of its field."""
    if isinstance(value, _Setting):
        return setting(value, unit, key)
    if not unit or unit == "1":
        return value
    try:
        return quantity(value, unit)
    except UnitError as error:
        raise RecipeError(f"{key}: {error}", key) from None


def setting(value: _Setting, unit: str, key: str) -> Any:
    """A process setting in the unit of the field: hours of the campaign file as the seconds of an instrument."""
    if isinstance(value.value, str) and unit not in ("", "1"):  # a choice among quantities: "25 degC" or "40 degC"
        return number(value.value, unit, key)
    if not value.unit or isinstance(value.value, str):
        return value.value
    try:
        offset, factor = conversion(value.unit, unit)
    except UnitError as error:
        raise RecipeError(f"{key}: {error}", key) from None
    return value.value if (offset, factor) == (0.0, 1.0) else float(f"{offset + factor * value.value:.12g}")


def parameter_key(capability: Capability, error: Mapping[str, Any]) -> str:
    """The parameter that pydantic complains of, as the campaign file names it."""
    field = str(error["loc"][0]) if error["loc"] else ""
    return next((key for key, (name, _) in parameter_keys(capability).items() if name == field), "")


def limit_words(capability: Capability, error: Mapping[str, Any]) -> str:
    """A refused parameter in the words of a lab."""
    where = [str(part) for part in error["loc"]]
    key = parameter_key(capability, error)
    unit = parameter_keys(capability)[key][1] if key else ""
    if where[:1] == [MASSES]:
        key, unit = f"the mass of {where[1]}" if len(where) > 1 else "the masses", "mg"
    if error["type"] == "missing":
        return f"{key} is missing"
    context = error.get("ctx", {})
    unit = "" if unit == "1" else unit
    limit = next((f"{word} {context[c]:g} {unit}".rstrip() for c, word in LIMITS.items() if c in context), None)
    if limit:
        return f"{key} = {error['input']:g} {unit}".rstrip() + f" is outside the hard limits: {limit}"
    if error["type"] in NO_NUMBER:
        return f"{key} = {error['input']!r} is not {NO_NUMBER[error['type']]}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": ")


NO_NUMBER = {"float_parsing": "a number", "float_type": "a number", "int_type": "a whole number"}
NO_NUMBER |= dict.fromkeys(("int_parsing", "int_from_float"), "a whole number")
LIMITS = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}
