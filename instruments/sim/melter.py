"""The simulated arc melter AM-1: what boils off is missing from the ingot, magnesium most of all."""

from __future__ import annotations

import math
import random
from typing import Any

from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import Refused, Reply, ScpiDevice
from instruments.sim.world import World

HANDLING_S = 150.0  #: to cool and turn over after each melt
BOILS_OFF = {"Mg": 0.01, "Al": 0.0005, "Cu": 0.0001}  #: share lost in each melt at 200 A for 30 s, ours
U_MG = 0.5


class Melter(ScpiDevice):
    """See module."""

    model = "AM-1"

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:ARC": self._arc,
            "PROGram:MELT": lambda a: self.program.update(melts=int(self.number(a, 1, 8))),
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"arc": [200.0, 30.0], "melts": 1}

    def _arc(self, argument: str) -> Reply:
        current, comma, seconds = argument.partition(",")
        if not comma:
            raise Refused(-109, "Missing parameter")
        self.program["arc"] = [self.number(current, 50, 400), self.number(seconds, 5, 120)]
        return None

    def echo_settings(self) -> list[str]:
        """Arc and melts."""
        return [f"ARC={self.program['arc'][0]:g},{self.program['arc'][1]:g}", f"MELT={self.program['melts']}"]

    def check(self) -> None:
        """There must be something to melt."""
        if not self._charge(str(self.program["sample"])):
            raise Refused(-241, "Hardware missing; nothing was weighed in for this sample")

    def _charge(self, sample: str) -> dict[str, float] | None:
        return self.world.contents(sample, self.neighbours.get("gravimetric-doser", []))

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Melt: each time a share boils off."""
        charge = self._charge(str(program["sample"])) or {}
        heat = program["arc"][0] / 200.0 * program["arc"][1] / 30.0 * program["melts"] * math.exp(rng.gauss(0.0, 0.2))
        program["ingot"] = {name: mg * math.exp(-BOILS_OFF.get(name, 0.0) * heat) for name, mg in charge.items()}
        return program, program["melts"] * (program["arc"][1] + HANDLING_S)

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """Arcs do not strike."""
        if self.world.happens("jam", self.name, rng):
            return 1, "the arc did not strike"
        return super().trouble(rng, program)

    def result(self, run: PastRun) -> str:
        """Mass of the ingot."""
        rng = self.world.rng("balance", self.name, run.sample, run.attempt)
        return f'"{run.sample}",{sum(run.program["ingot"].values()) + rng.gauss(0.0, U_MG):.2f},{U_MG:.2f}'

    def data(self, run: PastRun) -> str:
        """Current and voltage of each arc."""
        rng = self.world.rng("arc", self.name, run.sample, run.attempt)
        current, lines = run.program["arc"][0], ["melt,current_A,voltage_V"]
        lines += [
            f"{i + 1},{current + rng.gauss(0.0, 2.0):.1f},{18 + rng.gauss(0.0, 0.5):.2f}"
            for i in range(run.program["melts"])
        ]
        return "\n".join(lines) + "\n"
