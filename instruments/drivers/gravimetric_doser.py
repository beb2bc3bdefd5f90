"""Gravimetric dosing and mixing robot, model GDR-16: weighs feedstocks into a fresh vial, then stirs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, field_validator

from instruments.clock import Clock
from instruments.contract import (
    Capability,
    Found,
    InstrumentConfig,
    JobRequest,
    JobResult,
    NotStarted,
    Params,
    RawFile,
    Reading,
    Run,
    SampleAt,
    Unknowable,
    quantity,
)
from instruments.drivers.program_machine import ProgramMachine
from instruments.errors import BadReply
from instruments.limits import narrowed
from instruments.scpi import fields, number, quoted, whole
from instruments.transport import Transport

MOST_MG = 20000.0
LEAST_MG = 1.0  #: below, its error is as large as the dose


class DoseAndMix(Params):
    """What goes into the vial, and how it is stirred."""

    masses_mg: dict[str, Annotated[float, Field(ge=0, le=MOST_MG)]] = Field(min_length=1, max_length=16)
    mix_rpm: float = quantity("rpm", 0, 1500, key="mix_speed", default=800.0)
    mix_s: float = quantity("s", 0, 3600, key="mix_time", default=120.0)

    @field_validator("masses_mg")
    @classmethod
    def _names(cls, masses: dict[str, float]) -> dict[str, float]:
        for name in masses:
            quoted(name)
            if 0 < masses[name] < LEAST_MG:
                raise ValueError(f"{masses[name]:g} mg of {name} is below the smallest dose, {LEAST_MG:g} mg")
        if sum(masses.values()) <= 0:
            raise ValueError("nothing would be weighed in")
        return masses


class GravimetricDoser(ProgramMachine):
    """See module."""

    raw_name = "balance.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. The vial is made by the run, so a run is never repeated on a guess."""
        own = Capability(
            name="dose_and_mix",
            params_model=DoseAndMix,
            summary="weigh feedstocks into a fresh vial and stir",
            produces=("mass.",),
            units={"mass.": "mg"},
            least_mg=LEAST_MG,
            consumes=("feedstock", "vial"),
            physical=True,
            recover="query_by_job_id",
            typical_s=420.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        masses = {"EC": 1500.0, "EMC": 3900.0, "LiPF6": 600.0}
        return request(job_id, sample_id, {"masses_mg": masses, "mix_rpm": 800.0, "mix_s": 60.0})

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Dose and stir."""
        assert isinstance(params, DoseAndMix)
        doses = [
            (f"PROG:DOSE {quoted(name)},{mg:.3f}", f"DOSE={quoted(name)},{mg:.3f}")
            for name, mg in params.masses_mg.items()
            if mg > 0
        ]
        mix = f"{params.mix_rpm:g},{params.mix_s:g}"
        return await self.begin(request, [*doses, (f"PROG:MIX {mix}", f"MIX={mix}")])

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """What was really weighed in."""
        assert isinstance(params, DoseAndMix)
        weighed = await self.result_fields(request, run_id)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        at = self.clock.now()
        readings = tuple(mass_reading(request.samples[0].sample_id, text, at) for text in weighed)
        asked = {name for name, mg in params.masses_mg.items() if mg > 0}
        if {r.quantity.removeprefix("mass.") for r in readings} != asked:
            raise BadReply(f"run {run_id} reports other feedstocks than were asked for")
        return JobResult(
            job_id=request.job_id,
            readings=readings,
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            as_run={"run": run_id, "mix_rpm": params.mix_rpm, "mix_s": params.mix_s},
        )

    async def find(self, request: JobRequest, params: object, mark: str) -> Found | NotStarted | Unknowable:
        """Ask by label, which works however many runs came since."""
        run_id = whole(await self.wire.query(f"RUN:FIND? {quoted(request.job_id)}"), "run of label")
        if run_id:
            return Found(await self.poll(str(run_id)))
        return await super().find(request, params, mark)


def mass_reading(sample_id: str, text: str, at: datetime) -> Reading:
    """One feedstock of the result line: ``EC,5200.31,0.15``."""
    name, mass, u = fields(text, 3, "weighed mass")
    return Reading(
        sample_id=sample_id,
        quantity=f"mass.{name}",
        value=number(mass, f"mass of {name}", -100, MOST_MG * 1.1),
        unit="mg",
        u=number(u, f"uncertainty of {name}", 0, MOST_MG),
        method="weighing by difference",
        taken_at=at,
    )


def request(job_id: str, sample_id: str, params: dict[str, Any]) -> JobRequest:
    """A job for one sample."""
    return JobRequest(job_id=job_id, capability="dose_and_mix", params=params, samples=(SampleAt(sample_id=sample_id),))


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> GravimetricDoser:
    """Entry point ``gravimetric-doser``."""
    return GravimetricDoser(transport, clock)
