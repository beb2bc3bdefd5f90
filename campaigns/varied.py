"""The part of a campaign file that says what is varied: compositions, process parameters, or a list of candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator

from campaigns import space as domain
from campaigns.dataset import read_dataset
from campaigns.layout import Layout, Wanted
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter, Parameter
from campaigns.pool import Pool
from campaigns.sections import BIGGEST, Count, Name, Number, Section, quantity_or_fault
from campaigns.tables import MOST
from campaigns.toml_file import Fault, FileFaults
from campaigns.units import known_unit
from materials_db.formula import Formula

FINEST = 1e-5  #: step of a dispenser, finer than any; what is counted per step must fit into memory
OFF_GRID = 1e-3  #: dispenser steps by which a listed candidate may be off the grid, as it is rounded


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

    def domain(self, name: str) -> domain.Component:
        """As the space knows it."""
        low, high = domain.exact(self.min), domain.exact(self.max)
        return domain.Component(name=name, formula=self.formula or name, low=low, high=high, optional=self.optional)


class ConstraintSection(Section):
    """[[composition.constraints]]."""

    name: str = Field(min_length=1, max_length=200)
    coefficients: dict[str, float] = Field(min_length=1)
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> ConstraintSection:
        if self.min is None and self.max is None:
            raise ValueError("states neither min nor max")
        return self


class CompositionSection(Section):
    """[composition]."""

    basis: Literal["mass", "mole"] = "mass"
    step: float = Field(0.01, ge=FINEST, le=1)
    balance: str | None = None
    max_present: Count | None = None
    components: dict[Name, ComponentSection] = Field(min_length=1)
    constraints: tuple[ConstraintSection, ...] = ()

    @field_validator("step")
    @classmethod
    def _divides(cls, value: float) -> float:
        if domain.exact(value).numerator != 1:
            raise ValueError("does not divide 1: give 1/n, for example 0.01 or 0.005")
        return value

    def domain(self) -> domain.CompositionSpace:
        """The compositions it allows. Raises SpaceError."""
        return domain.CompositionSpace(
            components=tuple(c.domain(name) for name, c in self.components.items()),
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
    min: Number
    max: Number
    step: Number | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _quantities(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or (info.context and info.context.get("stored")):
            return data
        unit = known_unit(data["unit"]) if isinstance(data.get("unit"), str) else unit_of(data.get("min"))
        told = {k: data[k] for k in ("min", "max", "step") if k in data}
        read = {k: quantity_or_fault(text, unit, difference=k == "step") for k, text in told.items()}
        return {**data, "unit": unit, **read}

    def domain(self, name: str) -> Parameter:
        """As the optimizer knows it."""
        return FloatParameter(name=name, low=self.min, high=self.max, unit=self.unit, step=self.step)


class IntegerSection(Section):
    """[process.NAME] type = "integer"."""

    type: Literal["integer"]
    unit: str = ""
    min: int = Field(ge=-BIGGEST, le=BIGGEST, strict=True)
    max: int = Field(ge=-BIGGEST, le=BIGGEST, strict=True)

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
    counts: Any = ()  #: the list itself, once read: whole dispenser steps, a row per candidate
    settings: Any = ()  #: and process settings: values, or indices of choices
    notes: tuple[str, ...] = ()  #: and how the table was understood

    @field_serializer("counts", "settings", when_used="json")
    def _as_lists(self, value: Any) -> Any:
        return [[int(x) if x == int(x) else float(x) for x in row] for row in value]


def list_of(
    path: Path, layout: Layout, composition: domain.CompositionSpace | None, process: tuple[Parameter, ...]
) -> tuple[Pool, tuple[str, ...]]:
    """The candidates that a table lists, each once, and how it was understood; all must be weighable. Raises FileFaults."""
    import numpy as np

    table = read_dataset(path, layout, Wanted(composition=composition, process=process, blanks=False))
    if not len(table.lines):
        raise FileFaults(path, [Fault(message="it has no rows: nothing is there to choose from", code="LAB-0225")])
    names, steps = (composition.names, composition.steps) if composition else ((), 1)
    scaled = table.shares * steps
    near = np.round(scaled)
    on_grid = (np.abs(near - scaled) <= OFF_GRID).all(axis=1)
    pool = Pool(names, steps, process, np.where(on_grid[:, None], near, scaled), table.settings)
    space = domain.Space(composition=composition, process=process)
    if bad := space.pool_problems(pool, most=MOST):
        faults = [Fault(message=problem, line=int(table.lines[row]), code="LAB-0210") for row, problem in bad]
        raise FileFaults(path, faults)
    return pool.rows(pool.first), table.notes
