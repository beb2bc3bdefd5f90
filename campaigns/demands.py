"""What a campaign asks of a lab, held against what the lab can do, before anything is started."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Literal

from pydantic import create_model

from campaigns.campaign_faults import VARIED, WANTED
from campaigns.candidate import Candidate
from campaigns.carried_out import StepSection
from campaigns.checks import Check
from campaigns.doses import small_dose_fault
from campaigns.errors import RecipeError
from campaigns.parameters import CategoricalParameter, FloatParameter, Parameter
from campaigns.recipe import MASSES, offering, resolve_step
from campaigns.space import CompositionSpace, Space
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from campaigns.units import convertible
from campaigns.weighing import masses_mg
from instruments.contract import Capability, Params
from materials_db.formula import Formula

Needs = Literal["nothing", "settings", "composition"]
ASKED_OF = ("capability", "instrument")  #: keys of a step that say who is to do it
TRIED = 64  #: candidates on which a recipe is tried when a campaign is validated
TRIED_OF_LIST = 5000  #: candidates of a list up to which each is tried


def against_lab(capabilities: Mapping[str, Sequence[Capability]], stock: Mapping[str, str]) -> tuple[Check[Spec], ...]:
    """What to ask of a campaign before anything is started: all that this lab cannot do.

    Parameters
    ----------
    stock
        Formula of what is in each bottle, by the bottle's name.
    """

    def step_faults(spec: Spec) -> list[Fault]:
        return [f for i, section in enumerate(spec.recipe.steps) if (f := step_fault(i, section, capabilities))]

    set_points = {name: [without_masses(c) for c in offered] for name, offered in capabilities.items()}
    components, machines = frozenset({"composition.components"}), {f"recipe.steps[*].{key}" for key in ASKED_OF}
    return (
        Check(step_faults, frozenset()),
        Check(unused_settings, frozenset({"process", "recipe.steps[*].params"})),
        Check(lambda spec: stock_faults(spec, stock, capabilities), components),
        Check(lambda spec: promise_faults(spec, capabilities), frozenset()),
        Check(lambda spec: measure_faults(spec, capabilities), WANTED | components | machines),
        Check(lambda spec: unit_faults(spec, capabilities), WANTED | {"recipe.steps[*].instrument"}),
        Check(lambda spec: small_stock_faults(spec, capabilities), VARIED | {"recipe.batch", "budget"}),
        Check(lambda spec: limit_faults(spec, set_points, "nothing"), frozenset()),
        Check(lambda spec: limit_faults(spec, set_points, "settings"), frozenset({"process", "candidates"})),
        Check(lambda spec: mass_faults(spec, capabilities), VARIED | {"recipe.batch"}),
    )


def without_masses(capability: Capability) -> Capability:
    """The set-points of a capability alone, which can be looked at whatever is wrong with batch and composition."""
    fields = capability.params_model.model_fields
    if MASSES not in fields:
        return capability
    told: dict[str, Any] = {name: (info.annotation, info) for name, info in fields.items() if name != MASSES}
    return replace(capability, params_model=create_model(capability.params_model.__name__, __base__=Params, **told))


def unused_settings(spec: Spec) -> list[Fault]:
    """Process parameters that no step asks for: they would go on record as settings that nothing ever had."""
    used = {value for step in spec.recipe.steps for value in step.params.values() if isinstance(value, str)}
    return [
        Fault(
            message=f"no step of the recipe uses it: nothing would ever be set to {name}",
            key=f"process.{name}",
            hint=f'write "${name}" as the value of a step\'s parameter, or leave it out',
            code="LAB-0230",
        )
        for name in spec.process
        if f"${name}" not in used
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
    weighed = any(weighs(offering(section, capabilities)) for section in spec.recipe.steps)
    if not weighed or spec.composition is None:
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


def promise_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Steps must measure what the file says they do."""
    return [
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


def measure_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Some step must measure all that is wanted."""
    produced = {
        quantity
        for section in spec.recipe.steps
        for c in offering(section, capabilities).values()
        for quantity in c.produces
    }
    unknown = any(not offering(section, capabilities) for section in spec.recipe.steps)
    if unknown or promise_faults(spec, capabilities):  # what nobody offers is a fault of its own
        return []
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


def small_stock_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Budgets of feedstock that not even the sample with least of it could be made from."""
    composition, limits = spec.space.composition, spec.allowance.stock_mg
    if composition is None or not limits or not any(weighs(offering(s, capabilities)) for s in spec.recipe.steps):
        return []
    made = [
        masses_mg(candidate, composition.formulas, composition.basis, spec.recipe.batch)
        for candidate in extremes(spec.space)
    ]
    least = {name: min(masses.get(name, 0.0) for masses in made) for name in limits}
    return [
        Fault(
            message=f"no experiment can be made: each takes {least[name] / 1000:.3g} g of {name} or more",
            key=f"budget.stock.{name}",
            value=f"{limit / 1000:.3g} g",
            code="LAB-0201",
        )
        for name, limit in limits.items()
        if least[name] > limit
    ]


def mass_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> list[Fault]:
    """Masses that no doser weighs in, told of the batch where all are too small, else of the step."""
    doser, least_mg = smallest_dose(spec, capabilities)
    small = small_dose_fault(spec, doser, least_mg) if least_mg else None
    return [small] if small else limit_faults(spec, capabilities, "composition")


def smallest_dose(spec: Spec, capabilities: Mapping[str, Sequence[Capability]]) -> tuple[str, float]:
    """What can be weighed in at least, mg, and by which instrument: of the step that needs most, the finest doser."""
    weighing = [able for section in spec.recipe.steps if weighs(able := offering(section, capabilities))]
    finest = [min(((name, c.least_mg) for name, c in able.items()), key=itemgetter(1)) for able in weighing]
    return max(finest, key=itemgetter(1), default=("", 0.0))


def limit_faults(spec: Spec, capabilities: Mapping[str, Sequence[Capability]], of: Needs) -> list[Fault]:
    """Set-points outside hard limits, for any candidate of the space, in steps that need so much of it."""
    found: dict[str, Fault] = {}
    steps = [
        (i, section)
        for i, section in enumerate(spec.recipe.steps)
        if (able := offering(section, capabilities)) and needs(section, able) == of
    ]
    for candidate in tried(spec, of) if steps else ():
        for i, section in steps:
            for error in refusals_of(spec, section, candidate, capabilities):
                inside = f".params.{error.key}" if error.key else ""
                value = shown(section.params[error.key]) if error.key in section.params else ""
                fault = Fault(message=str(error), key=f"recipe.steps[{i}]{inside}", value=value, code="LAB-0231")
                found.setdefault(fault.key, fault)
    return list(found.values())


def tried(spec: Spec, of: Needs) -> list[Candidate]:
    """Candidates at the edges, as far as a step needs to know them."""
    if of == "nothing":
        return [Candidate()]
    if of == "settings" and spec.candidates is None:
        return [Candidate(process=told) for told in ends(spec.parameters)]
    return extremes(spec.space)


def needs(section: StepSection, able: Mapping[str, Capability]) -> Needs:
    """What a step must know of the candidate."""
    if weighs(able):
        return "composition"
    return "settings" if any(str(value).startswith("$") for value in section.params.values()) else "nothing"


def weighs(able: Mapping[str, Capability]) -> bool:
    """Whether such a step weighs feedstock in."""
    return any(MASSES in c.params_model.model_fields for c in able.values())


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
    settings, rng = ends(space.process), random.Random(0)
    drawn = [c.fractions for _ in range(TRIED) if (c := space.draw(rng)) is not None]
    compositions = [*drawn, *corners(space)] or [{}]
    return [
        Candidate(f, settings[i % len(settings)])
        for i, f in enumerate(itertools.chain(compositions, itertools.repeat(compositions[0], len(settings))))
    ]


def ends(process: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Every end of every setting with every end of the others, up to a number."""
    each = [
        list(p.choices)
        if isinstance(p, CategoricalParameter)
        else [p.low, p.high if not isinstance(p, FloatParameter) else p.at(1.0)]
        for p in process
    ]
    names = [p.name for p in process]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.islice(itertools.product(*each), TRIED)]


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
