"""The simulated impedance analyser IA-2 with its conductivity cell: spectra of what is really in the vial."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from instruments.sim import physics
from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import Refused, Reply
from instruments.sim.standard import Standard, WithStandard
from instruments.sim.world import World

CELL_PER_CM = 1.0
U_CELL = 0.004
#: KCl 0.1 mol/kg at 25 degC, mS/cm: Pratt, Koch, Wu, Berezansky, Pure Appl. Chem. 73, 1783 (2001), table 2; our uncertainties
KCL = Standard("KCl 0.1 mol/kg, 25 degC", 12.8246, 0.013, 0.02)
SWEEP_S = 60.0
LEADS_H = 2e-8


class ImpedanceCell(WithStandard):
    """See module."""

    model = "IA-2"
    standard = KCL
    drift_per_run = 2e-4  #: of the cell constant

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:SWEep": self._sweep,
            "PROGram:AMPLitude": lambda a: self.program.update(amplitude=self.number(a, 1, 100)),
            "PROGram:REPeat": lambda a: self.program.update(repeats=int(self.number(a, 1, 20))),
            "CELL:CONStant?": lambda _: f"{CELL_PER_CM:.4f},{U_CELL:.4f}",
            "CELL:CALibrate": lambda _: self.calibrate(),
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"low": 1e3, "high": 1e6, "points": 31, "amplitude": 10.0, "repeats": 1}

    def _sweep(self, argument: str) -> Reply:
        parts = argument.split(",")
        if len(parts) != 3:
            raise Refused(-109, "Missing parameter")
        low, high = self.number(parts[0], 1, 1e7), self.number(parts[1], 1, 1e7)
        if low >= high:
            raise Refused(-221, "Settings conflict; from is not below to")
        self.program |= {"low": low, "high": high, "points": int(self.number(parts[2], 5, 201))}
        return None

    def echo_settings(self) -> list[str]:
        """Sweep, excitation, repeats."""
        p = self.program
        return [f"SWE={p['low']:g},{p['high']:g},{p['points']}", f"AMPL={p['amplitude']:g}", f"REP={p['repeats']}"]

    def check(self) -> None:
        """The vial must stand in a thermostat block."""
        if self._thermostat(str(self.program["sample"])) is None:
            raise Refused(-241, "Hardware missing; the sample is not in the thermostat")

    def _thermostat(self, sample: str) -> str | None:
        """The block in which the vial stands."""
        for name in self.neighbours.get("thermostat", []):
            last = self.world.memory.last(name)
            if last is not None and last.sample == sample:
                return name
        return None

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Fix what the cell will see: the liquid's true conductivity at its true temperature."""
        sample = str(program["sample"])
        contents = self.world.contents(sample, self.neighbours.get("gravimetric-doser", [])) or {}
        block = self.world.memory.last(self._thermostat(sample) or "")
        temperature = float(block.program["true"]) if block else 22.0
        program["temperature"] = temperature
        program["why_not"] = physics.failure(contents, temperature) if contents else "the vial is empty"
        program["truth"] = physics.conductivity(contents, temperature) if contents else 0.0
        program["drift"] = self.drift()
        return program, SWEEP_S * program["repeats"]

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """Solids and bubbles in the cell give no spectrum."""
        if program["why_not"]:
            return 4, f"no stable spectrum: {program['why_not']}"
        if self.world.happens("bubble", self.name, rng):
            return 4, "no stable spectrum: bubble in the cell"
        return super().trouble(rng, program)

    def truth(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Conductivity of a liquid at a temperature, mS/cm, and why there is none."""
        if "temperature_c" not in order:
            return {}
        mass, celsius = order["mass"], float(order["temperature_c"])
        return {"conductivity": physics.conductivity(mass, celsius), "failure": physics.failure(mass, celsius)}

    def result(self, run: PastRun) -> str:
        """Temperature in the cell, sweeps done."""
        rng = self.world.rng("cell sensor", self.name, run.sample, run.attempt)
        return f'"{run.sample}",{run.program["temperature"] + rng.gauss(0.0, 0.03):.3f},0.050,{run.program["repeats"]}'

    def data(self, run: PastRun) -> str:
        """Spectra: solution resistance, constant-phase element of the electrodes, inductance of the leads.

        Noise is heteroscedastic: a relative part that grows with the resistance, and a floor.
        """
        p, lines = run.program, ["sweep,frequency_Hz,z_real_ohm,z_imag_ohm"]
        rng = self.world.rng("spectrum", self.name, run.sample, run.attempt)
        outlier = math.exp(rng.gauss(0.0, 0.15)) if self.world.happens("outlier", self.name, rng) else 1.0
        drains = self.world.happens("drain", self.name, self.world.rng("drain", self.name, run.sample, run.attempt))
        common = rng.gauss(0.0, 0.003)
        for sweep in range(1, p["repeats"] + 1):
            seen = p["truth"] * (1 + common + rng.gauss(0.0, 0.006)) * (1 + p["drift"]) * outlier
            seen *= 0.5 if drains and sweep > 1 else 1.0  # half of the liquid has left the cell
            resistance = 1000.0 * CELL_PER_CM / seen
            for i in range(p["points"]):
                f = p["low"] * (p["high"] / p["low"]) ** (i / (p["points"] - 1))
                real, imaginary = impedance(resistance, 2 * math.pi * f)
                noise = 0.01 + 5e-4 * resistance
                lines.append(f"{sweep},{f:.6g},{real + rng.gauss(0, noise):.5g},{imaginary + rng.gauss(0, noise):.5g}")
        return "\n".join(lines) + "\n"


def impedance(resistance: float, omega: float) -> tuple[float, float]:
    """Real and imaginary part, ohm, of the cell's equivalent circuit."""
    q, a = 2e-5, 0.9
    size = 1.0 / (q * omega**a)
    return resistance + size * math.cos(a * math.pi / 2), -size * math.sin(a * math.pi / 2) + omega * LEADS_H
