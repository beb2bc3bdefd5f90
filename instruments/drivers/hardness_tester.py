"""Vickers hardness tester, model VH-10: indents a polished face and measures both diagonals of each indent.

The machine gives diagonals; the hardness is worked out here:

    HV = 2 sin(136 deg / 2) F / d^2,  F in kgf, d in mm

(ISO 6507-1:2018, clause 4). Hardness is stated in kgf/mm2: that number is the HV of the
standard, which carries no unit by convention, but can be converted to MPa like any other.
An indent whose diagonals differ by more than 5 % is left out (clause 7.9 asks for a note).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
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
from instruments.errors import InvalidMeasurement
from instruments.limits import narrowed
from instruments.scpi import number, table, whole
from instruments.transport import Transport

Indent = tuple[float, float]  #: both diagonals, um
HEADER = ["indent", "d1_um", "d2_um"]
VICKERS = 2.0 * math.sin(math.radians(136.0 / 2.0))
MOST_UNEQUAL = 0.05  #: relative difference of an indent's diagonals
FEWEST = 3  #: good indents that make a measurement
LARGEST_SCATTER = 0.25  #: relative; indents that differ more did not see one material


class Indents(Params):
    """Load, dwell and number of indents."""

    load_kgf: float = quantity("kgf", 0.1, 10, key="load", default=1.0)
    dwell_s: float = quantity("s", 5, 30, key="dwell", default=10.0)
    indents: int = quantity("1", 5, 10, key="indents", default=7)


class HardnessTester(ProgramMachine):
    """See module."""

    raw_name = "indents.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. A face has room for hundreds of indents: measuring again harms nothing."""
        own = Capability(
            name="indent",
            params_model=Indents,
            summary="Vickers hardness of a polished face",
            produces=("vickers_hardness",),
            units={"vickers_hardness": "kgf/mm^2"},
            physical=False,
            recover="counter",
            typical_s=240.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        params = {"load_kgf": 1.0, "indents": 5}
        return JobRequest(job_id=job_id, capability="indent", params=params, samples=(SampleAt(sample_id=sample_id),))

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Begin to indent."""
        assert isinstance(params, Indents)
        load, dwell, count = f"{params.load_kgf:g}", f"{params.dwell_s:g}", str(params.indents)
        program = [
            (f"PROG:LOAD {load}", f"LOAD={load}"),
            (f"PROG:DWEL {dwell}", f"DWEL={dwell}"),
            (f"PROG:IND {count}", f"IND={count}"),
        ]
        return await self.begin(request, program)

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """Hardness over the good indents."""
        assert isinstance(params, Indents)
        (count,) = await self.result_fields(request, run_id, 2)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        u_diagonal = number(await self.wire.query("OPT:UNC?"), "uncertainty of the diagonals", 0, 10)
        indents = parse_indents(raw)
        if len(indents) != params.indents or whole(count, "indents") != params.indents:
            raise InvalidMeasurement(f"{len(indents)} indents came, {params.indents} were asked for")
        value, u, n = hardness(indents, params.load_kgf, u_diagonal)
        reading = Reading(
            sample_id=request.samples[0].sample_id,
            quantity="vickers_hardness",
            value=value,
            unit="kgf/mm^2",
            u=u,
            n=n,
            method=f"HV {params.load_kgf:g}, ISO 6507-1",
            taken_at=self.clock.now(),
        )
        return JobResult(
            job_id=request.job_id,
            readings=(reading,),
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            checks=(await self.check(run_id, "vickers_hardness", "kgf/mm^2"),),
            as_run={"run": run_id, "left_out": len(indents) - n, **params.model_dump(mode="json")},
        )


def parse_indents(raw: bytes) -> list[Indent]:
    """The indents of a raw file. Raises BadReply when it cannot be read."""
    return [(number(row[1], "d1", 0, 1e4), number(row[2], "d2", 0, 1e4)) for row in table(raw, HEADER)]


def hardness(indents: Sequence[Indent], load_kgf: float, u_diagonal_um: float) -> tuple[float, float, int]:
    """Hardness and its standard uncertainty, kgf/mm2, and how many indents are behind it.

    Type A from the scatter, s / sqrt(n) (JCGM 100:2008, 4.2.3); type B from the length
    measurement, 2 u(d) / d, which all indents share.

    Raises
    ------
    InvalidMeasurement
        Too few indents with equal diagonals, or values too far apart.
    """
    good = [(a + b) / 2 for a, b in indents if a > 0 and b > 0 and abs(a - b) <= MOST_UNEQUAL * (a + b) / 2]
    if len(good) < FEWEST:
        raise InvalidMeasurement(f"only {len(good)} of {len(indents)} indents have equal diagonals: cracked or tilted")
    values = [VICKERS * load_kgf / (d / 1000.0) ** 2 for d in good]
    value, scatter = mean(values), stdev(values)
    if scatter > LARGEST_SCATTER * value:
        raise InvalidMeasurement(f"the indents differ by {scatter / value:.0%}: they did not see one material")
    return value, math.hypot(scatter / math.sqrt(len(good)), 2 * u_diagonal_um / mean(good) * value), len(good)


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> HardnessTester:
    """Entry point ``hardness-tester``."""
    return HardnessTester(transport, clock)
