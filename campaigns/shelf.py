"""Bottles on the shelf, shared by all campaigns: reserved before work starts, settled after it.

What is promised is counted in whole micrograms by one conditional statement, so that a
hundred campaigns that race for the last gram cannot spend it twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from campaigns.recipe import MASSES
from materials_db import records as db
from materials_db.store import Transaction

UG = 1000  #: micrograms in a milligram


def bottles(tx: Transaction) -> dict[str, db.Lot]:
    """The bottle in use of each component: the newest."""
    return {lot.component: lot for lot in tx.find(db.Lot, order="received_at")}


def left_mg(tx: Transaction) -> dict[str, float]:
    """What is neither used nor promised, by component."""
    return {name: lot.amount_mg - taken(tx, lot) / UG for name, lot in bottles(tx).items()}


def taken(tx: Transaction, lot: db.Lot) -> int:
    """Micrograms used or promised; counted from the weighings where nothing was promised yet."""
    known = tx.taken(lot.id)
    if known is None:
        known = sum(math.ceil(i.weighed_mg * UG) for i in tx.find(db.Ingredient, lot_id=lot.id))
    return known


def reserve(tx: Transaction, masses_mg: Mapping[str, float]) -> dict[str, str] | None:
    """Promise these masses, all or none; the lot of each component, None when one is not there any more."""
    lots = bottles(tx)
    asked = {name: math.ceil(mg * UG) for name, mg in masses_mg.items() if name in lots and mg > 0}
    for done, (name, ug) in enumerate(asked.items()):
        lot = lots[name]
        if tx.taken(lot.id) is None:
            tx.take(lot.id, taken(tx, lot), None)
        if not tx.take(lot.id, ug, math.floor(lot.amount_mg * UG)):
            for back in list(asked)[:done]:
                tx.take(lots[back].id, -asked[back], None)
            return None
    return {name: lots[name].id for name in asked}


def settle(tx: Transaction, experiment: db.Experiment) -> None:
    """Count what was weighed in in place of what was promised; a dosing that broke off counts as promised."""
    lots: dict[str, str] = experiment.plan.get("lots", {})
    if not lots:
        return
    promised = {name: math.ceil(experiment.plan["cost"]["stock_mg"][name] * UG) for name in lots}
    weighed = {i.lot_id: math.ceil(i.weighed_mg * UG) for i in tx.find(db.Ingredient, sample_id=sample_of(experiment))}
    begun = any(MASSES in job.params and job.started_at for job in tx.find(db.Job, experiment_id=experiment.id))
    for name, lot in lots.items():
        used = weighed.get(lot, 0) if weighed else promised[name] if begun else 0
        if used != promised[name]:
            tx.take(lot, used - promised[name], None)


def sample_of(experiment: db.Experiment) -> str:
    """Id of its sample."""
    return str(experiment.plan["sample_id"])
