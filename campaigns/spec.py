"""The campaign file: what is varied, what is wanted, what limits it, how it is made.

Models of the TOML as people write it, checked field by field, and its meaning as domain
objects. Once launched, the campaign lives from the JSON of this, not from the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, model_validator

from campaigns import space as domain
from campaigns.budget import Limits
from campaigns.carried_out import (
    BudgetSection,
    CampaignSection,
    DataSection,
    OptimizerSection,
    RecipeSection,
    StopSection,
)
from campaigns.errors import SpaceError
from campaigns.layout import BLOCKS, STATE, Wanted
from campaigns.optimizer import Earlier, Objective
from campaigns.parameters import Parameter
from campaigns.policy import FailuresSection
from campaigns.pool import Pool
from campaigns.sections import Name, Section, quantity_or_fault
from campaigns.told import as_record, from_record, results_of
from campaigns.toml_file import Check, Fault, FileFaults, asked, read, shown, sound_part
from campaigns.units import UnitError
from campaigns.varied import CandidatesSection, CategoricalSection, CompositionSection, ProcessSection, list_of
from campaigns.wanted import CostSection, FurtherSection, LimitSection, ObjectiveSection, rate
from materials_db.errors import FormulaError
from materials_db.formula import Formula

OUTSIDE = ("botorch", "baybe")  #: optimizers of other libraries: objectives, nothing else


NO_BUDGET = BudgetSection.model_construct()
NO_RECIPE = RecipeSection.model_construct(batch=0.0, steps=())


class Spec(Section):
    """A whole campaign file. Without budget and recipe it can be asked for proposals, not run."""

    campaign: CampaignSection
    objective: ObjectiveSection
    objectives: tuple[FurtherSection, ...] = Field((), max_length=3)
    limits: tuple[LimitSection, ...] = ()
    composition: CompositionSection | None = None
    process: dict[Name, ProcessSection] = {}
    candidates: CandidatesSection | None = None
    data: DataSection = DataSection()
    budget: BudgetSection = NO_BUDGET
    stop: StopSection = StopSection()
    optimizer: OptimizerSection = OptimizerSection()
    cost: CostSection = CostSection()
    recipe: RecipeSection = NO_RECIPE
    failures: FailuresSection = FailuresSection()

    @model_validator(mode="before")
    @classmethod
    def _improvement_unit(cls, data: Any, info: ValidationInfo) -> Any:
        """The thresholds of [stop] are written in the objective's unit."""
        if not isinstance(data, dict) or (info.context and info.context.get("stored")):
            return data
        stop, objective = data.get("stop"), data.get("objective")
        if isinstance(stop, dict) and isinstance(objective, dict):
            unit = objective["unit"] if isinstance(objective.get("unit"), str) else ""
            told = {k: stop[k] for k in ("expected_improvement", "within") if k in stop}
            read = {k: quantity_or_fault(text, unit, difference=True) for k, text in told.items()}
            return {**data, "stop": {**stop, **read}}
        return data

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        for_a_lab: bool = True,
        with_list: bool = True,
        further: Sequence[Sequence[Check[Spec]]] = (),
    ) -> tuple[Spec, str]:
        """Read a campaign file; the spec and the file's text.

        Parameters
        ----------
        for_a_lab
            Whether it must say all that is needed to make something: budget, recipe, formulas.
        with_list
            Whether its list of candidates is read.
        further
            What else is asked of it, in groups: a group rests on what those before it have found sound.

        Raises
        ------
        FileFaults
            All that is wrong with it, each with its line.
        """
        document = read(path)
        spec, found, unread = sound_part(cls, document, STAND_INS, {"stop": "objective"})
        found += missing_for_a_lab(document.data) if for_a_lab else []
        if spec is not None:
            found += asked(spec, found, NAMES, unread)
            unread |= {"candidates"} if found and spec.candidates else set()
            listed = with_list and not found
            spec = spec.with_list(path.parent) if listed else spec.model_copy(update={"candidates": None})
            spec = spec if found else spec.with_earlier(path.parent)
            for group in (PARTS, TOGETHER, *further):
                found += asked(spec, found, group, unread)
        if spec is None or found:
            raise FileFaults(path, [document.located(f) for f in found])
        return spec, document.text

    def json(self) -> dict[str, Any]:  # type: ignore[override]
        """Everything as JSON, quantities as numbers in the units of the models."""
        left_out = {
            name for name, none in (("budget", NO_BUDGET), ("recipe", NO_RECIPE)) if getattr(self, name) == none
        }
        return self.model_dump(mode="json", exclude=left_out)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """What `json` gave."""
        return cls.model_validate(dict(data), context={"stored": True})

    def column_faults(self) -> list[Fault]:
        """Columns of tables that tell nothing of this campaign."""
        known = [*(self.composition.components if self.composition else ()), *self.process, *self.measured_units]
        known += [*(f"u({q})" for q in self.measured_units), STATE, *BLOCKS]
        told = {f"data.{key}.{name}": name for key in ("columns", "units") for name in getattr(self.data, key)}
        told |= {f"candidates.columns.{name}": name for name in (self.candidates.columns if self.candidates else ())}
        return [
            Fault(message=f"{name!r} is nothing that a table tells", key=key, hint=f"known: {', '.join(known)}")
            for key, name in told.items()
            if name not in known
        ]

    def unknown_components(self) -> list[Fault]:
        """What the composition names and does not have."""
        return self.composition.unknown_components() if self.composition else []

    def between_steps(self) -> list[Fault]:
        """Components of which no whole number of dispenser steps can be given."""
        return self.composition.between_steps() if self.composition else []

    @property
    def measured_units(self) -> dict[str, str]:
        """Every property that a table of results must tell, with its unit, the deciding one first."""
        units = {o.quantity: o.unit for o in self.wanted.all}
        units |= {limit.quantity: limit.unit for limit in self.wanted.limits if limit.quantity not in units}
        return {q: units[q] for q in self.wanted.quantities}

    def with_list(self, folder: Path) -> Spec:
        """The spec with its list of candidates read. Raises FileFaults."""
        if self.candidates is None or not self.candidates.file:
            return self
        try:
            composition = self.composition.domain() if self.composition else None
            process = self.parameters
        except SpaceError:
            return self  # setting_ends or sum_faults say it
        layout = self.data.layout(self.candidates.columns)
        pool, notes = list_of(folder / self.candidates.file, layout, composition, process)
        told = {"counts": pool.counts, "settings": pool.settings, "notes": notes}
        read_in = self.candidates.model_copy(update=told)
        return self.model_copy(update={"candidates": read_in})

    def with_earlier(self, folder: Path) -> Spec:
        """The spec with the tables of `prior_campaigns` read. Raises FileFaults."""
        names = [n for n in self.optimizer.prior_campaigns if n not in self.optimizer.prior_ids]
        if not names or self.setting_ends() or self.sum_faults() or self.space_faults():
            return self
        space = self.space
        wanted = Wanted(composition=space.composition, process=space.process, quantities=self.measured_units)
        found = {n: results_of(folder / n, self.data.layout(), wanted) for n in names}
        told = {n: as_record(observations) for n, (observations, _, _) in found.items()}
        notes = {n: said for n, (_, _, said) in found.items() if said}
        read_in = self.optimizer.model_copy(update={"prior_tables": told, "prior_notes": notes})
        return self.model_copy(update={"optimizer": read_in})

    @property
    def earlier(self) -> tuple[Earlier, ...]:
        """What the tables of `prior_campaigns` told when they were read."""
        tables, space = self.optimizer.prior_tables, replace(self.space, pool=None)  # rows need not be in the list
        return tuple(
            Earlier(name=name, space=space, objective=self.wanted, history=from_record(rows))
            for name, rows in tables.items()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """How the list of candidates and the tables of `prior_campaigns` were understood."""
        tables = dict(self.optimizer.prior_notes)
        if self.candidates is not None:
            tables = {self.candidates.file: self.candidates.notes, **tables}
        return tuple(f"{name}: {note}" for name, notes in tables.items() for note in notes)

    def setting_ends(self) -> list[Fault]:
        """Process parameters that cannot be varied."""
        return impossible((f"process.{name}", partial(section.domain, name)) for name, section in self.process.items())

    def sum_faults(self) -> list[Fault]:
        """Why no composition can be."""
        return impossible([("composition", self.composition.domain)] if self.composition else [])

    def space_faults(self) -> list[Fault]:
        """Why the parts of the space are empty or contradictory together."""
        whole = "candidates" if self.candidates else "composition" if self.composition else "process"
        return impossible([(whole, lambda: self.space)])

    def stock_faults(self) -> list[Fault]:
        """Budgets of what is no component."""
        known = tuple(self.composition.components if self.composition else ())
        return unknown_budgets("stock", self.budget.stock, "not a component", f"components: {', '.join(known)}", known)

    def time_faults(self) -> list[Fault]:
        """Budgets of what no instrument is asked for."""
        known = tuple(dict.fromkeys(step.capability for step in self.recipe.steps))
        hint = f"its capabilities: {', '.join(known)}"
        return unknown_budgets(
            "instrument_time", self.budget.instrument_time, "no capability of the recipe", hint, known
        )

    def quantity_faults(self) -> list[Fault]:
        """Further objectives and limits that no step measures, and objectives named twice."""
        if not self.recipe.steps:
            return []
        measured = [name for step in self.recipe.steps for name in step.measures]
        _, *further = self.quantities
        wanted = further[: len(self.objectives)]
        names = [self.objective.quantity, *(name for _, name in wanted)]
        twice = [
            Fault(message=f"{name!r} is an objective already", key=key, value=shown(name), code="LAB-0234")
            for i, (key, name) in enumerate(wanted, start=1)
            if name in names[:i]
        ]
        steps = ", ".join(f"{s.name} ({', '.join(s.measures) or 'nothing'})" for s in self.recipe.steps)
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

    def setting_faults(self) -> list[Fault]:
        """Prices and trays that name no process parameter of theirs."""
        shared = self.optimizer.tray.shared if self.optimizer.tray else ()
        faults = [
            unknown_setting(name, self.process, f"optimizer.tray.shared[{i}]")
            for i, name in enumerate(shared)
            if name not in self.process
        ]
        for name, text in self.cost.settings.items():
            key = f"cost.settings.{name}"
            if name not in self.numeric_units:
                faults.append(unknown_setting(name, self.numeric_units, key))
                continue
            try:
                rate(text, self.numeric_units[name])
            except UnitError as error:
                faults.append(Fault(message=str(error), key=key, value=shown(text)))
        return faults

    def feedstock_faults(self) -> list[Fault]:
        """Prices of what is no component, or that are none."""
        faults, components = [], self.composition.components if self.composition else {}
        for name, text in self.cost.feedstock.items():
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

    def optimizer_faults(self) -> list[Fault]:
        """What is wanted that the optimizer of that name cannot do."""
        o = self.optimizer
        beyond = [f'goal = "{self.objective.goal}"'] if self.objective.goal in ("many", "map") else []
        beyond += ["limits"] if self.limits else []
        beyond += ["prior_campaigns"] if o.prior_campaigns else []
        beyond += ["cost.aware"] if self.cost.aware else []
        beyond += ["stop.within"] if self.stop.within is not None else []
        if self.objectives and self.objective.goal in ("target", "map"):
            message = f'goal = "{self.objective.goal}" is for one objective; several are weighed against each other'
            hint = "leave the goal out and state [[limits]] for the range, or leave [[objectives]] out"
            return [
                Fault(
                    message=message, key="objective.goal", value=shown(self.objective.goal), hint=hint, code="LAB-0235"
                )
            ]
        if o.model == "single-gp" and o.prior_campaigns:
            message, hint = "'single-gp' learns nothing from earlier campaigns", 'write model = "mixture"'
            return [Fault(message=message, key="optimizer.model", value=shown(o.model), hint=hint, code="LAB-0235")]
        if self.stop.within is not None and (self.objectives or self.objective.goal not in ("best", "many")):
            return [Fault(message="only a single objective to maximize or minimize has a best", key="stop.within")]
        if self.stop.within is not None and o.model == "single-gp":
            message, hint = "'single-gp' cannot say how far away the best possible is", 'write model = "mixture"'
            return [Fault(message=message, key="optimizer.model", value=shown(o.model), hint=hint, code="LAB-0235")]
        if o.name == "random" and self.stop.within is not None:
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

    @property
    def quantities(self) -> list[tuple[str, str]]:
        """Every property that is wanted, with the key that names it: the objective, further ones, limits."""
        return [
            ("objective.quantity", self.objective.quantity),
            *((f"objectives[{i}].quantity", o.quantity) for i, o in enumerate(self.objectives)),
            *((f"limits[{i}].quantity", limit.quantity) for i, limit in enumerate(self.limits)),
        ]

    @property
    def numeric_units(self) -> dict[str, str]:
        """Unit of each process parameter that is a number."""
        return {name: p.unit for name, p in self.process.items() if not isinstance(p, CategoricalSection)}

    @cached_property
    def space(self) -> domain.Space:
        """What is varied. Raises SpaceError."""
        composition = self.composition.domain() if self.composition else None
        pool = self._pool(composition, self.parameters)
        return domain.Space(composition=composition, process=self.parameters, pool=pool)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The process parameters. Raises SpaceError."""
        return tuple(section.domain(name) for name, section in self.process.items())

    def _pool(self, composition: domain.CompositionSpace | None, process: tuple[Parameter, ...]) -> Pool | None:
        if self.candidates is None:
            return None
        import numpy as np

        names, steps = (composition.names, composition.steps) if composition else ((), 1)
        size = max(len(self.candidates.counts), len(self.candidates.settings))
        counts = np.asarray(self.candidates.counts, dtype=float).reshape(size, len(names))
        settings = np.asarray(self.candidates.settings, dtype=float).reshape(size, len(process))
        return Pool(names, steps, process, counts, settings)

    @property
    def wanted(self) -> Objective:
        """What is wanted."""
        others = [section.domain() for section in self.objectives]
        return self.objective.domain(others, [limit.domain() for limit in self.limits], self.optimizer.method)

    @property
    def allowance(self) -> Limits:
        """What it may use up."""
        b = self.budget
        return Limits(
            experiments=b.experiments, time_s=b.time, money=b.money, stock_mg=b.stock, instrument_s=b.instrument_time
        )


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


STAND_INS = {"campaign": {"name": "unread"}, "objective": {"quantity": "unread", "unit": "", "direction": "maximize"}}
VARIED = frozenset({"composition", "process", "candidates"})
WANTED = frozenset({"objective", "objectives", "limits"})
NAMES = (
    Check(Spec.column_faults, VARIED | WANTED | {"data"}),
    Check(Spec.unknown_components, frozenset()),
    Check(Spec.between_steps, frozenset({"composition.step"})),
)
PARTS = (
    Check(Spec.setting_ends, frozenset()),
    Check(Spec.sum_faults, frozenset({"composition"})),
    Check(Spec.stock_faults, frozenset({"composition.components", "budget.stock"})),
    Check(Spec.time_faults, frozenset({"recipe.steps", "budget.instrument_time"})),
    Check(Spec.setting_faults, frozenset({"process", "optimizer.tray", "cost.settings"})),
    Check(Spec.feedstock_faults, frozenset({"composition.components", "cost.feedstock"})),
    Check(Spec.optimizer_faults, WANTED | {"optimizer", "cost", "stop"}),
    Check(Spec.quantity_faults, WANTED | {"recipe.steps"}),
)
TOGETHER = (Check(Spec.space_faults, VARIED),)
