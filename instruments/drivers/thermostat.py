"""Thermostat block, model TB-1: brings one vial to a temperature and keeps it there."""

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


class HoldTemperature(Params):
    """Set-point, and how long it is held once stable."""

    temperature_c: float = quantity("degC", -20, 80, key="temperature")
    hold_s: float = quantity("s", 0, 86400, key="hold", default=600.0)


class Thermostat(ProgramMachine):
    """See module."""

    raw_name = "temperature.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. Holding a temperature again changes no matter."""
        own = Capability(
            name="hold_temperature",
            params_model=HoldTemperature,
            summary="bring one vial to a temperature and keep it there",
            produces=("temperature",),
            units={"temperature": "degC"},
            physical=False,
            recover="counter",
            typical_s=900.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        return JobRequest(
            job_id=job_id,
            capability="hold_temperature",
            params={"temperature_c": 25.0, "hold_s": 60.0},
            samples=(SampleAt(sample_id=sample_id),),
        )

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Begin to heat or cool."""
        assert isinstance(params, HoldTemperature)
        temperature, hold = f"{params.temperature_c:.3f}", f"{params.hold_s:g}"
        program = [(f"PROG:TEMP {temperature}", f"TEMP={temperature}"), (f"PROG:HOLD {hold}", f"HOLD={hold}")]
        return await self.begin(request, program)

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """Mean temperature over the hold."""
        mean, u = await self.result_fields(request, run_id, 3)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        reading = Reading(
            sample_id=request.samples[0].sample_id,
            quantity="temperature",
            value=number(mean, "temperature", -60, 200),
            unit="degC",
            u=number(u, "uncertainty of temperature", 0, 50),
            method="block sensor, mean over the hold",
            taken_at=self.clock.now(),
        )
        return JobResult(
            job_id=request.job_id,
            readings=(reading,),
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            as_run={"run": run_id, **params.model_dump(mode="json")},
        )


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> Thermostat:
    """Entry point ``thermostat``."""
    return Thermostat(transport, clock)
