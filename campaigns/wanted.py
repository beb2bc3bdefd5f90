"""The part of a campaign file that says what is wanted: objectives, limits, and what things cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from campaigns.optimizer import Direction, Goal, Objective, OutcomeLimit, Prices
from campaigns.sections import Euros, Name, Section, in_unit, stored
from campaigns.units import TEMPERATURES, UnitError, known_unit, money

BATCH_MG = 1000.0  #: what a sample is taken to weigh where no recipe says it

Unit = Annotated[str, BeforeValidator(lambda value: known_unit(value) if isinstance(value, str) else value)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Bound = Annotated[float, BeforeValidator(in_unit)]


class ObjectiveSection(Section):
    """[objective]: the property that decides, and what is wanted of it.

    `goal` "best" finds the single best, "many" collects all good ones, "target" hits
    `target` or a value inside `band`, "map" learns the whole landscape. Only for "target"
    `direction` may be left out: what counts then is how far away a value is.
    """

    quantity: Name
    unit: Unit
    goal: Goal = "best"
    direction: Direction | None = Field(None, validate_default=True)
    target: Bound | None = None
    band: tuple[float, float] | None = Field(None, validate_default=True)
    weight: Weight = 1.0
    reference: Bound | None = None

    @field_validator("direction")
    @classmethod
    def _direction(cls, value: Direction | None, info: ValidationInfo) -> Direction | None:
        if value is None and info.data.get("goal", "target") != "target":
            raise PydanticKnownError("missing")
        return value

    @field_validator("band", mode="before")
    @classmethod
    def _band_in_unit(cls, value: Any, info: ValidationInfo) -> Any:
        return [in_unit(v, info) for v in value] if isinstance(value, list | tuple) else value

    @field_validator("band")
    @classmethod
    def _band(cls, value: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"the band must go from a lower to a higher value, not from {value[0]:g} to {value[1]:g}")
        if {"goal", "target"} <= info.data.keys() and (problem := aim_problem(value, info.data)):
            raise ValueError(problem)
        return value

    def domain(
        self, others: Sequence[Objective], limits: Sequence[OutcomeLimit], combine: Literal["pareto", "weighted"]
    ) -> Objective:
        """As the optimizer knows it."""
        return Objective(
            quantity=self.quantity, unit=self.unit, direction=self.direction or "maximize", target=self.target,
            goal=self.goal, band=self.band, others=tuple(others), limits=tuple(limits), weight=self.weight,
            reference=self.reference, combine=combine,
        )  # fmt: skip


def aim_problem(band: tuple[float, float] | None, told: Mapping[str, Any]) -> str:
    """What is wrong with goal, target and band taken together."""
    if told["goal"] != "target":
        return 'a band is for goal = "target"' if band is not None else ""
    if band is not None and told["target"] is not None:
        return "give a target or a band, not both"
    if band is None and told["target"] is None:
        return 'goal = "target" needs target = "..." (one value) or band = ["...", "..."] (lowest, highest)'
    return ""


class FurtherSection(Section):
    """[[objectives]]: a further property that is wanted high or low; what is looked for is the Pareto front."""

    quantity: Name
    unit: Unit
    direction: Direction
    weight: Weight = 1.0
    reference: Bound | None = None

    def domain(self) -> Objective:
        """As the optimizer knows it."""
        return Objective(
            quantity=self.quantity,
            unit=self.unit,
            direction=self.direction,
            weight=self.weight,
            reference=self.reference,
        )


class LimitSection(Section):
    """[[limits]]: what a measured property must keep for a material to be of any use."""

    quantity: Name
    unit: Unit
    min: Bound | None = None
    max: Bound | None = Field(None, validate_default=True)

    @field_validator("max")
    @classmethod
    def _some(cls, value: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("min")
        if value is None and low is None and "min" in info.data:
            raise ValueError("a limit needs min, max or both")
        if value is not None and low is not None and low > value:
            raise ValueError(f"min {low:g} is above max {value:g}")
        return value

    def domain(self) -> OutcomeLimit:
        """As the optimizer knows it."""
        return OutcomeLimit(quantity=self.quantity, unit=self.unit, low=self.min, high=self.max)


class CostSection(Section):
    """[cost]: what an experiment costs, its feedstock where the lab's bottles have no price, and whether the optimizer minds.

    It counts against the money of [budget] in any case. `aware` makes the optimizer weigh
    what it expects to learn or gain against what it would cost.
    """

    aware: bool = Field(False, strict=True)
    per_experiment: Euros | None = None
    settings: dict[Name, str] = {}  #: money per unit of a process parameter, as it is written: "12 EUR/h"
    feedstock: dict[str, str] = {}  #: money per mass of a component, "4.2 EUR/g", where no bottle says it

    @field_validator("settings", "feedstock", mode="before")
    @classmethod
    def _written(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict):
            return {k: str(v) if isinstance(v, int | float) and not stored(v, info) else v for k, v in value.items()}
        return value

    @property
    def per_mg(self) -> dict[str, float]:
        """Price of each component that has one here. Raises UnitError."""
        return {name: rate(text, "g") / 1000 for name, text in self.feedstock.items()}

    def prices(self, units: Mapping[str, str], batch_mg: float) -> Prices:
        """With the feedstock as it is priced here, which the lab's stock goes before.

        Parameters
        ----------
        units
            Unit of each numeric process parameter.
        batch_mg
            Mass of a sample, mg; 0 where no recipe says it.
        """
        rates = {name: rate(text, units[name]) for name, text in self.settings.items() if name in units}
        components = {name: price * (batch_mg or BATCH_MG) for name, price in self.per_mg.items()}
        return Prices(fixed=self.per_experiment or 0.0, components=components, settings=rates)


def rate(text: str, unit: str) -> float:
    """Euros per `unit` of a setting. Raises UnitError, also when it is below 0."""
    if unit in TEMPERATURES:  # a price per degree is per difference of temperatures
        text, unit = text.replace(f"/{unit}", f"/delta_{unit}") if unit != "K" else text, delta(unit)
    found = money(text, f"({unit})" if unit else "")
    if found < 0:
        raise UnitError(f"{text!r}: a price is not below 0")
    return found


def delta(unit: str) -> str:
    """The unit of differences of a temperature."""
    return unit if unit == "K" else f"delta_{unit}"
