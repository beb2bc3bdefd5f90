"""What is wrong with a campaign file by itself: tables that contradict each other, names of nothing, spaces that are empty."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from campaigns.checks import Check
from campaigns.errors import SpaceError
from campaigns.layout import BLOCKS, STATE
from campaigns.space import exact
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from campaigns.units import UnitError
from campaigns.wanted import rate
from materials_db.errors import FormulaError
from materials_db.formula import Formula

OUTSIDE = ("botorch", "baybe")  #: optimizers of other libraries: objectives, nothing else


def column_faults(spec: Spec) -> list[Fault]:
    """Columns of tables that tell nothing of this campaign."""
    known = [*(spec.composition.components if spec.composition else ()), *spec.process, *spec.measured_units]
    known += [*(f"u({q})" for q in spec.measured_units), STATE, *BLOCKS]
    told = {f"data.{key}.{name}": name for key in ("columns", "units") for name in getattr(spec.data, key)}
    told |= {f"candidates.columns.{name}": name for name in (spec.candidates.columns if spec.candidates else ())}
    return [
        Fault(message=f"{name!r} is nothing that a table tells", key=key, hint=f"known: {', '.join(known)}")
        for key, name in told.items()
        if name not in known
    ]


def unknown_components(spec: Spec) -> list[Fault]:
    """Names, as balance or in a constraint, of what is no component."""
    if (composition := spec.composition) is None:
        return []
    told = {"composition.balance": composition.balance} if composition.balance else {}
    for i, constraint in enumerate(composition.constraints):
        told |= {f"composition.constraints[{i}].coefficients.{name}": name for name in constraint.coefficients}
    hint = f"the components are {', '.join(composition.components)}"
    return [
        Fault(message=f"{name!r} is not a component", key=key, hint=hint, code="LAB-0210")
        for key, name in told.items()
        if name not in composition.components
    ]


def between_steps(spec: Spec) -> list[Fault]:
    """Components of which no whole number of dispenser steps can be given."""
    if (composition := spec.composition) is None:
        return []
    step = exact(composition.step)
    return [
        Fault(message=problem, key=f"composition.components.{name}", code="LAB-0210")
        for name, component in composition.components.items()
        if (problem := component.domain(name).between_steps(step))
    ]


def process_faults(spec: Spec) -> list[Fault]:
    """Process parameters that cannot be varied."""
    return impossible((f"process.{name}", partial(section.domain, name)) for name, section in spec.process.items())


def composition_faults(spec: Spec) -> list[Fault]:
    """Why no composition can be."""
    return impossible([("composition", spec.composition.domain)] if spec.composition else [])


def space_faults(spec: Spec) -> list[Fault]:
    """Why the parts of the space are empty or contradictory together."""
    whole = "candidates" if spec.candidates else "composition" if spec.composition else "process"
    return impossible([(whole, lambda: spec.space)])


def stock_budget_faults(spec: Spec) -> list[Fault]:
    """Budgets of what is no component."""
    known = tuple(spec.composition.components if spec.composition else ())
    return unknown_budgets("stock", spec.budget.stock, "not a component", f"components: {', '.join(known)}", known)


def time_budget_faults(spec: Spec) -> list[Fault]:
    """Budgets of what no instrument is asked for."""
    known = tuple(dict.fromkeys(step.capability for step in spec.recipe.steps))
    hint = f"its capabilities: {', '.join(known)}"
    return unknown_budgets("instrument_time", spec.budget.instrument_time, "no capability of the recipe", hint, known)


def twice_named(spec: Spec) -> list[Fault]:
    """Steps of one name, by which nobody could tell them apart."""
    names = [step.name for step in spec.recipe.steps]
    return [
        Fault(
            message=f"two steps are named {name!r}",
            key=f"recipe.steps[{i}].name",
            value=shown(name),
            hint="give each its own name",
        )
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def hold_faults(spec: Spec) -> list[Fault]:
    """Steps that would hold a sample until one that does not come after them."""
    names = [step.name for step in spec.recipe.steps]
    return [
        Fault(
            message=f"{step.hold_until!r} is no later step",
            key=f"recipe.steps[{i}].hold_until",
            value=shown(step.hold_until),
            hint=f"later steps: {', '.join(names[i + 1 :]) or 'none'}",
        )
        for i, step in enumerate(spec.recipe.steps)
        if step.hold_until is not None and step.hold_until not in names[i + 1 :]
    ]


def quantity_faults(spec: Spec) -> list[Fault]:
    """Further objectives and limits that no step measures, and objectives named twice."""
    if not spec.recipe.steps:
        return []
    measured = [name for step in spec.recipe.steps for name in step.measures]
    _, *further = spec.quantities
    wanted = further[: len(spec.objectives)]
    names = [spec.objective.quantity, *(name for _, name in wanted)]
    twice = [
        Fault(message=f"{name!r} is an objective already", key=key, value=shown(name), code="LAB-0234")
        for i, (key, name) in enumerate(wanted, start=1)
        if name in names[:i]
    ]
    steps = ", ".join(f"{s.name} ({', '.join(s.measures) or 'nothing'})" for s in spec.recipe.steps)
    return twice + [
        Fault(
            message=f"no step of the recipe measures {name!r}",
            key=key,
            value=shown(name),
            hint=f"name it in `measures` of one of the steps: {steps}",
            code="LAB-0233",
        )
        for key, name in further
        if name not in measured
    ]


def setting_faults(spec: Spec) -> list[Fault]:
    """Prices and trays that name no process parameter of theirs."""
    shared = spec.optimizer.tray.shared if spec.optimizer.tray else ()
    faults = [
        unknown_setting(name, spec.process, f"optimizer.tray.shared[{i}]")
        for i, name in enumerate(shared)
        if name not in spec.process
    ]
    for name, text in spec.cost.settings.items():
        key = f"cost.settings.{name}"
        if name not in spec.numeric_units:
            faults.append(unknown_setting(name, spec.numeric_units, key))
            continue
        try:
            rate(text, spec.numeric_units[name])
        except UnitError as error:
            faults.append(Fault(message=str(error), key=key, value=shown(text)))
    return faults


def feedstock_budget_faults(spec: Spec) -> list[Fault]:
    """Prices of what is no component, or that are none."""
    faults, components = [], spec.composition.components if spec.composition else {}
    for name, text in spec.cost.feedstock.items():
        key = f"cost.feedstock.{name}"
        if name not in components:
            there = f"the components are {', '.join(components)}" if components else "this campaign has none"
            faults.append(Fault(message=f"{name!r} is no component", key=key, hint=there, code="LAB-0236"))
            continue
        try:
            rate(text, "g")
        except UnitError as error:
            faults.append(Fault(message=str(error), key=key, value=shown(text)))
    return faults


def optimizer_faults(spec: Spec) -> list[Fault]:
    """What is wanted that the optimizer of that name cannot do."""
    o = spec.optimizer
    beyond = [f'goal = "{spec.objective.goal}"'] if spec.objective.goal in ("many", "map") else []
    beyond += ["limits"] if spec.limits else []
    beyond += ["prior_campaigns"] if o.prior_campaigns else []
    beyond += ["cost.aware"] if spec.cost.aware else []
    beyond += ["stop.within"] if spec.stop.within is not None else []
    if spec.objectives and spec.objective.goal in ("target", "map"):
        message = f'goal = "{spec.objective.goal}" is for one objective; several are weighed against each other'
        hint = "leave the goal out and state [[limits]] for the range, or leave [[objectives]] out"
        return [
            Fault(message=message, key="objective.goal", value=shown(spec.objective.goal), hint=hint, code="LAB-0235")
        ]
    if o.model == "single-gp" and o.prior_campaigns:
        message, hint = "'single-gp' learns nothing from earlier campaigns", 'write model = "mixture"'
        return [Fault(message=message, key="optimizer.model", value=shown(o.model), hint=hint, code="LAB-0235")]
    if spec.stop.within is not None and (spec.objectives or spec.objective.goal not in ("best", "many")):
        return [Fault(message="only a single objective to maximize or minimize has a best", key="stop.within")]
    if spec.stop.within is not None and o.model == "single-gp":
        message, hint = "'single-gp' cannot say how far away the best possible is", 'write model = "mixture"'
        return [Fault(message=message, key="optimizer.model", value=shown(o.model), hint=hint, code="LAB-0235")]
    if o.name == "random" and spec.stop.within is not None:
        beyond = ["stop.within"]
    elif o.name not in OUTSIDE or not beyond:
        return []
    return [
        Fault(
            message=f"{o.name!r} knows nothing of {' or '.join(beyond)}",
            key="optimizer.name",
            value=shown(o.name),
            hint='write name = "bayesian"',
            code="LAB-0235",
        )
    ]


def impossible(parts: Iterable[tuple[str, Callable[[], Any]]]) -> list[Fault]:
    """Those of the keys, each with what builds it, whose part of the space cannot be."""
    faults = []
    for key, build in parts:
        try:
            build()
        except SpaceError as error:
            faults.append(Fault(message=str(error), key=key, code="LAB-0210"))
    return faults


def unknown_budgets(table: str, named: Iterable[str], is_no: str, hint: str, known: Collection[str]) -> list[Fault]:
    """Budgets under names that mean nothing."""
    return [
        Fault(message=f"{name!r} is {is_no}", key=f"budget.{table}.{name}", hint=hint)
        for name in named
        if name not in known
    ]


def unknown_setting(name: str, known: Iterable[str], key: str) -> Fault:
    """A name that is no process parameter, or not one of the kind that is needed."""
    near = difflib.get_close_matches(name, list(known), n=1)
    there = f"process parameters: {', '.join(known) or 'none'}"
    return Fault(
        message=f"{name!r} is no process parameter that fits here",
        key=key,
        value=shown(name) if key.endswith("]") else "",
        hint=f"did you mean {near[0]!r}?" if near else there,
        code="LAB-0236",
    )


def missing_for_a_lab(data: Mapping[str, Any]) -> list[Fault]:
    """What a campaign that is to be run must say and does not."""
    found = [Fault(message=f"{name!r} is missing", key=name) for name in ("budget", "recipe") if name not in data]
    if "recipe" not in data:
        found[-1] = replace(
            found[-1], hint="without one nothing can be made; labctl optimizer suggest and replay need none"
        )
    composition = data.get("composition")
    components = composition.get("components") if isinstance(composition, dict) else None
    for name, section in components.items() if isinstance(components, dict) else ():
        if isinstance(section, dict) and "formula" not in section:
            try:
                Formula.parse(name)
            except FormulaError as error:
                message = f'{name} gives no formula, and its name is none ({error}); add formula = "..."'
                found.append(Fault(message=message, key=f"composition.components.{name}"))
    return found


VARIED = frozenset({"composition", "process", "candidates"})
WANTED = frozenset({"objective", "objectives", "limits"})
#: What is asked of a file, one group after the other: each rests on what those before it have found sound.
NAMES = (
    Check(column_faults, VARIED | WANTED | {"data"}),
    Check(unknown_components, frozenset()),
    Check(between_steps, frozenset({"composition.step"})),
)
PARTS = (
    Check(process_faults, frozenset()),
    Check(composition_faults, frozenset({"composition"})),
    Check(stock_budget_faults, frozenset({"composition.components", "budget.stock"})),
    Check(time_budget_faults, frozenset({"recipe.steps[*].capability", "budget.instrument_time"})),
    Check(twice_named, frozenset()),
    Check(hold_faults, frozenset({"recipe.steps[*].name"})),
    Check(setting_faults, frozenset({"process", "optimizer.tray", "cost.settings"})),
    Check(feedstock_budget_faults, frozenset({"composition.components", "cost.feedstock"})),
    Check(optimizer_faults, WANTED | {"optimizer", "cost", "stop"}),
    Check(quantity_faults, WANTED | {"recipe.steps[*].measures"}),
)
TOGETHER = (Check(space_faults, VARIED),)
