"""Bottles on the shelf, shared by all campaigns: reserved before work starts, settled after it.

What is promised is counted in whole micrograms by one conditional statement, so that a
hundred campaigns that race for the last gram cannot spend it twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from campaigns.budget import summed
from campaigns.recipe import MASSES
from materials_db import records as db
from materials_db.errors import ConflictError
from materials_db.store import Transaction

UG = 1000  #: micrograms in a milligram
NOT_ENDED = ("planned", "queued", "running", "waiting_human")  #: jobs whose promise may still come back


def bottles(tx: Transaction) -> dict[str, db.Lot]:
    """The bottle in use of each component: the newest."""
    return {lot.component: lot for lot in tx.find(db.Lot, order="received_at")}


def left_mg(tx: Transaction) -> dict[str, float]:
    """What is neither used nor promised, by component."""
    return {name: lot.amount_mg - taken(tx, lot) / UG for name, lot in bottles(tx).items()}


def taken(tx: Transaction, lot: db.Lot) -> int:
    """Micrograms used or promised; counted from the weighings where nothing was promised yet."""
    known = tx.taken(lot.id)
    return weighed(tx, lot) if known is None else known


def weighed(tx: Transaction, lot: db.Lot) -> int:
    """Micrograms that were weighed out of a bottle."""
    return sum(math.ceil(row.weighed_mg * UG) for row in tx.find(db.Ingredient, lot_id=lot.id))


def reserve(tx: Transaction, masses_mg: Mapping[str, float]) -> dict[str, str] | None:
    """Promise these masses, all or none; the lot of each component, None when one is not there any more."""
    lots = bottles(tx)
    asked = {name: math.ceil(mg * UG) for name, mg in masses_mg.items() if name in lots and mg > 0}
    for done, (name, ug) in enumerate(asked.items()):
        lot = lots[name]
        if tx.taken(lot.id) is None:  # several may find that at once
            tx.count_from(lot.id, weighed(tx, lot))
        if not tx.take(lot.id, ug, math.floor(lot.amount_mg * UG)):
            for back in list(asked)[:done]:
                tx.take(lots[back].id, -asked[back], None)
            return None
    return {name: lots[name].id for name in asked}


def in_flight_mg(tx: Transaction) -> dict[str, float]:
    """What is promised to dosings that have not ended, by component: some of it may come back."""
    in_use, found = {lot.id for lot in bottles(tx).values()}, dict[str, float]()
    for job in tx.find(db.Job, state=NOT_ENDED):
        for name, (lot, ug) in promised(tx, job).items():
            found[name] = found.get(name, 0.0) + (ug / UG if lot in in_use else 0.0)
    return found


def short_of(needs_mg: Mapping[str, float], left: Mapping[str, float]) -> bool:
    """Whether some of what is needed is there no more; what is on no shelf is not counted."""
    return any(mg > left.get(name, math.inf) for name, mg in needs_mg.items() if mg > 0)


def may_come(tx: Transaction, needs_mg: Mapping[str, float]) -> bool:
    """Whether it is too little now, and would be enough if all that is promised to others came back."""
    left = left_mg(tx)
    return short_of(needs_mg, left) and not short_of(needs_mg, summed(left, in_flight_mg(tx)))


def promise_again(tx: Transaction, job: db.Job, *, only_free: bool = False) -> None:
    """One more try of a dosing: what it asks for is promised once more.

    Parameters
    ----------
    only_free
        Whether to take nothing that was promised to others: what the try before it had may be theirs by now.

    Raises
    ------
    ConflictError
        Others have been promised what it needs.
    """
    for name, (lot, ug) in promised(tx, job).items():
        amount_mg = tx.get(db.Lot, lot).amount_mg
        if not tx.take(lot, ug, math.floor(amount_mg * UG) if only_free else None):
            left_g = amount_mg / 1000 - (tx.taken(lot) or 0) / UG / 1000
            raise ConflictError(
                f"dosing {job.sample_id} again takes {ug / UG / 1000:.3g} g of {name}; of {lot} {max(0.0, left_g):.3g} g are"
                " neither used nor promised to others: give it up with labctl task fail; nothing was written"
            )


def settle(tx: Transaction, job: db.Job) -> None:
    """Count what a dosing weighed in in place of what it was promised; one that broke off counts as promised."""
    rows, nothing = weighed_in(tx, job), untouched(job)
    for name, (lot, ug) in promised(tx, job).items():
        row = rows.get(name)
        used = math.ceil(row.weighed_mg * UG) if row else 0
        same = row is not None and row.lot_id == lot  # by then it may be another bottle
        if row or nothing:
            tx.take(lot, used - ug if same else -ug, None)
        if row and not same and tx.taken(row.lot_id) is not None:
            tx.take(row.lot_id, used, None)


def give_back(tx: Transaction, experiment_id: str) -> None:
    """The experiment is over: what was promised to a dosing that it never reached."""
    for job in tx.find(db.Job, experiment_id=experiment_id):
        if job.started_at is None:
            settle(tx, job)


def promised(tx: Transaction, job: db.Job) -> dict[str, tuple[str, int]]:
    """Bottle and micrograms of each component that was promised to a job."""
    asked = {name: mg for name, mg in job.params.get(MASSES, {}).items() if mg > 0}
    lots = tx.get(db.Experiment, job.experiment_id).plan.get("lots", {}) if asked else {}
    return {name: (lots[name], math.ceil(mg * UG)) for name, mg in asked.items() if name in lots}


def weighed_in(tx: Transaction, job: db.Job) -> dict[str, db.Ingredient]:
    """What a dosing has weighed in, by component."""
    rows = [row for row in tx.find(db.Ingredient, sample_id=job.sample_id) if row.job_id == job.id]
    return {row.id.removeprefix(f"{job.id}/"): row for row in rows}


def untouched(job: db.Job) -> bool:
    """Whether it is certain that nothing was dosed: never begun, or refused by the device before it ran."""
    if job.started_at is None:
        return True
    return job.state == "failed" and job.device_run_id is None and job.fault != "operator"


def drawn_mg(tx: Transaction, experiments: Sequence[db.Experiment]) -> dict[str, float]:
    """Used and promised by these experiments, by component, in the same way as `settle` counts it."""
    found: dict[str, float] = {}
    jobs = tx.find(db.Job, experiment_id=[e.id for e in experiments]) if experiments else []
    for job in jobs:
        rows = weighed_in(tx, job) if MASSES in job.params else {}
        spared = job.state in ("failed", "aborted") and untouched(job)
        for name, mg in job.params.get(MASSES, {}).items():
            drawn = rows[name].weighed_mg if name in rows else 0.0 if spared else mg
            found[name] = found.get(name, 0.0) + drawn
    return found
