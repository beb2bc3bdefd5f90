"""The campaign file: what is varied, what is wanted, what limits it, how it is made.

Models of the TOML as people write it, checked field by field, and its meaning as domain
objects. Once launched, the campaign lives from the JSON of this, not from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
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
from campaigns.optimizer import Earlier, Objective
from campaigns.parameters import Parameter
from campaigns.policy import FailuresSection
from campaigns.pool import Pool
from campaigns.sections import Name, Section, quantity_or_fault
from campaigns.told import from_record
from campaigns.varied import CandidatesSection, CategoricalSection, CompositionSection, ProcessSection
from campaigns.wanted import CostSection, FurtherSection, LimitSection, ObjectiveSection

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

    @property
    def measured_units(self) -> dict[str, str]:
        """Every property that a table of results must tell, with its unit, the deciding one first."""
        units = {o.quantity: o.unit for o in self.wanted.all}
        units |= {limit.quantity: limit.unit for limit in self.wanted.limits if limit.quantity not in units}
        return {q: units[q] for q in self.wanted.quantities}

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
