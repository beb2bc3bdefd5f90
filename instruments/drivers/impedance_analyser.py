"""Impedance analyser with a conductivity cell, model IA-2.

The machine gives spectra; the conductivity is worked out here. Above the relaxation of the
electrodes the cell behaves as the solution's resistance R in series with a constant-phase
element, and the leads add an inductance L:

    Z = R + 1 / (Q (j w)^a) + j w L

so Re Z = R + cot(a pi / 2) * (w L - Im Z): a straight line whose value at Im Z = w L is R
(Barsoukov and Macdonald, Impedance Spectroscopy, 2nd ed. 2005, section 2.1). It is fitted
by least squares in the three unknowns R, cot(a pi / 2) and L cot(a pi / 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from instruments.scpi import fields, number, table, whole
from instruments.transport import Transport

Point = tuple[float, float, float]  #: frequency Hz, real ohm, imaginary ohm
HEADER = ["sweep", "frequency_Hz", "z_real_ohm", "z_imag_ohm"]
LARGEST_SCATTER = 0.1  #: relative; sweeps that differ more did not see the same liquid


class MeasureConductivity(Params):
    """The sweep."""

    frequency_low_hz: float = quantity("Hz", 1, 1e7, key="frequency_low", default=1000.0)
    frequency_high_hz: float = quantity("Hz", 1, 1e7, key="frequency_high", default=1e6)
    points: int = quantity("1", 5, 201, key="points", default=31)
    amplitude_mv: float = quantity("mV", 1, 100, key="amplitude", default=10.0)
    repeats: int = quantity("1", 1, 20, key="repeats", default=3)

    @model_validator(mode="after")
    def _order(self) -> MeasureConductivity:
        if self.frequency_low_hz >= self.frequency_high_hz:
            raise ValueError(
                f"frequency_low {self.frequency_low_hz:g} Hz must be below frequency_high {self.frequency_high_hz:g} Hz"
            )
        return self


class ImpedanceAnalyser(ProgramMachine):
    """See module."""

    raw_name = "impedance.csv"

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self.clock = clock

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. Measuring again uses up no matter."""
        own = Capability(
            name="measure_conductivity",
            params_model=MeasureConductivity,
            summary="impedance spectra of the liquid in the thermostat, as ionic conductivity",
            produces=("ionic_conductivity", "temperature"),
            units={"ionic_conductivity": "mS/cm", "temperature": "degC"},
            physical=False,
            recover="counter",
            typical_s=240.0,
        )
        return narrowed([own], limits)

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        return JobRequest(
            job_id=job_id,
            capability="measure_conductivity",
            params={"repeats": 2, "points": 11},
            samples=(SampleAt(sample_id=sample_id),),
        )

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Begin to sweep."""
        assert isinstance(params, MeasureConductivity)
        sweep = f"{params.frequency_low_hz:g},{params.frequency_high_hz:g},{params.points}"
        amplitude, repeats = f"{params.amplitude_mv:g}", str(params.repeats)
        program = [
            (f"PROG:SWE {sweep}", f"SWE={sweep}"),
            (f"PROG:AMPL {amplitude}", f"AMPL={amplitude}"),
            (f"PROG:REP {repeats}", f"REP={repeats}"),
        ]
        return await self.begin(request, program)

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """Conductivity and the temperature at which it was measured."""
        assert isinstance(params, MeasureConductivity)
        temperature, u_temperature, sweeps = await self.result_fields(request, run_id, 4)
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        constant, u_constant = fields(await self.wire.query("CELL:CONS?"), 2, "cell constant")
        cell = number(constant, "cell constant", 1e-3, 1e3)
        u_cell = number(u_constant, "uncertainty of the cell constant", 0, 1e3)
        spectra = parse_spectra(raw)
        if len(spectra) != params.repeats or whole(sweeps, "sweeps") != params.repeats:
            raise InvalidMeasurement(f"{len(spectra)} sweeps came, {params.repeats} were asked for")
        value, u = conductivity([solution_resistance(s) for s in spectra], cell, u_cell)
        sample, at = request.samples[0].sample_id, self.clock.now()
        check = await self.check(run_id, "ionic_conductivity", "mS/cm", scale=u_cell / cell)
        return JobResult(
            job_id=request.job_id,
            readings=(
                Reading(
                    sample_id=sample,
                    quantity="ionic_conductivity",
                    value=value,
                    unit="mS/cm",
                    u=u,
                    n=len(spectra),
                    method="impedance, high-frequency intercept",
                    taken_at=at,
                ),
                Reading(
                    sample_id=sample,
                    quantity="temperature",
                    value=number(temperature, "temperature in the cell", -60, 200),
                    unit="degC",
                    u=number(u_temperature, "uncertainty of temperature", 0, 50),
                    method="sensor in the cell",
                    taken_at=at,
                ),
            ),
            raw_files=(RawFile(name=self.raw_name, media_type="text/csv", content=raw),),
            checks=(check,),
            as_run={"run": run_id, "cell_constant_per_cm": cell, **params.model_dump(mode="json")},
        )


def parse_spectra(raw: bytes) -> list[list[Point]]:
    """The sweeps of a raw file. Raises BadReply when it cannot be read."""
    sweeps: dict[str, list[Point]] = {}
    for sweep, *cells in table(raw, HEADER):
        f, re, im = (number(cell, name) for cell, name in zip(cells, HEADER[1:], strict=True))
        sweeps.setdefault(sweep, []).append((f, re, im))
    return list(sweeps.values())


def solution_resistance(spectrum: Sequence[Point]) -> float:
    """Resistance of the solution, ohm, by the straight line of the module's text.

    Raises
    ------
    InvalidMeasurement
        Too few points, or no positive resistance: an open cell or a bubble.
    """
    import numpy as np

    if len(spectrum) < 5:
        raise InvalidMeasurement(f"a sweep has only {len(spectrum)} points")
    f, real, imaginary = np.array(spectrum, dtype=float).T
    omega = 2 * math.pi * f
    design = np.column_stack([np.ones_like(f), -imaginary, omega / omega.max()])
    fitted, *_ = np.linalg.lstsq(design, real, rcond=None)
    resistance = float(fitted[0])
    rest = real - design @ fitted
    if not resistance > 0:
        raise InvalidMeasurement(f"a sweep gives a resistance of {resistance:.3g} ohm: open cell or bubble")
    if float(np.sqrt(np.mean(rest**2))) > LARGEST_SCATTER * resistance:
        raise InvalidMeasurement("a sweep does not look like a liquid between electrodes")
    return resistance


def conductivity(resistances: Sequence[float], cell: float, u_cell: float) -> tuple[float, float]:
    """Conductivity and its standard uncertainty, mS/cm.

    Type A from the scatter of the sweeps, s / sqrt(n) (JCGM 100:2008, 4.2.3), and the cell
    constant's own uncertainty, combined as independent relative uncertainties.

    Parameters
    ----------
    resistances
        Of the solution, ohm, one per sweep.
    cell, u_cell
        Cell constant and its standard uncertainty, 1/cm.
    """
    middle, n = mean(resistances), len(resistances)
    scatter = stdev(resistances) / middle if n > 1 else 0.01
    if n > 1 and scatter > LARGEST_SCATTER:
        raise InvalidMeasurement(f"the sweeps differ by {scatter:.0%}: they did not see the same liquid")
    value = 1000.0 * cell / middle
    return value, value * math.hypot(scatter / math.sqrt(n), u_cell / cell)


def make(config: InstrumentConfig, transport: Transport, clock: Clock) -> ImpedanceAnalyser:
    """Entry point ``impedance-analyser``."""
    return ImpedanceAnalyser(transport, clock)
