"""The simulated potentiostat PS-3 with its flat cell: polarisation curves of what the piece has really become."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from instruments.sim import alloy_physics as physics
from instruments.sim.alloy_pieces import piece
from instruments.sim.indenter import asked
from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import Refused, Reply, ScpiDevice
from instruments.sim.world import World

SOAK_S = 600.0  #: before each scan, at rest
U_REFERENCE_V = 0.003
DRIFT_PER_RUN_V = 2e-4  #: random walk of the reference electrode
CHANCE_V = 0.012  #: scatter from scan to scan: pits begin by chance
PASSIVE_A, RISE_V = 2e-6, 0.006  #: passive current density A/cm2; potential in which a pit's current grows e-fold
POINTS = 120


class FlatCell(ScpiDevice):
    """See module."""

    model = "PS-3"

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:SWEep": self._sweep,
            "PROGram:REPeat": lambda a: self.program.update(scans=int(self.number(a, 1, 5))),
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"sweep": [-1.3, -0.2, 1.0], "scans": 1}

    def _sweep(self, argument: str) -> Reply:
        parts = argument.split(",")
        if len(parts) != 3:
            raise Refused(-109, "Missing parameter")
        low, high = self.number(parts[0], -1.6, 0.5), self.number(parts[1], -1.5, 1.5)
        if low >= high:
            raise Refused(-221, "Settings conflict; from is not below to")
        self.program["sweep"] = [low, high, self.number(parts[2], 0.1, 10)]
        return None

    def echo_settings(self) -> list[str]:
        """Sweep and scans."""
        low, high, rate = self.program["sweep"]
        return [f"SWE={low:.3f},{high:.3f},{rate:g}", f"REP={self.program['scans']}"]

    def check(self) -> None:
        """There must be a piece."""
        piece(self, str(self.program["sample"]))

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Fix what the cell will see."""
        _, state, _ = piece(self, str(program["sample"]))
        walk = self.world.rng("drift", self.name)
        drift = sum(walk.gauss(0.0, DRIFT_PER_RUN_V) for _ in range(min(self.count(), 2000)))
        program["truth"] = physics.pitting_potential(state) + drift
        low, high, rate = program["sweep"]
        return program, program["scans"] * (SOAK_S + 1000.0 * (high - low) / rate)

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """Bubbles under the seal give no curve."""
        if self.world.happens("bubble", self.name, rng):
            return 4, "open circuit: bubble under the seal"
        return super().trouble(rng, program)

    def truth(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Pitting potential of an alloy after its treatments, V."""
        if "solution_c" not in order:
            return {}
        return {"pitting_potential": physics.pitting_potential(physics.state_of(order["mass"], *asked(order)))}

    def result(self, run: PastRun) -> str:
        """Uncertainty of the reference electrode, scans done."""
        return f'"{run.sample}",{U_REFERENCE_V:.4f},{run.program["scans"]}'

    def data(self, run: PastRun) -> str:
        """Curves: a corrosion potential, a passive plateau, pits that grow."""
        p, lines = run.program, ["scan,potential_V,current_A_per_cm2"]
        rng = self.world.rng("curves", self.name, run.sample, run.attempt)
        low, high, _ = p["sweep"]
        for scan in range(1, p["scans"] + 1):
            pit = p["truth"] + rng.gauss(0.0, CHANCE_V)
            for i in range(POINTS):
                v = low + (high - low) * i / (POINTS - 1)
                lines.append(f"{scan},{v:.4f},{current(v, pit) * math.exp(rng.gauss(0.0, 0.05)):.4e}")
        return "\n".join(lines) + "\n"


def current(v: float, pit: float) -> float:
    """Current density, A/cm2: cathodic below the corrosion potential, passive, then 100 uA/cm2 at the pitting potential."""
    corrosion = pit - 0.25
    if v < corrosion:
        return -PASSIVE_A * min(50.0, math.exp((corrosion - v) / 0.12))
    return PASSIVE_A + (1e-4 - PASSIVE_A) * math.exp(min((v - pit) / RISE_V, 6.0))
