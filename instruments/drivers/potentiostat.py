"""Potentiostat with a flat cell, model PS-3: polarisation curves in salt water, and where pits begin to grow.

The machine gives curves; the pitting potential is worked out here: the most positive potential
at which the current density still crosses 100 uA/cm2 on the way up, between neighbouring
points on a logarithmic scale (V'c100 of JIS G 0577). Potentials are against Ag/AgCl in
saturated KCl, which lies 0.197 V above the hydrogen electrode and 0.044 V below the
saturated calomel electrode (Bard and Faulkner, Electrochemical Methods, 2nd ed. 2001).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean, stdev
from typing import Any

from pydantic import model_validator

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
from instruments.errors import InvalidMeasurement
from instruments.limits import narrowed
from instruments.scpi import number, table, whole
from instruments.transport import Transport

Point = tuple[float, float]  #: potential V, current density A/cm2
HEADER = ["scan", "potential_V", "current_A_per_cm2"]
PITTING_A_PER_CM2 = 1e-4
ONE_SCAN_V = 0.015  #: standard uncertainty of a single scan: pits begin by chance
LARGEST_SCATTER_V = 0.15  #: scans that differ more did not see one surface


class PittingPotential(Params):
    """The sweep."""

    from_v: float = quantity("V", -1.6, 0.5, key="from", default=-1.3)
    to_v: float = quantity("V", -1.5, 1.5, key="to", default=-0.2)
    rate_mv_per_s: float = quantity("mV/s", 0.1, 10, key="rate", default=1.0)
    scans: int = quantity("1", 1, 5, key="scans", default=3)

    @model_validator(mode="after")
    def _order(self) -> PittingPotential:
        if self.from_v + 0.1 > self.to_v:
            raise ValueError(f"from {self.from_v:g} V must be at least 0.1 V below to {self.to_v:g} V")
        return self


class Potentiostat(ProgramMachine):
    """See module."""

    raw_name = "polarisation.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. Each scan takes a fresh spot of the face: measuring again harms nothing."""
        own = Capability(
            name="pitting_potential",
            params_model=PittingPotential,
            summary="polarisation curves in 3.5 % NaCl, as pitting potential against Ag/AgCl (sat. KCl)",
            produces=("pitting_potential",),
            units={"pitting_potential": "V"},
            consumes=("salt water",),
            physical=False,
            recover="counter",
            typical_s=3600.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        return JobRequest(
            job_id=job_id,
            capability="pitting_potential",
            params={"rate_mv_per_s": 5.0, "scans": 2},
            samples=(SampleAt(sample_id=sample_id),),
        )

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Begin to sweep."""
        assert isinstance(params, PittingPotential)
        sweep = f"{params.from_v:.3f},{params.to_v:.3f},{params.rate_mv_per_s:g}"
        program = [(f"PROG:SWE {sweep}", f"SWE={sweep}"), (f"PROG:REP {params.scans}", f"REP={params.scans}")]
        return await self.begin(request, program)

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """Pitting potential over the scans."""
        assert isinstance(params, PittingPotential)
        u_reference, scans = await self.result_fields(request, run_id, 3)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        curves = parse_curves(raw)
        if len(curves) != params.scans or whole(scans, "scans") != params.scans:
            raise InvalidMeasurement(f"{len(curves)} scans came, {params.scans} were asked for")
        electrode = number(u_reference, "uncertainty of the reference electrode", 0, 0.1)
        value, u = over_scans([pitting(curve) for curve in curves], electrode)
        reading = Reading(
            sample_id=request.samples[0].sample_id,
            quantity="pitting_potential",
            value=value,
            unit="V",
            u=u,
            n=len(curves),
            method="potentiodynamic, 3.5 % NaCl, at 100 uA/cm2, vs Ag/AgCl (sat. KCl)",
            taken_at=self.clock.now(),
        )
        return JobResult(
            job_id=request.job_id,
            readings=(reading,),
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            as_run={"run": run_id, "reference": "Ag/AgCl (sat. KCl)", **params.model_dump(mode="json")},
        )


def parse_curves(raw: bytes) -> list[list[Point]]:
    """The scans of a raw file. Raises BadReply when it cannot be read."""
    curves: dict[str, list[Point]] = {}
    for scan, potential, current in table(raw, HEADER):
        curves.setdefault(scan, []).append(
            (number(potential, "potential", -5, 5), number(current, "current density", -10, 10))
        )
    return list(curves.values())


def pitting(curve: Sequence[Point]) -> float:
    """Where the current rises through 100 uA/cm2 for good, V.

    Raises
    ------
    InvalidMeasurement
        It never does, or is above it from the start: no contact, or a crevice.
    """
    for (v0, i0), (v1, i1) in reversed(list(pairwise(curve))):
        if i0 < PITTING_A_PER_CM2 <= i1:
            low = max(i0, 1e-9)
            share = math.log(PITTING_A_PER_CM2 / low) / math.log(i1 / low)
            return v0 + (v1 - v0) * share
    raise InvalidMeasurement("a scan does not cross 100 uA/cm2: no contact, a crevice, or too short a sweep")


def over_scans(potentials: Sequence[float], u_electrode: float) -> tuple[float, float]:
    """Mean and standard uncertainty, V: scatter over the scans (JCGM 100:2008, 4.2.3) and reference electrode."""
    n = len(potentials)
    scatter = stdev(potentials) if n > 1 else ONE_SCAN_V
    if n > 1 and scatter > LARGEST_SCATTER_V:
        raise InvalidMeasurement(f"the scans differ by {1000 * scatter:.0f} mV: they did not see one surface")
    return mean(potentials), math.hypot(scatter / math.sqrt(n), u_electrode)


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> Potentiostat:
    """Entry point ``potentiostat``."""
    return Potentiostat(transport, clock)
