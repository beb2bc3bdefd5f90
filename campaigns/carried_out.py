"""The parts of a campaign file that say how it is carried out: within which limits, by which optimizer, in which steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from campaigns.layout import Fractions, Layout
from campaigns.sections import BIGGEST, Count, Euros, Milligrams, Name, Number, Seconds, Section, stored
from campaigns.units import known_unit

CAMPAIGN_ID = r"C-\d{1,9}"
TABLES = (".csv", ".tsv", ".txt")  #: endings of tables of results


class CampaignSection(Section):
    """[campaign]."""

    name: Name
    seed: int = Field(1, ge=0, le=BIGGEST, strict=True)
    description: str = Field("", max_length=2000)
    priority: int = Field(0, ge=-100, le=100, strict=True)  #: the higher, the earlier it is served
    due: datetime | None = None  #: of equal priority, the earlier is served first

    @field_validator("due", mode="before")
    @classmethod
    def _with_zone(cls, value: Any, info: ValidationInfo) -> Any:
        given = datetime.fromisoformat(value) if stored(value, info, str) else value
        if given is not None and (not isinstance(given, datetime) or given.tzinfo is None):
            raise ValueError("a moment with its zone is needed, without quotes: due = 2026-12-24T18:00:00Z")
        return given


class DataSection(Section):
    """[data]: how tables of candidates and results are written."""

    columns: dict[str, str] = {}  #: component, parameter or quantity -> column, where they differ
    units: dict[str, str] = {}  #: unit of a column, where its header does not say it
    fractions: Fractions = "auto"
    header: bool = True

    @field_validator("units")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: known_unit(unit) for name, unit in value.items()}

    def layout(self, columns: Mapping[str, str] = {}) -> Layout:
        """As the reader of tables knows it; `columns` go before those of this section."""
        key = "candidates.columns" if columns else "data.columns"
        return Layout(
            columns={**self.columns, **columns}, units=self.units, fractions=self.fractions, header=self.header, key=key
        )


class BudgetSection(Section):
    """[budget]."""

    experiments: Count | None = None
    time: Seconds | None = None
    money: Euros | None = None
    stock: dict[str, Milligrams] = {}
    instrument_time: dict[str, Seconds] = {}  #: by capability

    @model_validator(mode="after")
    def _some_limit(self) -> BudgetSection:
        if self.experiments is None and self.time is None and self.money is None:
            raise ValueError("a campaign needs an end: give experiments, time or money")
        return self


class StopSection(Section):
    """[stop]."""

    at_target: bool = True
    expected_improvement: Number | None = Field(None, ge=0)
    patience: Count = 5
    within: Number | None = Field(None, gt=0)  #: stop when the best possible is at most so much better ...
    probability: float = Field(0.8, gt=0, lt=1)  #: ... with this probability


class TraySection(Section):
    """[optimizer] tray: so many experiments are made together and share some process settings."""

    size: int = Field(ge=2, le=256, strict=True)
    shared: tuple[Name, ...] = ()


class OptimizerSection(Section):
    """[optimizer]."""

    name: Literal["bayesian", "random", "botorch", "baybe"] = "bayesian"
    initial: Count | None = None
    in_flight: int = Field(3, ge=1, le=256, strict=True)
    model: Literal["mixture", "single-gp"] = "mixture"
    coordinates: Literal["auto", "roots", "uniform", "fractions"] = "auto"
    method: Literal["pareto", "weighted"] = "pareto"
    prior_campaigns: tuple[str, ...] = ()  #: ids of this lab's campaigns, and tables of results
    prior_tables: dict[str, Any] = {}  #: rows of these tables, once read
    prior_notes: dict[str, tuple[str, ...]] = {}  #: and how each was understood
    tray: TraySection | None = None

    @field_validator("prior_campaigns")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(earlier_name, value)))

    @field_validator("prior_tables", "prior_notes")
    @classmethod
    def _only_read(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if value and not (info.context and info.context.get("stored")):
            raise ValueError('tables are named in prior_campaigns: prior_campaigns = ["old-data.csv"]')
        return value

    @property
    def prior_ids(self) -> tuple[str, ...]:
        """Earlier campaigns of this lab."""
        return tuple(name for name in self.prior_campaigns if re.fullmatch(CAMPAIGN_ID, name))


def earlier_name(text: str) -> str:
    """An earlier campaign's id as the lab writes it, or the name of a table. Raises ValueError."""
    if re.fullmatch(CAMPAIGN_ID, text):
        return f"C-{int(text[2:]):04d}"
    if Path(text).suffix.casefold() not in TABLES:
        raise ValueError(
            f'{text!r} is no campaign\'s id and no table; write for example "C-0001" (labctl campaign list)'
            ' or "old-data.csv"'
        )
    return text


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
    steps: tuple[StepSection, ...] = Field(min_length=1)  #: campaign_faults holds them against each other
