"""What a campaign may ask of an instrument, and what it gets back.

Two protocols stand here. An `Instrument` is what campaigns see: jobs with identities that
survive any crash. A `Driver` is what a driver author writes: one plain class over a
transport, which knows its device but nothing of durability. `instruments.host.Host` turns
the second into the first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class JobState(StrEnum):
    """Where a job stands at its instrument."""

    NEVER_SEEN = "never_seen"  #: this host has no record of the job id
    INTENT = "intent"  #: written down, START not yet confirmed
    RUNNING = "running"
    WAITING_HUMAN = "waiting_human"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"
    REJECTED = "rejected"  #: refused before anything physical happened
    NOT_STARTED = "not_started"  #: proven never to have started: safe to send again
    IN_DOUBT = "in_doubt"  #: nobody but a person can know whether it happened

    @property
    def final(self) -> bool:
        """Whether the job will not move again without a person or a new submit."""
        return self not in _MOVING


ACTION = 3.0  #: |zeta| from which a reference asks for action: ISO 13528:2022, 9.6 and 9.4
_MOVING = {JobState.NEVER_SEEN, JobState.INTENT, JobState.RUNNING, JobState.WAITING_HUMAN}


class Mode(StrEnum):
    """Whether an instrument takes new work. Orthogonal to the state of its jobs."""

    READY = "ready"
    BUSY = "busy"
    CLEANING = "cleaning"
    MAINTENANCE = "maintenance"
    LOCAL = "local"  #: someone has it at the front panel
    INTERLOCKED = "interlocked"
    FAULT = "fault"
    OFFLINE = "offline"
    CALIBRATION_DUE = "calibration_due"


def machine(identity: str) -> str:
    """Maker, model and serial number of an identity; the firmware behind them may change (IEEE 488.2, 10.14)."""
    return ",".join(part.strip() for part in identity.split(",")[:3])


class Fault(StrEnum):
    """Why a job failed. A closed list: it decides what may be tried again."""

    TRANSPORT = "transport"
    TIMEOUT = "timeout"
    BAD_REPLY = "bad_reply"
    REJECTED = "rejected"
    OUT_OF_LIMITS = "out_of_limits"
    INTERLOCK = "interlock"
    CONSUMABLE = "consumable"
    JAM = "jam"
    SAMPLE_LOST = "sample_lost"
    MEASUREMENT_INVALID = "measurement_invalid"
    DRIFT = "drift"
    OPERATOR = "operator"
    UNKNOWN = "unknown"


class Params(BaseModel):
    """Base of every capability's parameters: frozen, no unknown keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def quantity(unit: str, low: float, high: float, *, key: str, default: Any = ..., **more: Any) -> Any:
    """A parameter with a unit and hard limits, both of which travel in the JSON schema.

    Parameters
    ----------
    unit
        Unit of the number, as pint spells it (``"degC"``, ``"mg"``, ``"s"``).
    low, high
        Hard limits in that unit, inclusive.
    key
        The name that a campaign file uses, without the unit suffix (``temperature`` for
        the field ``temperature_c``).
    """
    return Field(default, ge=low, le=high, json_schema_extra={"unit": unit, "key": key}, **more)


class SampleAt(Params):
    """A sample and where it stands when the job begins."""

    sample_id: str
    position: str = ""


class JobRequest(Params):
    """One operation asked of one instrument. `job_id` is the physical identity of the act."""

    job_id: str
    capability: str
    params: dict[str, Any]
    samples: tuple[SampleAt, ...]

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of this request in canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Reading(Params):
    """What a device reported about a sample, before anyone interpreted it."""

    sample_id: str
    quantity: str  #: e.g. "ionic_conductivity", "mass.LiPF6", "temperature"
    value: float
    unit: str  #: as pint spells it, e.g. "mS/cm"
    u: float | None = Field(None, ge=0)  #: standard uncertainty (k=1) in `unit`; None when the device states none
    n: int = Field(1, ge=1)  #: number of repeats behind the value
    method: str = ""  #: e.g. "impedance, high-frequency intercept"
    taken_at: AwareDatetime


class Check(Params):
    """What an instrument read of a reference material of its own beside a run, and what that is certified to be."""

    reference: str  #: which, e.g. "KCl 0.1 mol/kg, 25 degC"
    quantity: str  #: of the readings that stand or fall with it
    unit: str
    value: float
    u: float = Field(ge=0)  #: standard uncertainty (k=1) of that reading
    certified: float
    u_certified: float = Field(gt=0)  #: no certificate states none

    @property
    def zeta(self) -> float:
        """Distance from the certified value in their combined standard uncertainty (ISO 13528:2022, 9.6)."""
        return (self.value - self.certified) / math.hypot(self.u, self.u_certified)

    @property
    def off(self) -> bool:
        """Whether the instrument must be seen to: an "action signal" of that standard, at 3."""
        return abs(self.zeta) >= ACTION

    def __str__(self) -> str:
        read = f"{self.value:.5g} +- {self.u:.2g} {self.unit}"
        return f"{self.reference} reads {read}, certified {self.certified:.5g} +- {self.u_certified:.2g}"


class RawFile(BaseModel):
    """A file exactly as the instrument gave it."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    name: str
    media_type: str
    content: bytes


class SampleFailure(Params):
    """What went wrong with one sample of a tray while the others are fine."""

    fault: Fault
    message: str


class JobResult(BaseModel):
    """All that a finished job leaves behind."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    readings: tuple[Reading, ...] = ()
    raw_files: tuple[RawFile, ...] = ()
    checks: tuple[Check, ...] = ()  #: of the instrument itself, made beside the run
    failures: dict[str, SampleFailure] = {}  #: by sample id, those of a tray that were lost
    as_run: dict[str, Any] = {}  #: set-points read back and facts of the run, not the request
    simulated: bool = False


class JobStatus(BaseModel):
    """Where a job stands, and what went wrong with it if something did."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    state: JobState
    fault: Fault | None = None
    message: str = ""
    run_id: str | None = None  #: the device's own run number, once known
    eta: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class Health(BaseModel):
    """Whether an instrument takes new work, and who it says it is."""

    model_config = ConfigDict(frozen=True)

    mode: Mode
    at: AwareDatetime
    identity: str = ""  #: the *IDN? answer or its like
    message: str = ""
    consumables: dict[str, float] = {}


Recovery = Literal["query_by_job_id", "fingerprint", "counter", "none"]


@dataclass(frozen=True, kw_only=True)
class Capability:
    """One thing that an instrument can do, with its limits and its manners in trouble."""

    name: str
    params_model: type[Params]
    summary: str  #: one line for people
    batch: tuple[int, int] = (1, 1)  #: fewest and most samples in one job
    produces: tuple[str, ...] = ()  #: quantities of the readings, prefix match allowed ("mass.")
    #: unit of the readings of each quantity, named as in `produces`
    units: Mapping[str, str] = field(default_factory=dict)
    least_mg: float = (
        0.0  #: smallest dose of a feedstock that it weighs in, mg; 0 where it weighs nothing in or states none
    )
    consumes: tuple[str, ...] = ()  #: what it uses up, in words for people
    physical: bool = True  #: True when repeating the act would change matter
    recover: Recovery = "fingerprint"  #: by what an act is known again after a crash
    abort: Literal["immediate", "safe_point", "none"] = "safe_point"  #: where an abort leaves it
    typical_s: float = 60.0  #: usual duration, lab seconds

    def expected_s(self, params: Mapping[str, Any]) -> float:
        """How long it will take, lab seconds: as usual, or longer where its parameters ask for more time than that."""
        return max(self.typical_s, self.asked_s(params))

    def asked_s(self, params: Mapping[str, Any]) -> float:
        """The time that its parameters ask for, lab seconds."""
        fields = self.params_model.model_fields
        extra = {name: f.json_schema_extra for name, f in fields.items() if isinstance(f.json_schema_extra, dict)}
        return sum(float(params[name]) for name, more in extra.items() if more.get("unit") == "s" and name in params)


class RunState(StrEnum):
    """What the device says of one of its runs."""

    RUNNING = "running"
    WAITING_HUMAN = "waiting_human"  #: nothing happens until a person acts
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the device knows it."""

    run_id: str
    state: RunState
    remaining_s: float = 0.0  #: lab seconds the device expects to need
    fault: Fault | None = None
    message: str = ""
    ended_at: AwareDatetime | None = None  #: lab time, where the device tells when it was over


@dataclass(frozen=True)
class Found:
    """Recovery: the device began this act, as this run."""

    run: Run


@dataclass(frozen=True)
class NotStarted:
    """Recovery: the device proves that the act never began."""


@dataclass(frozen=True)
class Unknowable:
    """Recovery: the device cannot tell."""

    reason: str


class Driver(Protocol):
    """One plain async class over a transport. What a third party writes."""

    verified_on_hardware: bool  #: False until someone has run it against the real machine

    @classmethod
    def capabilities(cls, limits: dict[str, Any]) -> list[Capability]:
        """What the device can do; `limits` narrows the hard limits for this one machine. No wire."""

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small harmless job, for the conformance suite."""

    async def identity(self) -> str:
        """Who answers at the other end."""

    async def health(self) -> tuple[Mode, str, dict[str, float]]:
        """Mode, message for people, consumables left."""

    async def mark(self) -> str:
        """The device's state just before a START (run counter and the like), for `find`."""

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Begin the act. Never called twice for one job unless `find` proved NotStarted."""

    async def poll(self, run_id: str) -> Run:
        """Where the run stands."""

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """Readings and raw files of a finished run. May be asked again."""

    async def find(self, request: JobRequest, params: Params, mark: str) -> Found | NotStarted | Unknowable:
        """After a crash: did the act of this request begin? `mark` was taken before the START."""

    async def abort(self, run_id: str) -> None:
        """Stop the run in the way its capability declares."""

    async def close(self) -> None:
        """Let go of the wire."""


@runtime_checkable
class Salvages(Protocol):
    """A driver whose device keeps what a run had given by the time it was broken off. Drivers need not be one."""

    async def salvage(self, request: JobRequest, run_id: str) -> tuple[RawFile, ...]:
        """Raw files of an aborted run, as far as they go; none where there is nothing in them. May be asked again."""


@runtime_checkable
class Instrument(Protocol):
    """What a campaign asks for: jobs that survive any crash."""

    instrument_id: str

    def describe(self) -> list[Capability]: ...

    async def health(self) -> Health: ...

    async def submit(self, request: JobRequest) -> JobStatus:
        """Idempotent on `job_id`; the same id with another digest is REJECTED."""

    async def status(self, job_id: str) -> JobStatus:
        """Answerable after any restart."""

    async def result(self, job_id: str) -> JobResult:
        """Repeatable until `release`."""

    async def abort(self, job_id: str, reason: str) -> JobStatus: ...

    async def release(self, job_id: str) -> None:
        """The caller has the result durably; the host may forget its files."""

    async def list_open(self) -> list[str]:
        """Jobs this host knows and nobody has released."""

    async def control(self, verb: str, who: str) -> Health:
        """hold, release_hold, safe_stop, enter_maintenance, leave_maintenance."""


@dataclass(frozen=True, kw_only=True)
class InstrumentConfig:
    """One instrument of the lab file, as its driver factory receives it."""

    instrument_id: str
    driver: str  #: entry point name in the group ``labctl.instruments``
    address: str  #: ``tcp://host:port``
    limits: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    simulated: bool = False
