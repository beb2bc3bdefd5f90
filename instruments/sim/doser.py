"""The simulated dosing robot GDR-16: what it weighs in is not quite what it was asked for."""

from __future__ import annotations

import random
from typing import Any

from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import Refused, Reply, ScpiDevice
from instruments.sim.world import World

PER_DOSE_S = 60.0  #: one feedstock takes about a minute
LEAST_MG = 1.0  #: below, nobody could tell whether it dosed anything: see `carry_out`
FULL_MG = 5e8  #: a bottle that no campaign of ours empties


class Doser(ScpiDevice):
    """See module."""

    model = "GDR-16"

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:DOSE": self._dose,
            "PROGram:MIX": self._mix,
            "RUN:FIND?": self._find,
            "FEED?": lambda a: f"{self._left(self.text(a)):.1f}",
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"doses": {}, "mix": [0.0, 0.0]}

    def _dose(self, argument: str) -> Reply:
        name, comma, mass = argument.rpartition(",")
        feedstock = self.text(name.strip())
        if not comma or feedstock in self.program["doses"]:
            raise Refused(-221, "Settings conflict; dose each feedstock once")
        if len(self.program["doses"]) == 16:
            raise Refused(-223, "Too much data; at most 16 feedstocks")
        dose = self.number(mass, 0, 20000)
        self.program["doses"][feedstock] = self.number(mass, LEAST_MG, 20000) if dose else dose
        return None

    def _mix(self, argument: str) -> Reply:
        rpm, comma, seconds = argument.partition(",")
        if not comma:
            raise Refused(-109, "Missing parameter")
        self.program["mix"] = [self.number(rpm, 0, 1500), self.number(seconds, 0, 3600)]
        return None

    def _find(self, argument: str) -> Reply:
        run = self.world.memory.labelled(self.name, self.text(argument))
        return str(run.number if run else 0)

    def _left(self, feedstock: str) -> float:
        return FULL_MG

    def echo_settings(self) -> list[str]:
        """Doses and stirring."""
        doses = [f'DOSE="{name}",{mg:.3f}' for name, mg in self.program["doses"].items()]
        return [*doses, f"MIX={self.program['mix'][0]:g},{self.program['mix'][1]:g}"]

    def check(self) -> None:
        """An empty vial is not made."""
        if not any(self.program["doses"].values()):
            raise Refused(-221, "Settings conflict; nothing to dose")

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Dose with an error of each head's own plus a random one."""
        heads = {name: self.world.rng("head", self.name, name).gauss(0.0, 0.3) for name in program["doses"]}
        program["dosed"] = {
            name: max(0.0, mg + heads[name] + rng.gauss(0.0, 0.3 + 2e-4 * mg)) for name, mg in program["doses"].items()
        }
        return program, PER_DOSE_S * len(program["doses"]) + program["mix"][1]

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """Powders jam, vials fall."""
        if self.world.happens("jam", self.name, rng):
            return 1, "feedstock jammed in the head"
        if self.world.happens("lost", self.name, rng):
            return 3, "vial dropped"
        return super().trouble(rng, program)

    def _weighed(self, run: PastRun) -> dict[str, tuple[float, float]]:
        """What the balance says, and its standard uncertainty, mg."""
        rng = self.world.rng("balance", self.name, run.sample, run.attempt)
        return {
            name: (mg + rng.gauss(0.0, 0.1 + 5e-6 * mg), 0.1 + 5e-6 * mg) for name, mg in run.program["dosed"].items()
        }

    def result(self, run: PastRun) -> str:
        """Weighed masses."""
        weighed = self._weighed(run).items()
        return ";".join([f'"{run.sample}"', *(f"{name},{mg:.2f},{u:.3f}" for name, (mg, u) in weighed)])

    def data(self, run: PastRun) -> str:
        """Balance readings while each dose comes to rest."""
        lines = ["feedstock,time_s,mass_mg"]
        rng = self.world.rng("trace", self.name, run.sample, run.attempt)
        for name, (mg, u) in self._weighed(run).items():
            lines += [f"{name},{t},{mg * (1 - 0.02 * 0.5**t) + rng.gauss(0.0, u):.2f}" for t in range(11)]
        return "\n".join(lines) + "\n"
