"""Where chemistry becomes physics: a candidate as instructions that instruments understand, limits checked."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from campaigns.candidate import Candidate, Setting
from campaigns.carried_out import StepSection
from campaigns.errors import RecipeError
from campaigns.parameters import CategoricalParameter, FloatParameter
from campaigns.space import CompositionSpace, Space
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from campaigns.units import UnitError, conversion, convertible, quantity
from campaigns.weighing import masses_mg
from instruments.contract import Capability
from materials_db.formula import Formula

MASSES = "masses_mg"  #: the parameter that a recipe fills from the composition
TRIED = 64  #: candidates on which a recipe is tried when a campaign is validated
TRIED_OF_LIST = 5000  #: candidates of a list up to which each is tried


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
    raw = {name: substituted(value, candidate.process, section.name, spec) for name, value in section.params.items()}
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


def substituted(value: Any, process: Mapping[str, Setting], step: str, spec: Spec) -> Any:
    """``"$temperature"`` is the candidate's setting of that name."""
    if not (isinstance(value, str) and value.startswith("$")):
        return value
    if value[1:] not in process:
        raise RecipeError(f"step {step!r}: {value!r} names no process parameter")
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
        found[field] = number(value, unit, key, spec)
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


def number(value: Any, unit: str, key: str, spec: Spec) -> Any:
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
    limit = next((f"{word} {context[c]:g} {unit}".rstrip() for c, word in LIMITS.items() if c in context), None)
    if limit:
        return f"{key} = {error['input']:g} {unit}".rstrip() + f" is outside the hard limits: {limit}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": ")


LIMITS = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}


def check_against_lab(
    spec: Spec, capabilities: Mapping[str, Sequence[Capability]], stock: Mapping[str, str]
) -> list[Fault]:
    """Everything about the campaign that this lab cannot do, before anything is started.

    Parameters
    ----------
    stock
        Formula of what is in each bottle, by the bottle's name.
    """
    return [
        *(f for i, section in enumerate(spec.recipe.steps) if (f := step_fault(i, section, capabilities))),
        *stock_faults(spec, stock, capabilities),
        *measure_faults(spec, capabilities),
        *unit_faults(spec, capabilities),
        *limit_faults(spec, capabilities),
    ]


def step_fault(i: int, section: StepSection, capabilities: Mapping[str, Sequence[Capability]]) -> Fault | None:
    """A capability or instrument that the lab has not."""
    key = f"recipe.steps[{i}]"
    if section.instrument is not None and section.instrument not in capabilities:
        return Fault(
            message=f"there is no instrument {section.instrument!r} in this lab",
            key=f"{key}.instrument",
            value=shown(section.instrument),
            hint=nearest(section.instrument, capabilities),
            code="LAB-0230",
        )
    if section.instrument is not None and not offering(section, capabilities):
        return Fault(
            message=f"{section.instrument} does not offer {section.capability!r}",
            key=f"{key}.capability",
            value=shown(section.capability),
            hint=f"it offers {', '.join(sorted(c.name for c in capabilities[section.instrument]))}",
            code="LAB-0230",
        )
    if not offering(section, capabilities):
        offered = sorted({c.name for some in capabilities.values() for c in some})
        return Fault(
            message=f"no instrument of this lab offers {section.capability!r}",
            key=f"{key}.capability",
            value=shown(section.capability),
            hint=nearest(section.capability, offered),
            code="LAB-0230",
        )
    return None


def nearest(name: str, known: Collection[str]) -> str:
    """What may have been meant, else all there is."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"


def stock_faults(spec: Spec, stock: Mapping[str, str], capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Components that are on no shelf, or are another substance there, when some step weighs them."""
    weighs = any(
        MASSES in c.params_model.model_fields
        for section in spec.recipe.steps
        for c in offering(section, capabilities).values()
    )
    if not weighs or spec.composition is None:
        return []
    found = []
    for name, component in spec.composition.components.items():
        key = f"composition.components.{name}"
        if name not in stock:
            there = ", ".join(sorted(stock)) or "no stock"
            hint = f"add [stock.{name}] to labctl.toml, or rename it: the lab has {there}"
            found.append(Fault(message=f"{name} is in no bottle of this lab", key=key, hint=hint, code="LAB-0232"))
        elif Formula.parse(component.formula or name).amounts != Formula.parse(stock[name]).amounts:
            found.append(other_substance(key, name, component.formula or name, stock[name]))
    return found


def other_substance(key: str, name: str, formula: str, bottle: str) -> Fault:
    """The campaign and the bottle mean different substances: molar masses and records would be wrong."""
    return Fault(
        message=f"{name} is {formula} here, but the bottle [stock.{name}] of labctl.toml holds {bottle}",
        key=f"{key}.formula",
        hint=f'write formula = "{bottle}", or name the component after another bottle',
        code="LAB-0232",
    )


def measure_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Steps must measure what the file says they do, and all that is wanted."""
    produced = {
        quantity
        for section in spec.recipe.steps
        for c in offering(section, capabilities).values()
        for quantity in c.produces
    }
    promised = [
        Fault(
            message=f"{section.capability} does not measure {name!r}",
            key=f"recipe.steps[{i}].measures",
            value=shown(name),
            hint=nearest(
                name, in_full([q for c in offering(section, capabilities).values() for q in c.produces], spec)
            ),
            code="LAB-0233",
        )
        for i, section in enumerate(spec.recipe.steps)
        if offering(section, capabilities)
        for name in section.measures
        if not any(name in c.produces for c in offering(section, capabilities).values())
    ]
    unknown = any(not offering(section, capabilities) for section in spec.recipe.steps)
    if promised or unknown:  # what nobody offers is a fault of its own
        return promised
    return [
        Fault(
            message=f"no step of the recipe measures {wanted!r}",
            key=key,
            value=shown(wanted),
            hint=nearest(wanted, in_full(produced, spec)),
            code="LAB-0233",
        )
        for key, wanted in spec.quantities
        if produced and not any(wanted == p or (p.endswith(".") and wanted.startswith(p)) for p in produced)
    ]


def in_full(quantities: Iterable[str], spec: Spec) -> list[str]:
    """Names of quantities; what is weighed of every component has one for each."""
    components = tuple(spec.composition.components if spec.composition else ())
    return [name for q in quantities for name in ([q + c for c in components] if q.endswith(".") else [q])]


def unit_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """All that is wanted must be in a unit into which its readings can be converted."""
    units = [spec.objective.unit, *(o.unit for o in spec.objectives), *(limit.unit for limit in spec.limits)]
    return [
        Fault(
            message=f"{name} is measured in {unit}, not in {wanted or 'plain numbers'}",
            key=key.replace(".quantity", ".unit"),
            value=shown(wanted),
            hint=f'write unit = "{unit}", or another unit of that kind',
            code="LAB-0233",
        )
        for (key, name), wanted in zip(spec.quantities, units, strict=True)
        for unit in sorted(units_of(name, spec, capabilities))
        if not convertible(unit, wanted)
    ]


def units_of(name: str, spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> set[str]:
    """Units in which the recipe's steps measure a property."""
    return {
        unit
        for section in spec.recipe.steps
        for c in offering(section, capabilities).values()
        for quantity, unit in c.units.items()
        if name == quantity or (quantity.endswith(".") and name.startswith(quantity))
    }


def limit_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Set-points outside hard limits, for any candidate of the space."""
    found: dict[str, Fault] = {}
    steps = [(i, section) for i, section in enumerate(spec.recipe.steps) if offering(section, capabilities)]
    for candidate in extremes(spec.space):
        for i, section in steps:
            for error in refusals_of(spec, section, candidate, capabilities):
                inside = f".params.{error.key}" if error.key else ""
                value = shown(section.params[error.key]) if error.key in section.params else ""
                fault = Fault(message=str(error), key=f"recipe.steps[{i}]{inside}", value=value, code="LAB-0231")
                found.setdefault(fault.key, fault)
    return list(found.values())


def refusals_of(
    spec: Spec, section: StepSection, candidate: Candidate, capabilities: Mapping[str, Sequence[Capability]]
) -> Iterator[RecipeError]:
    """All that is refused of a step: a parameter at fault is taken out, and the rest looked at again."""
    left = dict(section.params)
    while True:
        try:
            resolve_step(spec, section.model_copy(update={"params": left}), candidate, capabilities)
            return
        except RecipeError as error:
            key = error.key
            if key not in left and key in section.params:
                return  # missing only as it was taken out
            yield error
        if left.pop(key, None) is None:
            return


def extremes(space: Space) -> list[Candidate]:
    """Candidates at the edges of the space: every end of every setting, with many compositions."""
    if space.pool is not None:
        return list(space.pool if len(space.pool) <= TRIED_OF_LIST else space.pool.extremes())
    ends = [
        list(p.choices)
        if isinstance(p, CategoricalParameter)
        else [p.low, p.high if not isinstance(p, FloatParameter) else p.at(1.0)]
        for p in space.process
    ]
    settings = [
        dict(zip((p.name for p in space.process), chosen, strict=True))
        for chosen in itertools.islice(itertools.product(*ends), TRIED)
    ]
    rng = random.Random(0)
    drawn = [c.fractions for _ in range(TRIED) if (c := space.draw(rng)) is not None]
    compositions = [*drawn, *corners(space)] or [{}]
    return [
        Candidate(f, settings[i % len(settings)])
        for i, f in enumerate(itertools.chain(compositions, itertools.repeat(compositions[0], len(settings))))
    ]


def corners(space: Space) -> list[Mapping[str, Any]]:
    """Compositions with as much, and as little, of one component as the space allows, as far as steps lead."""
    if space.composition is None:
        return []
    rng = random.Random(1)
    composition, ends = space.composition, itertools.product(range(len(space.composition.components)), (1, -1))
    starts = ((composition.draw(rng), i, sign) for i, sign in ends)
    return [composition.fractions(furthest(composition, at, i, sign)) for at, i, sign in starts if at is not None]


def furthest(space: CompositionSpace, counts: tuple[int, ...], i: int, sign: int) -> tuple[int, ...]:
    """As much (or as little) of component `i` as moves from here lead to: large ones first, as steps may be fine."""
    by = space.steps
    while by:
        better = (n for n in space.neighbours(counts, by) if (n[i] - counts[i]) * sign > 0)
        if (found := next(better, None)) is not None:
            counts = found
        else:
            by //= 2
    return counts
