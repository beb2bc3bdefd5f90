"""The simulated hardness tester VH-10: diagonals of indents in what the piece has really become."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from instruments.sim import alloy_physics as physics
from instruments.sim.alloy_pieces import piece
from instruments.sim.memory_of_machines import PastRun
from instruments.sim.standard import Standard, WithStandard
from instruments.sim.world import World

SETTLE_S = 20.0  #: to find the next place and focus
U_DIAGONAL_UM = 0.25
BLOCK = Standard("hardness block 120 HV 1", 120.0, 1.0, 0.9)  #: as ISO 6507-3 asks for; the values are ours, kgf/mm2
SPREAD, FLOOR = 0.015, 0.6  #: of the hardness from place to place, relative and kgf/mm2
TILTED = 0.02  #: share of indents with unequal diagonals


class Indenter(WithStandard):
    """See module."""

    model = "VH-10"
    standard = BLOCK
    drift_per_run = 1e-4  #: of the optics

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:LOAD": lambda a: self.program.update(load=self.number(a, 0.1, 10)),
            "PROGram:DWELl": lambda a: self.program.update(dwell=self.number(a, 5, 30)),
            "PROGram:INDents": lambda a: self.program.update(indents=int(self.number(a, 5, 10))),
            "OPTics:CALibrate": lambda _: self.calibrate(),
            "OPTics:UNCertainty?": lambda _: f"{U_DIAGONAL_UM:.3f}",
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"load": 1.0, "dwell": 10.0, "indents": 5}

    def echo_settings(self) -> list[str]:
        """Load, dwell, indents."""
        p = self.program
        return [f"LOAD={p['load']:g}", f"DWEL={p['dwell']:g}", f"IND={p['indents']}"]

    def check(self) -> None:
        """There must be a piece."""
        piece(self, str(self.program["sample"]))

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Fix what the indenter will meet."""
        mass, state, melted = piece(self, str(program["sample"]))
        program["truth"] = physics.hardness(state, physics.mass_percent(mass)[1])
        program["melted"] = melted
        program["drift"] = self.drift()
        return program, program["indents"] * (program["dwell"] + SETTLE_S)

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """A piece that melted crumbles."""
        if program["melted"]:
            return 4, "indents cracked: the grain boundaries have melted in the solution treatment"
        return super().trouble(rng, program)

    def truth(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Hardness of an alloy after its treatments, kgf/mm2, and whether it melts."""
        if "solution_c" not in order:
            return {}
        solution, ageing = asked(order)
        cu, mg = physics.mass_percent(order["mass"])
        state = physics.state_of(order["mass"], solution, ageing)
        return {"hardness": physics.hardness(state, mg), "melted": physics.melted(cu, mg, solution)}

    def result(self, run: PastRun) -> str:
        """Indents made."""
        return f'"{run.sample}",{run.program["indents"]}'

    def data(self, run: PastRun) -> str:
        """Both diagonals of each indent, um."""
        p, lines = run.program, ["indent,d1_um,d2_um"]
        rng = self.world.rng("indents", self.name, run.sample, run.attempt)
        outlier = math.exp(rng.gauss(0.0, 0.15)) if self.world.happens("outlier", self.name, rng) else 1.0
        for i in range(p["indents"]):
            here = p["truth"] * (1 + p["drift"]) * outlier * (1 + rng.gauss(0.0, SPREAD)) + rng.gauss(0.0, FLOOR)
            diagonal = 1000.0 * math.sqrt(1.8544 * p["load"] / max(here, 5.0))
            skew = rng.uniform(0.06, 0.12) if rng.random() < TILTED else rng.gauss(0.0, 0.004)
            d1, d2 = (diagonal * (1 + s * skew / 2) + rng.gauss(0.0, U_DIAGONAL_UM) for s in (1, -1))
            lines.append(f"{i + 1},{d1:.2f},{d2:.2f}")
        return "\n".join(lines) + "\n"


def asked(order: Mapping[str, Any]) -> tuple[physics.Treatment, physics.Treatment]:
    """The treatments that the judge of a test asks about."""
    return (
        physics.Treatment(float(order["solution_c"]), float(order["solution_s"])),
        physics.Treatment(float(order["ageing_c"]), float(order["ageing_s"])),
    )
