"""The campaign file: what is varied, what is wanted, what limits it, how it is made.

Models of the TOML as people write it, checked field by field, and its meaning as domain
objects. Once launched, the campaign lives from the JSON of this, not from the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from campaigns import space as domain
from campaigns.budget import Limits
from campaigns.candidate import Candidate, Setting
from campaigns.errors import SpaceError
from campaigns.optimizer import Objective
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter, Parameter
from campaigns.sections import Euros, Milligrams, Name, Seconds, Section
from campaigns.tables import header_of, read_csv
from campaigns.toml_file import Document, Fault, FileFaults, check, read, shown
from campaigns.units import UnitError, known_unit, quantity
from campaigns.wanted import CostSection, FurtherSection, LimitSection, ObjectiveSection, rate
from materials_db.errors import FormulaError
from materials_db.formula import Formula

OUTSIDE = ("botorch", "baybe")  #: optimizers of other libraries: one objective, nothing else
BIGGEST_SEED = 2**53 - 1  #: whole numbers beyond are not the same in every JSON reader


class CampaignSection(Section):
    """[campaign]."""

    name: Name
    seed: int = Field(1, ge=0, le=BIGGEST_SEED, strict=True)
    description: str = Field("", max_length=2000)


class ComponentSection(Section):
    """[composition.components.NAME]."""

    formula: str | None = None
    min: float = Field(0.0, ge=0, le=1)
    max: float = Field(1.0, ge=0, le=1)
    optional: bool = False

    @field_validator("formula")
    @classmethod
    def _formula(cls, value: str | None) -> str | None:
        if value is not None:
            Formula.parse(value)
        return value

    @model_validator(mode="after")
    def _order(self) -> ComponentSection:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class ConstraintSection(Section):
    """[[composition.constraints]]."""

    name: str = Field(min_length=1, max_length=200)
    coefficients: dict[str, float] = Field(min_length=1)
    min: float | None = None
    max: float | None = None


class CompositionSection(Section):
    """[composition]."""

    basis: Literal["mass", "mole"] = "mass"
    step: float = Field(0.01, gt=0, le=1)
    balance: str | None = None
    max_present: int | None = Field(None, ge=1)
    components: dict[Name, ComponentSection] = Field(min_length=1)
    constraints: tuple[ConstraintSection, ...] = ()

    @field_validator("components")
    @classmethod
    def _formulas(cls, value: dict[str, ComponentSection]) -> dict[str, ComponentSection]:
        for name, component in value.items():
            if component.formula is None:
                try:
                    Formula.parse(name)
                except FormulaError as error:
                    raise ValueError(
                        f'{name} gives no formula, and its name is none ({error}); add formula = "..."'
                    ) from None
        return value

    def domain(self) -> domain.CompositionSpace:
        """The compositions it allows. Raises SpaceError."""
        return domain.CompositionSpace(
            components=tuple(
                domain.Component(
                    name=name,
                    formula=c.formula or name,
                    low=domain.exact(c.min),
                    high=domain.exact(c.max),
                    optional=c.optional,
                )
                for name, c in self.components.items()
            ),
            basis=self.basis,
            step=domain.exact(self.step),
            balance=self.balance,
            max_present=self.max_present,
            constraints=tuple(
                domain.LinearConstraint(
                    name=c.name,
                    coefficients={n: domain.exact(v) for n, v in c.coefficients.items()},
                    low=None if c.min is None else domain.exact(c.min),
                    high=None if c.max is None else domain.exact(c.max),
                )
                for c in self.constraints
            ),
        )


class FloatSection(Section):
    """[process.NAME] type = "float"."""

    type: Literal["float"]
    unit: str = ""
    min: float
    max: float
    step: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _quantities(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or (info.context and info.context.get("stored")):
            return data
        unit = known_unit(data["unit"]) if isinstance(data.get("unit"), str) else unit_of(data.get("min"))
        read = {k: quantity(data[k], unit, difference=k == "step") for k in ("min", "max", "step") if k in data}
        return {**data, "unit": unit, **read}

    def domain(self, name: str) -> Parameter:
        """As the optimizer knows it."""
        return FloatParameter(name=name, low=self.min, high=self.max, unit=self.unit, step=self.step)


class IntegerSection(Section):
    """[process.NAME] type = "integer"."""

    type: Literal["integer"]
    unit: str = ""
    min: int = Field(strict=True)
    max: int = Field(strict=True)

    def domain(self, name: str) -> Parameter:
        """As the optimizer knows it."""
        return IntegerParameter(name=name, low=self.min, high=self.max, unit=self.unit)


class CategoricalSection(Section):
    """[process.NAME] type = "categorical"."""

    type: Literal["categorical"]
    choices: tuple[str, ...] = Field(min_length=2)

    def domain(self, name: str) -> Parameter:
        """As the optimizer knows it."""
        return CategoricalParameter(name=name, choices=self.choices)


ProcessSection = Annotated[FloatSection | IntegerSection | CategoricalSection, Field(discriminator="type")]


def unit_of(value: Any) -> str:
    """The unit that a quantity is written in."""
    text = str(value).strip().lstrip("+-0123456789.eE ") if isinstance(value, str) else ""
    return known_unit(text) if text else ""


class CandidatesSection(Section):
    """[candidates]: a finite list instead of a space."""

    file: str = ""
    columns: dict[str, str] = {}  #: component or parameter -> column, where they differ
    rows: tuple[dict[str, Any], ...] = ()  #: the list itself, once read


class BudgetSection(Section):
    """[budget]."""

    experiments: int | None = Field(None, ge=1, strict=True)
    time: Seconds | None = None
    money: Euros | None = None
    stock: dict[str, Milligrams] = {}

    @model_validator(mode="after")
    def _some_limit(self) -> BudgetSection:
        if self.experiments is None and self.time is None and self.money is None:
            raise ValueError("a campaign needs an end: give experiments, time or money")
        return self


class StopSection(Section):
    """[stop]."""

    at_target: bool = True
    expected_improvement: float | None = Field(None, ge=0)
    patience: int = Field(5, ge=1, strict=True)


class TraySection(Section):
    """[optimizer] tray: so many experiments are made together and share some process settings."""

    size: int = Field(ge=2, le=256, strict=True)
    shared: tuple[Name, ...] = ()


class OptimizerSection(Section):
    """[optimizer]."""

    name: Literal["bayesian", "random", "botorch", "baybe"] = "bayesian"
    initial: int | None = Field(None, ge=1, strict=True)
    in_flight: int = Field(3, ge=1, le=256, strict=True)
    model: Literal["mixture", "single-gp"] = "mixture"
    coordinates: Literal["auto", "roots", "uniform", "fractions"] = "auto"
    method: Literal["pareto", "weighted"] = "pareto"
    prior_campaigns: tuple[str, ...] = ()
    tray: TraySection | None = None

    @field_validator("prior_campaigns")
    @classmethod
    def _ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(r"C-\d{1,9}", text):
                raise ValueError(f'{text!r} is no campaign\'s id; write for example "C-0001" (labctl campaign list)')
        return tuple(dict.fromkeys(f"C-{int(text[2:]):04d}" for text in value))


class StepSection(Section):
    """[[recipe.steps]]."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    capability: Name
    instrument: str | None = None
    params: dict[str, Any] = {}
    hold_until: str | None = None
    measures: tuple[Name, ...] = ()


class RecipeSection(Section):
    """[recipe]."""

    batch: Milligrams
    steps: tuple[StepSection, ...] = Field(min_length=1)

    @field_validator("steps")
    @classmethod
    def _steps(cls, steps: tuple[StepSection, ...]) -> tuple[StepSection, ...]:
        names = [s.name for s in steps]
        if twice := [n for n in names if names.count(n) > 1]:
            raise ValueError(f"two steps are named {twice[0]!r}; give each its own name")
        for i, step in enumerate(steps):
            if step.hold_until is not None and step.hold_until not in names[i + 1 :]:
                later = ", ".join(names[i + 1 :]) or "none"
                raise ValueError(
                    f"step {step.name!r}: hold_until = {step.hold_until!r} is no later step (later: {later})"
                )
        return steps


class Spec(Section):
    """A whole campaign file."""

    campaign: CampaignSection
    objective: ObjectiveSection
    objectives: tuple[FurtherSection, ...] = Field((), max_length=3)
    limits: tuple[LimitSection, ...] = ()
    composition: CompositionSection | None = None
    process: dict[Name, ProcessSection] = {}
    candidates: CandidatesSection | None = None
    budget: BudgetSection
    stop: StopSection = StopSection()
    optimizer: OptimizerSection = OptimizerSection()
    cost: CostSection = CostSection()
    recipe: RecipeSection

    @model_validator(mode="before")
    @classmethod
    def _improvement_unit(cls, data: Any, info: ValidationInfo) -> Any:
        """The threshold of [stop] is written in the objective's unit."""
        if not isinstance(data, dict) or (info.context and info.context.get("stored")):
            return data
        stop, objective = data.get("stop"), data.get("objective")
        if isinstance(stop, dict) and "expected_improvement" in stop and isinstance(objective, dict):
            unit = objective.get("unit")
            read = quantity(stop["expected_improvement"], unit if isinstance(unit, str) else "", difference=True)
            return {**data, "stop": {**stop, "expected_improvement": read}}
        return data

    @classmethod
    def load(cls, path: Path) -> tuple[Spec, str]:
        """Read a campaign file; the spec and the file's text.

        Raises
        ------
        FileFaults
            All that is wrong with it, each with its line.
        """
        document = read(path)
        document = with_pool(document)
        spec = check(cls, document)
        if faults := [*spec.space_faults(), *spec.quantity_faults(), *spec.setting_faults(), *spec.optimizer_faults()]:
            raise FileFaults(path, [document.located(f) for f in faults])
        return spec, document.text

    def json(self) -> dict[str, Any]:  # type: ignore[override]
        """Everything as JSON, quantities as numbers in the units of the models."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """What `json` gave."""
        return cls.model_validate(dict(data), context={"stored": True})

    def space_faults(self) -> list[Fault]:
        """Why the space is empty or contradictory."""
        try:
            self.space  # noqa: B018 - built to be checked
        except SpaceError as error:
            key = "candidates" if self.candidates else "composition" if self.composition else "process"
            return [Fault(message=str(error), key=key, code="LAB-0210")]
        known = tuple(self.composition.components if self.composition else ())
        return [
            Fault(
                message=f"{name!r} is not a component",
                key=f"budget.stock.{name}",
                hint=f"components: {', '.join(known)}",
            )
            for name in self.budget.stock
            if name not in known
        ]

    def quantity_faults(self) -> list[Fault]:
        """Further objectives and limits that no step measures, and objectives named twice."""
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

    def optimizer_faults(self) -> list[Fault]:
        """What is wanted that the optimizer of that name cannot do."""
        o = self.optimizer
        beyond = [f'goal = "{self.objective.goal}"'] if self.objective.goal in ("many", "map") else []
        beyond += ["several objectives"] if self.objectives else []
        beyond += ["limits"] if self.limits else []
        beyond += ["prior_campaigns"] if o.prior_campaigns else []
        beyond += ["cost.aware"] if self.cost.aware else []
        if o.name not in OUTSIDE or not beyond:
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
        process = tuple(section.domain(name) for name, section in self.process.items())
        return domain.Space(composition=composition, process=process, pool=self._pool(composition, process))

    def _pool(
        self, composition: domain.CompositionSpace | None, process: tuple[Parameter, ...]
    ) -> tuple[Candidate, ...] | None:
        if self.candidates is None:
            return None
        return tuple(candidate(row, composition, process) for row in self.candidates.rows)

    @property
    def wanted(self) -> Objective:
        """What is wanted."""
        others = [section.domain() for section in self.objectives]
        return self.objective.domain(others, [limit.domain() for limit in self.limits], self.optimizer.method)

    @property
    def allowance(self) -> Limits:
        """What it may use up."""
        b = self.budget
        return Limits(experiments=b.experiments, time_s=b.time, money=b.money, stock_mg=b.stock)


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


def candidate(
    row: Mapping[str, Any], composition: domain.CompositionSpace | None, process: tuple[Parameter, ...]
) -> Candidate:
    """One row of the list of candidates."""
    names = composition.names if composition else ()
    row = with_balance(row, composition)
    fractions = {name: domain.exact(float(row[name])) for name in names if float(row[name]) != 0}
    if fractions and composition is not None:
        fractions = snapped(fractions, composition.steps)
    settings: dict[str, Setting] = {p.name: row[p.name] for p in process}
    return Candidate(fractions, settings)


def with_balance(row: Mapping[str, Any], composition: domain.CompositionSpace | None) -> dict[str, Any]:
    """The row with the share of the balance component, where it is not told: what is left of 1."""
    told = dict(row)
    if composition is not None and composition.balance is not None and told.get(composition.balance) is None:
        others = [domain.exact(float(told.get(n) or 0.0)) for n in composition.names if n != composition.balance]
        told[composition.balance] = float(1 - sum(others))
    return told


def snapped(fractions: Mapping[str, Fraction], steps: int) -> dict[str, Fraction]:
    """Fractions on the grid they round to, when that sums to 1; else as they are, to be refused by name."""
    near = {name: Fraction(round(f * steps), steps) for name, f in fractions.items()}
    close = all(abs(near[n] - f) * steps <= Fraction(1, 1000) for n, f in fractions.items())
    if close and sum(near.values()) == 1:
        return near
    total = sum(fractions.values())
    raise SpaceError(
        f"a candidate ({', '.join(f'{n} = {float(f):g}' for n, f in fractions.items())}) is not on the dispenser's grid"
        f" of 1/{steps} or does not sum to 1 (it sums to {float(total):g})"
    )


def with_pool(document: Document) -> Document:
    """The document with the rows of its CSV of candidates read in. Raises FileFaults."""
    section = document.data.get("candidates")
    if not isinstance(section, dict) or not isinstance(section.get("file"), str):
        return document
    columns = section.get("columns", {})
    wanted = wanted_columns(document.data)
    mapping = {name: str(columns.get(name, name)) if isinstance(columns, dict) else name for name in wanted}
    path = document.path.parent / section["file"]
    composition = document.data.get("composition")
    balance = composition.get("balance") if isinstance(composition, dict) else None
    if isinstance(balance, str) and mapping.get(balance) not in header_of(path):
        mapping.pop(balance, None)  # it takes up the rest, so that it need not be told
    rows = read_csv(path, mapping, text=categorical(document.data))
    data = {**document.data, "candidates": {**section, "rows": rows}}
    return Document(document.path, document.text, data, document.lines)


def wanted_columns(data: Mapping[str, Any]) -> list[str]:
    """Components and parameters that each row of a list must give."""
    composition = data.get("composition")
    components = composition.get("components", {}) if isinstance(composition, dict) else {}
    process = data.get("process", {})
    return [*(components if isinstance(components, dict) else ()), *(process if isinstance(process, dict) else ())]


def categorical(data: Mapping[str, Any]) -> set[str]:
    """Parameters whose values are text."""
    process = data.get("process", {})
    sections = process.items() if isinstance(process, dict) else ()
    return {name for name, s in sections if isinstance(s, dict) and s.get("type") == "categorical"}
