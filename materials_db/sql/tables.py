"""The tables. One per record, plus the event log, the leases and the counters.

Numbers and links are typed columns; what only travels along (parameters, plans) is JSON.
Times are ISO 8601 UTC text with microseconds: the same on every database, sortable, and
readable by anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from materials_db.chain import stamp, unstamp


class Utc(TypeDecorator[datetime]):
    """A moment as sortable text."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:
        return None if value is None else stamp(value)

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        return None if value is None else unstamp(value)


def moment(*, index: bool = False, required: bool = True) -> Any:
    """A column of moments."""
    return Field(sa_type=Utc, index=index, nullable=not required)


def json() -> Any:
    """A column of JSON."""
    return Field(sa_type=sa.JSON, nullable=False)


def link(target: str, *, index: bool = True, required: bool = True) -> Any:
    """A foreign key."""
    return Field(foreign_key=target, index=index, nullable=not required)


def one_of(column: str, *values: str) -> sa.CheckConstraint:
    """A column with a closed list of values."""
    listed = ", ".join(f"'{v}'" for v in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


ORIGIN = ("measured", "simulated")


class Row(SQLModel):
    """Every row has the id that its record has."""

    id: str = Field(primary_key=True)


class LotRow(Row, table=True):
    __tablename__ = "lot"
    __table_args__ = (one_of("origin", *ORIGIN), sa.CheckConstraint("amount_mg >= 0", name="amount_not_negative"))
    component: str = Field(index=True)
    formula: str
    supplier: str
    supplier_lot: str
    purity: float | None
    amount_mg: float
    price_per_g: float | None
    currency: str
    received_at: datetime = moment()
    origin: str


class InstrumentRow(Row, table=True):
    __tablename__ = "instrument"
    __table_args__ = (one_of("origin", *ORIGIN),)
    name: str = Field(index=True)
    driver: str
    identity: str
    site: str
    verified_on_hardware: bool
    registered_at: datetime = moment()
    origin: str


class CalibrationRow(Row, table=True):
    __tablename__ = "calibration"
    __table_args__ = (one_of("origin", *ORIGIN), sa.CheckConstraint("valid_from <= valid_to", name="valid_in_order"))
    instrument_id: str = link("instrument.id")
    quantity: str
    certificate: str
    performed_by: str
    u_relative: float | None
    valid_from: datetime = moment()
    valid_to: datetime = moment()
    origin: str


class CampaignRow(Row, table=True):
    __tablename__ = "campaign"
    __table_args__ = (
        one_of("state", "created", "running", "paused", "done", "stopped", "failed"),
        one_of("wanted", "run", "pause", "stop"),
        one_of("origin", *ORIGIN),
    )
    name: str
    file_text: str
    file_sha256: str = Field(index=True)
    spec: dict[str, Any] = json()
    seed: int = Field(sa_type=sa.BigInteger)
    versions: dict[str, str] = json()
    created_at: datetime = moment()
    created_by: str
    origin: str
    state: str = Field(index=True)
    wanted: str
    reason: str
    ended_at: datetime | None = moment(required=False)
    abort: bool
    priority: int
    due_at: datetime | None = moment(required=False)


class CandidateRow(Row, table=True):
    __tablename__ = "candidate"
    __table_args__ = (one_of("basis", "mass", "mole"),)
    campaign_id: str = link("campaign.id")
    fractions: dict[str, str] = json()
    basis: str
    process: dict[str, Any] = json()
    optimizer: str
    origin_of_proposal: str
    predicted: float | None
    predicted_u: float | None
    history_sha256: str
    proposed_at: datetime = moment()


class RecipeRow(Row, table=True):
    __tablename__ = "recipe"
    steps: list[dict[str, Any]] = json()
    batch_mg: float


class ExperimentRow(Row, table=True):
    __tablename__ = "experiment"
    __table_args__ = (
        one_of("state", "planned", "running", "held", "done", "failed", "aborted"),
        sa.UniqueConstraint("campaign_id", "number", name="one_experiment_per_number"),
        sa.Index("ix_experiment_campaign_state", "campaign_id", "state"),
    )
    campaign_id: str = link("campaign.id", index=False)
    candidate_id: str = link("candidate.id")
    number: int
    replicate: int
    recipe_id: str = link("recipe.id", index=False)
    plan: dict[str, Any] = json()
    planned_at: datetime = moment()
    state: str
    outcome: str
    started_at: datetime | None = moment(required=False)
    ended_at: datetime | None = moment(required=False)
    site: str | None


class SampleRow(Row, table=True):
    __tablename__ = "sample"
    __table_args__ = (one_of("origin", *ORIGIN),)
    experiment_id: str = link("experiment.id")
    site: str
    batch_mg: float
    created_at: datetime = moment()
    origin: str


class JobRow(Row, table=True):
    __tablename__ = "job"
    __table_args__ = (
        one_of(
            "state",
            "planned", "queued", "intent", "running", "waiting_human", "done", "failed", "aborted", "in_doubt",
        ),
        sa.Index(
            "ix_job_open", "state", "queued_at",
            sqlite_where=sa.text("state NOT IN ('done', 'failed', 'aborted')"),
            postgresql_where=sa.text("state NOT IN ('done', 'failed', 'aborted')"),
        ),
    )  # fmt: skip
    run: str = Field(unique=True)
    experiment_id: str = link("experiment.id")
    sample_id: str = link("sample.id")
    step: str
    capability: str
    params: dict[str, Any] = json()
    attempt: int
    queued_at: datetime = moment()
    state: str
    instrument_id: str | None = link("instrument.id", index=False, required=False)
    fault: str | None
    message: str
    device_run_id: str | None
    as_run: dict[str, Any] = json()
    started_at: datetime | None = moment(required=False)
    due_at: datetime | None = moment(required=False)
    ended_at: datetime | None = moment(required=False)
    tray: str | None = Field(index=True)


class IngredientRow(Row, table=True):
    __tablename__ = "ingredient"
    __table_args__ = (
        sa.CheckConstraint("intended_mg >= 0 AND weighed_mg >= 0 AND u_mg >= 0", name="masses_not_negative"),
    )
    sample_id: str = link("sample.id")
    job_id: str = link("job.id", index=False)
    lot_id: str = link("lot.id")
    intended_mg: float
    weighed_mg: float
    u_mg: float


class CompositionRow(Row, table=True):
    __tablename__ = "composition"
    __table_args__ = (
        one_of("role", "intended", "measured"),
        one_of("basis", "mass", "mole"),
        sa.CheckConstraint("fraction >= 0 AND fraction <= 1", name="fraction_between_0_and_1"),
        sa.CheckConstraint("role = 'intended' OR job_id IS NOT NULL", name="measured_by_a_job"),
    )
    sample_id: str = link("sample.id")
    role: str
    basis: str
    component: str = Field(index=True)
    formula: str
    fraction: float
    u: float | None
    method: str
    job_id: str | None = link("job.id", index=False, required=False)


class RawFileRow(Row, table=True):
    __tablename__ = "raw_file"
    name: str
    media_type: str
    size: int = Field(sa_type=sa.BigInteger)
    job_id: str = link("job.id")
    stored_at: datetime = moment()


class RawBytesRow(SQLModel, table=True):
    """The bytes of raw files, on a server: every machine of the lab reads them there. A file's lie in a folder beside it."""

    __tablename__ = "raw_bytes"
    sha256: str = Field(primary_key=True)
    content: bytes


class MeasurementRow(Row, table=True):
    __tablename__ = "measurement"
    __table_args__ = (
        one_of("quality", "ok", "suspect", "invalid"),
        one_of("origin", *ORIGIN),
        sa.CheckConstraint(
            "calibration_id IS NOT NULL OR length(trim(coalesce(uncalibrated_reason, ''))) > 0",
            name="calibrated_or_says_why_not",
        ),
        sa.CheckConstraint(
            "raw_file_id IS NOT NULL OR length(trim(coalesce(no_raw_reason, ''))) > 0", name="raw_file_or_says_why_not"
        ),
        sa.CheckConstraint(
            "supersedes_id IS NULL OR length(trim(coalesce(supersedes_reason, ''))) > 0", name="correction_says_why"
        ),
        sa.CheckConstraint("u >= 0 AND n >= 1", name="uncertainty_not_negative"),
        sa.Index("ix_measurement_sample_quantity", "sample_id", "quantity"),
    )
    sample_id: str = link("sample.id", index=False)
    job_id: str = link("job.id")
    quantity: str = Field(index=True)
    value: float
    unit: str
    u: float
    n: int
    method: str
    quality: str
    quality_note: str
    origin: str
    calibration_id: str | None = link("calibration.id", required=False)
    uncalibrated_reason: str | None
    raw_file_id: str | None = link("raw_file.id", required=False)
    no_raw_reason: str | None
    taken_at: datetime = moment()
    supersedes_id: str | None = link("measurement.id", index=False, required=False)
    supersedes_reason: str | None


class TaskRow(Row, table=True):
    __tablename__ = "task"
    __table_args__ = (
        one_of("question", "step", "in_doubt", "parked"),
        one_of("state", "open", "done", "failed", "withdrawn"),
        sa.CheckConstraint("state NOT IN ('done', 'failed') OR length(answered_by) > 0", name="answer_has_a_name"),
    )
    question: str
    job_id: str = link("job.id")
    instrument: str
    samples: list[str] = json()
    title: str
    prompt: dict[str, Any] = json()
    asked_at: datetime = moment()
    state: str = Field(index=True)
    answer: dict[str, Any] = json()
    answered_by: str
    answered_at: datetime | None = moment(required=False)


class HoldRow(Row, table=True):
    __tablename__ = "hold"
    __table_args__ = (
        one_of("mode", "hold", "drain"),
        one_of("state", "active", "released"),
        sa.CheckConstraint("length(placed_by) > 0", name="hold_has_a_name"),
    )
    instrument: str = Field(index=True)
    mode: str
    reason: str
    placed_by: str
    placed_at: datetime = moment()
    state: str = Field(index=True)
    released_by: str
    released_at: datetime | None = moment(required=False)


class EventRow(SQLModel, table=True):
    """The payload is text, not JSON: its exact bytes are hashed."""

    __tablename__ = "event"
    seq: int = Field(primary_key=True, sa_type=sa.BigInteger, sa_column_kwargs={"autoincrement": False})
    at: str
    actor: str
    type: str
    subject: str = Field(index=True)
    payload: str
    prev_hash: str
    hash: str = Field(unique=True)


class LeaseRow(SQLModel, table=True):
    __tablename__ = "lease"
    instrument: str = Field(primary_key=True)
    holder: str | None = Field(index=True)
    fence: int = Field(sa_type=sa.BigInteger)
    since: datetime | None = moment(required=False)


class AllowanceRow(SQLModel, table=True):
    __tablename__ = "allowance"
    name: str = Field(primary_key=True)
    taken: int = Field(sa_type=sa.BigInteger)


class WorkerRow(SQLModel, table=True):
    __tablename__ = "worker"
    host: str = Field(primary_key=True)
    machine: str
    pid: int
    version: str
    journal: str
    control: bool
    since: datetime = moment()
    beat_at: datetime = moment()
    instruments: list[str] = json()


class CounterRow(SQLModel, table=True):
    __tablename__ = "counter"
    series: str = Field(primary_key=True)
    value: int = Field(sa_type=sa.BigInteger)


METADATA = SQLModel.metadata


def table(name: str) -> sa.Table:
    """The table of that noun."""
    return METADATA.tables[name]
