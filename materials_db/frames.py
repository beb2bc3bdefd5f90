"""Campaigns as tables for notebooks: one row per experiment, units in the column names."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from materials_db import records as db
from materials_db.store import Transaction

if TYPE_CHECKING:
    import pandas as pd


def campaign_frame(tx: Transaction, campaign_id: str) -> pd.DataFrame:
    """All experiments of a campaign.

    Columns: ids and state; requested and measured fraction of each component, process
    settings, each measured quantity with its standard uncertainty, times. The unit stands
    in brackets in the column's name and in ``df.attrs["units"]``.
    """
    import pandas as pd

    campaign = tx.get(db.Campaign, campaign_id)
    components = list(((campaign.spec or {}).get("composition") or {}).get("components", {}))
    rows = [experiment_row(tx, e, components) for e in tx.find(db.Experiment, order="number", campaign_id=campaign_id)]
    frame = pd.DataFrame(rows)
    frame.attrs["units"] = {c: c.rsplit("[", 1)[1].rstrip("]") for c in frame.columns if str(c).endswith("]")}
    frame.attrs["campaign"] = {
        "id": campaign.id,
        "name": campaign.name,
        "seed": campaign.seed,
        "origin": campaign.origin,
    }
    return frame


def experiment_row(tx: Transaction, experiment: db.Experiment, components: Sequence[str]) -> dict[str, Any]:
    """One experiment as one row. A component that was left out has the fraction 0, not "unknown"."""
    sample = tx.find(db.Sample, experiment_id=experiment.id)[0]
    candidate = tx.get(db.Candidate, experiment.candidate_id)
    row: dict[str, Any] = {
        "experiment": experiment.id,
        "number": experiment.number,
        "sample": sample.id,
        "state": experiment.state,
        "origin": sample.origin,
    }
    basis = f"[{candidate.basis} fraction]"
    asked = {name: float(Fraction(f)) for name, f in candidate.fractions.items()}
    weighed = {
        part.component: part.fraction
        for part in tx.find(db.Composition, order="component", sample_id=sample.id, role="measured")
    }
    names = list(dict.fromkeys([*components, *asked]))
    row |= {f"{name} {basis}": asked.get(name, 0.0) for name in names}
    if weighed:
        row |= {f"{name} measured {basis}": weighed.get(name, 0.0) for name in names}
    row |= candidate.process
    for m in tx.find(db.Measurement, order="taken_at", sample_id=sample.id):
        if m.quality != "invalid":
            row[f"{m.quantity} [{m.unit}]"] = m.value
            row[f"u({m.quantity}) [{m.unit}]"] = m.u
    row |= {"started_at": experiment.started_at, "ended_at": experiment.ended_at}
    return row
