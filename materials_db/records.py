"""What the database remembers. Frozen values; each checks itself when made.

Facts are written once: a correction is a new row that says what it supersedes and why.
`Campaign`, `Experiment` and `Job` also carry a state, which moves by `Transaction.move`
along legal transitions only; every move leaves an event in the audit log.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Origin = Literal["measured", "simulated"]
Quality = Literal["ok", "suspect", "invalid"]


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str]  #: the noun, also the table's name
    mutable: ClassVar[frozenset[str]] = frozenset()  #: fields that `move` may change

    id: str


class Lot(Record):
    """A bottle of feedstock as it was received."""

    kind = "lot"
    component: str  #: the name that campaign files use, e.g. "EC"
    formula: str
    supplier: str = ""
    supplier_lot: str = ""
    purity: float | None = Field(None, gt=0, le=1)  #: mass fraction
    amount_mg: float = Field(ge=0)
    price_per_g: float | None = Field(None, ge=0)
    currency: str = "EUR"
    received_at: AwareDatetime
    origin: Origin


class Instrument(Record):
    """An instrument as it stood when it was registered. A change of identity is a new row."""

    kind = "instrument"
    name: str  #: as the lab file calls it, e.g. "doser-1"
    driver: str
    identity: str  #: what it answered to *IDN? or its like
    site: str
    verified_on_hardware: bool
    registered_at: AwareDatetime
    origin: Origin


class Calibration(Record):
    """Evidence that an instrument reads true, and until when."""

    kind = "calibration"
    instrument_id: str
    quantity: str  #: e.g. "ionic_conductivity"
    certificate: str
    performed_by: str = ""
    u_relative: float | None = Field(None, ge=0)  #: relative standard uncertainty it adds
    valid_from: AwareDatetime
    valid_to: AwareDatetime
    origin: Origin


CampaignState = Literal["created", "running", "paused", "done", "stopped", "failed"]


class Campaign(Record):
    """A campaign file, frozen at launch, and where the campaign stands."""

    kind = "campaign"
    mutable = frozenset({"state", "wanted", "reason", "ended_at", "abort", "priority", "due_at"})
    name: str
    file_text: str
    file_sha256: str
    spec: dict[str, Any]  #: the validated file as JSON
    seed: int
    versions: dict[str, str]  #: labctl and the libraries that decide
    created_at: AwareDatetime
    created_by: str
    origin: Origin
    state: CampaignState = "created"
    wanted: Literal["run", "pause", "stop"] = "run"
    reason: str = ""  #: why it stopped, in words
    ended_at: AwareDatetime | None = None
    abort: bool = False  #: whether running jobs are to be broken off as well
    priority: int = 0  #: the higher, the earlier it is served
    due_at: AwareDatetime | None = None  #: among equals the earlier is served first


class Candidate(Record):
    """A composition and its process settings, as the optimizer proposed them, and why."""

    kind = "candidate"
    campaign_id: str
    fractions: dict[str, str]  #: component -> exact fraction as "n/d"; sums to 1
    basis: Literal["mass", "mole"]
    process: dict[str, float | int | str] = {}
    optimizer: str  #: name and version
    origin_of_proposal: str  #: "initial design", "expected improvement", ...
    predicted: float | None = None  #: posterior mean of the objective, its unit
    predicted_u: float | None = None
    history_sha256: str = ""  #: digest of the observations that it was decided on
    proposed_at: AwareDatetime


class Recipe(Record):
    """The physical instructions that make and test a candidate. Its id is its digest."""

    kind = "recipe"
    steps: list[dict[str, Any]]
    batch_mg: float = Field(gt=0)


ExperimentState = Literal["planned", "running", "held", "done", "failed", "aborted"]


class Experiment(Record):
    """One candidate carried from proposal to measurements."""

    kind = "experiment"
    mutable = frozenset({"state", "outcome", "started_at", "ended_at", "site"})
    campaign_id: str
    candidate_id: str
    number: int  #: 1, 2, ... within the campaign
    replicate: int = 1
    recipe_id: str
    plan: dict[str, Any] = {}  #: what the engine recorded when it was planned
    planned_at: AwareDatetime
    state: ExperimentState = "planned"
    outcome: str = ""  #: why it failed, in words
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    site: str | None = None  #: where its sample is; None until the first step begins


class Sample(Record):
    """The object that exists, or is about to."""

    kind = "sample"
    experiment_id: str
    site: str
    batch_mg: float = Field(gt=0)
    created_at: AwareDatetime
    origin: Origin


JobState = Literal["planned", "queued", "intent", "running", "waiting_human", "done", "failed", "aborted", "in_doubt"]


class Job(Record):
    """One operation asked of one instrument for one sample. Its id is the identity of the act."""

    kind = "job"
    mutable = frozenset(
        {
            "state", "fault", "message", "device_run_id", "started_at", "ended_at", "as_run", "instrument_id", "due_at",
            "tray",
        }
    )  # fmt: skip
    run: str  #: short id for people, e.g. "R-00034"
    experiment_id: str
    sample_id: str
    step: str  #: name of the recipe step
    capability: str
    params: dict[str, Any]
    attempt: int = 1
    queued_at: AwareDatetime
    state: JobState = "queued"
    instrument_id: str | None = None  #: the registered instrument row, once claimed
    fault: str | None = None
    message: str = ""
    device_run_id: str | None = None
    as_run: dict[str, Any] = {}
    started_at: AwareDatetime | None = None
    due_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    tray: str | None = None  #: the act that it shared with other samples, e.g. "Y-00003"


class Ingredient(Record):
    """What went into a sample: asked for and weighed."""

    kind = "ingredient"
    sample_id: str
    job_id: str
    lot_id: str
    intended_mg: float = Field(ge=0)
    weighed_mg: float = Field(ge=0)
    u_mg: float = Field(ge=0)


class Composition(Record):
    """One component's share of a sample. Intended and measured are separate rows."""

    kind = "composition"
    sample_id: str
    role: Literal["intended", "measured"]
    basis: Literal["mass", "mole"]
    component: str
    formula: str
    fraction: float = Field(ge=0, le=1)
    u: float | None = Field(None, ge=0)
    method: str
    job_id: str | None = None  #: the weighing; None for intended


class RawFile(Record):
    """A file as the instrument gave it. Its id is the SHA-256 of its bytes."""

    kind = "raw_file"
    name: str
    media_type: str
    size: int = Field(ge=0)
    job_id: str
    stored_at: AwareDatetime


class Measurement(Record):
    """A property attributed to a sample.

    A value must lead back to a job, and from there to a raw file and a calibration;
    where one of the two does not exist, the row says why. The database refuses it otherwise.
    """

    kind = "measurement"
    sample_id: str
    job_id: str
    quantity: str
    value: float
    unit: str
    u: float = Field(ge=0)  #: standard uncertainty (k=1)
    n: int = Field(1, ge=1)
    method: str
    quality: Quality = "ok"
    quality_note: str = ""
    origin: Origin
    calibration_id: str | None = None
    uncalibrated_reason: str | None = None
    raw_file_id: str | None = None
    no_raw_reason: str | None = None
    taken_at: AwareDatetime
    supersedes_id: str | None = None
    supersedes_reason: str | None = None


class Task(Record):
    """What a person is asked to do, or to say, about a job; and the answer."""

    kind = "task"
    mutable = frozenset({"state", "answer", "answered_by", "answered_at"})
    question: Literal["step", "in_doubt", "parked"]  #: a step that needs hands; did it happen? what now?
    job_id: str
    instrument: str  #: name in the lab file
    samples: list[str]  #: ids
    title: str
    prompt: dict[str, Any]  #: "text", and "fields" to be filled in: name, unit, low, high
    asked_at: AwareDatetime
    state: Literal["open", "done", "failed", "withdrawn"] = "open"
    answer: dict[str, Any] = {}  #: "note", "values" by field, "happened" for a question in doubt
    answered_by: str = ""
    answered_at: AwareDatetime | None = None


class Hold(Record):
    """An instrument that takes no new work, because a person or its record says so."""

    kind = "hold"
    mutable = frozenset({"state", "released_by", "released_at"})
    instrument: str  #: name in the lab file
    mode: Literal["hold", "drain"]  #: drain: samples that it has begun with may still come back
    reason: str
    placed_by: str
    placed_at: AwareDatetime
    state: Literal["active", "released"] = "active"
    released_by: str = ""
    released_at: AwareDatetime | None = None


class Event(BaseModel):
    """One line of the audit log; `hash` covers everything else and the line before."""

    model_config = ConfigDict(frozen=True)

    seq: int
    at: AwareDatetime
    actor: str
    type: str  #: e.g. "sample.added", "job.moved"
    subject: str  #: id of the record
    payload: dict[str, Any]
    prev_hash: str
    hash: str


class Worker(BaseModel):
    """The process that drove a host last, as it said itself. Whether it lives, its lock says."""

    model_config = ConfigDict(frozen=True)

    host: str  #: name in the lab file
    machine: str
    pid: int
    version: str  #: of labctl
    journal: str  #: identity of the folder in which its instruments' journals lie
    control: bool  #: whether it also decides what campaigns do next
    since: AwareDatetime
    beat_at: AwareDatetime
    instruments: list[str] = []  #: that it drives, as the lab file of its machine says


class Lease(BaseModel):
    """Who holds an instrument. `fence` rises with every new holder."""

    model_config = ConfigDict(frozen=True)

    instrument: str  #: name in the lab file
    holder: str | None
    fence: int
    since: AwareDatetime | None = None
