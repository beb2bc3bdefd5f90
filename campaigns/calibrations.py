"""Calibrations that run out: without a valid one an instrument takes no new work, until somebody decides."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from campaigns import holds
from materials_db import records as db
from materials_db.store import Transaction

DUE = "calibration due"  #: how the reason of such a hold begins


def run_out(tx: Transaction, instrument_ids: Collection[str], now: datetime) -> list[db.Calibration]:
    """The last calibration of each quantity that these instruments are calibrated for, where it is no longer valid."""
    found = tx.find(db.Calibration, order="valid_to", instrument_id=list(instrument_ids)) if instrument_ids else []
    last = {(c.instrument_id, c.quantity): c for c in found}
    return [c for c in last.values() if c.valid_to < now]


def hold_if_due(tx: Transaction, instrument_ids: Collection[str], now: datetime) -> None:
    """Take instruments out whose calibration has run out. Whoever releases one has decided: it is not asked again."""
    for calibration in run_out(tx, instrument_ids, now):
        name = tx.get(db.Instrument, calibration.instrument_id).name
        reason = f"{DUE}: {calibration.certificate} ({calibration.quantity}) ended on {calibration.valid_to:%Y-%m-%d}"
        if not tx.find(db.Hold, instrument=name, reason=reason, limit=1):
            holds.place(tx, name, reason, now)


def renewed(tx: Transaction, instrument: str, now: datetime) -> None:
    """There is a new certificate: what was held for the old one is free."""
    holds.release_own(tx, instrument, now, DUE)
