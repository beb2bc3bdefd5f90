"""Where a reading becomes a measurement, and what a failed job means for its sample.

Pure functions: they take what the instrument said and give the records to be written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from campaigns.policy import Policy
from instruments.contract import Fault, JobResult, JobStatus, Reading
from instruments.contract import JobState as AtInstrument
from materials_db.records import Calibration, Composition, Ingredient, Job, Lot, Measurement

MASS = "mass."  #: readings of what was weighed in, one per feedstock

Verdict = Literal["done", "again", "failed", "held", "parked", "aborted"]


def judge(status: JobStatus, *, tries: int, physical: bool, policy: Policy) -> Verdict:
    """What follows from how a job ended.

    ``again`` only where a repeat is safe: the act is proven never to have begun, or it
    changes no matter. ``held`` where nobody but a person can know, ``parked`` where a person
    shall decide.
    """
    if status.state in SETTLED:
        return SETTLED[status.state]
    if status.state is AtInstrument.NOT_STARTED and status.fault is None:
        return "again"  # kept back by a hold, or the worker died before it began: nothing failed
    action = policy.action(status.fault)
    if action in ("park", "ask"):
        return "parked"
    untouched = status.state in (AtInstrument.NOT_STARTED, AtInstrument.REJECTED)
    safe = untouched or not physical
    return "again" if safe and action in ("retry", "other") and tries < policy.attempts else "failed"


SETTLED: dict[AtInstrument, Verdict] = {
    AtInstrument.DONE: "done",
    AtInstrument.IN_DOUBT: "held",
    AtInstrument.ABORTED: "aborted",
}


def failed_for_the_candidate(fault: str | None) -> bool:
    """Whether a failure says something about the material, and not about a machine.

    Only such failures reach the optimizer; a candidate lost to a jammed doser is still
    as promising as before.
    """
    return fault == Fault.MEASUREMENT_INVALID


def ingredients(job: Job, result: JobResult, lots: Mapping[str, Lot]) -> list[Ingredient]:
    """What went into the sample, by feedstock: asked for and weighed."""
    asked: dict[str, float] = job.params.get("masses_mg", {})
    return [
        Ingredient(
            id=f"{job.id}/{name}",
            sample_id=job.sample_id,
            job_id=job.id,
            lot_id=lots[name].id,
            intended_mg=asked.get(name, 0.0),
            weighed_mg=max(0.0, reading.value),
            u_mg=reading.u or 0.0,
        )
        for name, reading in weighed(result).items()
        if name in lots
    ]


def weighed(result: JobResult) -> dict[str, Reading]:
    """Readings of weighed masses, by feedstock."""
    return {r.quantity.removeprefix(MASS): r for r in result.readings if r.quantity.startswith(MASS)}


def composition_rows(
    sample_id: str,
    role: Literal["intended", "measured"],
    fractions: Mapping[str, tuple[float, float | None]],
    *,
    basis: Literal["mass", "mole"],
    formulas: Mapping[str, str],
    method: str,
    job_id: str | None = None,
) -> list[Composition]:
    """One row per component: fraction and its standard uncertainty."""
    return [
        Composition(
            id=f"{sample_id}/{role}/{name}",
            sample_id=sample_id,
            role=role,
            basis=basis,
            component=name,
            formula=formulas[name],
            fraction=min(1.0, max(0.0, fraction)),
            u=u,
            method=method,
            job_id=job_id,
        )
        for name, (fraction, u) in fractions.items()
    ]


def measurements(
    job: Job, result: JobResult, raw_ids: Sequence[str], calibrations: Sequence[Calibration], ids: Sequence[str]
) -> list[Measurement]:
    """The readings that say something about the sample, each tied to its raw file and calibration.

    What was read on a scale that its own reference shows to be off is kept, and never used.
    """
    off = {check.quantity: str(check) for check in result.checks if check.off}
    readings = [r for r in result.readings if not r.quantity.startswith(MASS)]
    found = [
        measurement(job, reading, result.simulated, raw_ids, calibrations, id)
        for reading, id in zip(readings, ids, strict=True)
    ]
    return [
        m.model_copy(update={"quality": "invalid", "quality_note": off[m.quantity]}) if m.quantity in off else m
        for m in found
    ]


def measurement(
    job: Job,
    reading: Reading,
    simulated: bool,
    raw_ids: Sequence[str],
    calibrations: Sequence[Calibration],
    id: str,
) -> Measurement:
    """One reading as a property of the sample."""
    calibration = valid_calibration(calibrations, reading.quantity, reading.taken_at)
    suspect = reading.u is None
    missing: dict[str, Any] = {}
    if calibration is None:
        missing["uncalibrated_reason"] = f"no valid calibration of {reading.quantity} on file for this instrument"
    if not raw_ids:
        missing["no_raw_reason"] = "the instrument gave no raw file"
    return Measurement(
        id=id,
        sample_id=reading.sample_id,
        job_id=job.id,
        quantity=reading.quantity,
        value=reading.value,
        unit=reading.unit,
        u=reading.u or 0.0,
        n=reading.n,
        method=reading.method or job.capability,
        quality="suspect" if suspect else "ok",
        quality_note="the instrument states no uncertainty" if suspect else "",
        origin="simulated" if simulated else "measured",
        calibration_id=calibration.id if calibration else None,
        raw_file_id=raw_ids[0] if raw_ids else None,
        taken_at=reading.taken_at,
        **missing,
    )


def valid_calibration(calibrations: Sequence[Calibration], quantity: str, at: datetime) -> Calibration | None:
    """The newest calibration of that quantity that was valid at that moment."""
    valid = [c for c in calibrations if c.quantity == quantity and c.valid_from <= at <= c.valid_to]
    return max(valid, key=lambda c: c.valid_from, default=None)


def seen_to(status: JobStatus, result: JobResult | None) -> JobStatus:
    """The outcome in the light of what the instrument read of its own reference beside the run."""
    off = [check for check in result.checks if check.off] if result else []
    if not off or status.state is not AtInstrument.DONE:
        return status
    return status.model_copy(update={"state": AtInstrument.FAILED, "fault": Fault.DRIFT, "message": str(off[0])})


def share(status: JobStatus, result: JobResult | None, sample: str) -> tuple[JobStatus, JobResult | None]:
    """One sample's part of a tray's outcome."""
    if result is None:
        return status, None
    lost = result.failures.get(sample)
    mine = result.model_copy(update={"readings": tuple(r for r in result.readings if r.sample_id == sample)})
    if lost is None:
        return status, mine
    fault: Fault = lost.fault
    return status.model_copy(update={"state": AtInstrument.FAILED, "fault": fault, "message": lost.message}), mine
