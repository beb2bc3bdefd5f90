"""A campaign as the loop uses it: domain objects, read from the database's copy of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from campaigns.budget import Limits
from campaigns.optimizer import Earlier, Objective, Prices
from campaigns.space import Space
from campaigns.spec import Spec
from materials_db import records as db


@dataclass(frozen=True, kw_only=True)
class Plan:
    """See module."""

    spec: Spec
    space: Space
    objective: Objective
    limits: Limits
    in_flight: int
    optimizer: str
    initial: int | None
    seed: int
    batch_mg: float
    basis: Literal["mass", "mole"]
    formulas: Mapping[str, str]
    stop_at_target: bool
    gain_threshold: float | None
    patience: int
    within: float | None = None  #: stop when the best possible is at most so much better ...
    probability: float = 0.8  #: ... with this probability
    model: Literal["mixture", "single-gp"] = "mixture"
    coordinates: Literal["auto", "roots", "uniform", "fractions"] = "auto"
    tray: int = 1  #: experiments that are made together
    shared: tuple[str, ...] = ()  #: process parameters that are the same for all of a tray
    cost: Prices = field(default_factory=Prices)  #: of an experiment, feedstock as the campaign file prices it
    prior: tuple[str, ...] = ()  #: ids of earlier campaigns of this lab to learn from
    prices: Prices | None = None  #: with the feedstock, when the optimizer should mind; known once a lab is at hand
    earlier: tuple[Earlier, ...] = ()  #: what tables told, and once a lab is at hand what those campaigns found

    @classmethod
    def of(cls, campaign: db.Campaign) -> Plan:
        """From the campaign's row."""
        return cls.from_spec(Spec.from_json(campaign.spec))

    @classmethod
    def from_spec(cls, spec: Spec) -> Plan:
        """From a campaign file that was read."""
        composition = spec.space.composition
        tray = spec.optimizer.tray
        return cls(
            spec=spec,
            space=spec.space,
            objective=spec.wanted,
            limits=spec.allowance,
            in_flight=max(spec.optimizer.in_flight, tray.size if tray else 1),
            optimizer=spec.optimizer.name,
            initial=spec.optimizer.initial,
            seed=spec.campaign.seed,
            batch_mg=spec.recipe.batch,
            basis=composition.basis if composition else "mass",
            formulas=composition.formulas if composition else {},
            stop_at_target=spec.stop.at_target,
            gain_threshold=spec.stop.expected_improvement,
            patience=spec.stop.patience,
            within=spec.stop.within,
            probability=spec.stop.probability,
            model=spec.optimizer.model,
            coordinates=spec.optimizer.coordinates,
            tray=tray.size if tray else 1,
            shared=tray.shared if tray else (),
            cost=spec.cost.prices(spec.numeric_units, spec.recipe.batch),
            prior=spec.optimizer.prior_ids,
            earlier=spec.earlier,
        )
