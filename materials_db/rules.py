"""Which record points at which, for every store alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from materials_db import records as r
from materials_db.errors import ConflictError, IntegrityError, NotFoundError

ALL: tuple[type[r.Record], ...] = (
    r.Lot, r.Instrument, r.Calibration, r.Campaign, r.Candidate, r.Recipe, r.Experiment, r.Sample, r.Job,
    r.Ingredient, r.Composition, r.RawFile, r.Measurement, r.Task, r.Hold,
)  # fmt: skip

#: field -> kind that it points at; None in the field is allowed where the record allows it
POINTS: dict[str, dict[str, str]] = {
    "calibration": {"instrument_id": "instrument"},
    "candidate": {"campaign_id": "campaign"},
    "experiment": {"campaign_id": "campaign", "candidate_id": "candidate", "recipe_id": "recipe"},
    "sample": {"experiment_id": "experiment"},
    "job": {"experiment_id": "experiment", "sample_id": "sample", "instrument_id": "instrument"},
    "ingredient": {"sample_id": "sample", "job_id": "job", "lot_id": "lot"},
    "composition": {"sample_id": "sample", "job_id": "job"},
    "raw_file": {"job_id": "job"},
    "measurement": {
        "sample_id": "sample", "job_id": "job", "calibration_id": "calibration", "raw_file_id": "raw_file",
        "supersedes_id": "measurement",
    },
    "task": {"job_id": "job"},
}  # fmt: skip


def check_measurement(record: r.Record) -> None:
    """A value without a raw file or a calibration says why. Raises IntegrityError."""
    if not isinstance(record, r.Measurement):
        return
    if record.calibration_id is None and not (record.uncalibrated_reason or "").strip():
        raise IntegrityError(f"measurement {record.id} has neither a calibration nor a reason for having none")
    if record.raw_file_id is None and not (record.no_raw_reason or "").strip():
        raise IntegrityError(f"measurement {record.id} has neither a raw file nor a reason for having none")
    if record.supersedes_id is not None and not (record.supersedes_reason or "").strip():
        raise IntegrityError(f"measurement {record.id} supersedes {record.supersedes_id} without a reason")


def check_move(kind: type[r.Record], changes: Iterable[str]) -> None:
    """Only what moves may be moved. Raises IntegrityError."""
    fixed = sorted(set(changes) - kind.mutable)
    if fixed:
        raise IntegrityError(f"{', '.join(fixed)} of a {kind.kind} is written once and never changes")


def not_found(kind: type[r.Record] | str, id: str, known: Iterable[str]) -> NotFoundError:
    """The error for an id that is not there, naming near ones."""
    noun = kind if isinstance(kind, str) else kind.kind
    near = difflib.get_close_matches(id, list(known)[-200:], n=3, cutoff=0.6)
    hint = f"; near it: {', '.join(near)}" if near else ""
    return NotFoundError(f"there is no {noun.replace('_', ' ')} {id!r}{hint}")


def conflict(record: r.Record) -> ConflictError:
    """The error for an id that is taken by other content."""
    return ConflictError(f"{record.kind} {record.id} is on record with other content; nothing was written over it")


def wrong_state(kind: type[r.Record], id: str, state: Any, was: Iterable[str]) -> ConflictError:
    """The error for a move from a state that has passed."""
    return ConflictError(f"{kind.kind} {id} is {state}, not {' or '.join(was)}")
