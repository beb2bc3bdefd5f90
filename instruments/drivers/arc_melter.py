"""Arc melter, model AM-1: melts what was weighed in to one ingot, under argon, turned over between melts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instruments.clock import Clock
from instruments.contract import (
    Capability,
    InstrumentConfig,
    JobRequest,
    JobResult,
    Params,
    RawFile,
    Reading,
    Run,
    SampleAt,
    quantity,
)
from instruments.drivers.program_machine import ProgramMachine
from instruments.limits import narrowed
from instruments.scpi import number
from instruments.transport import Transport


class Melt(Params):
    """How it is melted."""

    current_a: float = quantity("A", 50, 400, key="current", default=200.0)
    arc_s: float = quantity("s", 5, 120, key="arc_time", default=30.0)
    melts: int = quantity("1", 1, 8, key="melts", default=4)


class ArcMelter(ProgramMachine):
    """See module."""

    raw_name = "arc.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. Every melt boils off some of the charge, so none is repeated on a guess."""
        own = Capability(
            name="melt",
            params_model=Melt,
            summary="melt the weighed charge to one ingot in an electric arc",
            produces=("ingot_mass",),
            units={"ingot_mass": "mg"},
            consumes=("argon",),
            physical=True,
            recover="counter",
            typical_s=900.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        params = {"current_a": 200.0, "arc_s": 30.0, "melts": 2}
        return JobRequest(job_id=job_id, capability="melt", params=params, samples=(SampleAt(sample_id=sample_id),))

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Strike the arc."""
        assert isinstance(params, Melt)
        arc, melts = f"{params.current_a:g},{params.arc_s:g}", str(params.melts)
        return await self.begin(request, [(f"PROG:ARC {arc}", f"ARC={arc}"), (f"PROG:MELT {melts}", f"MELT={melts}")])

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """What the ingot weighs."""
        assert isinstance(params, Melt)
        mass, u = await self.result_fields(request, run_id, 3)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        reading = Reading(
            sample_id=request.samples[0].sample_id,
            quantity="ingot_mass",
            value=number(mass, "mass of the ingot", 0, 1e6),
            unit="mg",
            u=number(u, "uncertainty of the mass", 0, 1e4),
            method="weighed after the last melt",
            taken_at=self.clock.now(),
        )
        return JobResult(
            job_id=request.job_id,
            readings=(reading,),
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            as_run={"run": run_id, **params.model_dump(mode="json")},
        )


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> ArcMelter:
    """Entry point ``arc-melter``."""
    return ArcMelter(transport, clock)
