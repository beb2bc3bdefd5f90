"""The simulated thermostat block TB-1: ramps at 6 K/min, holds, keeps holding."""

from __future__ import annotations

import math
import random
from typing import Any

from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import ScpiDevice
from instruments.sim.world import World

RAMP_K_PER_S = 6.0 / 60.0
ROOM_C = 22.0
SETTLE_S = 60.0


class ThermostatBlock(ScpiDevice):
    """See module."""

    model = "TB-1"

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands |= {
            "PROGram:TEMPerature": lambda a: self.program.update(temperature=self.number(a, -20, 80)),
            "PROGram:HOLD": lambda a: self.program.update(hold=self.number(a, 0, 86400)),
            "TEMPerature?": lambda _: f"{self.now_c():.3f}",
        }

    def clear(self) -> None:
        """Empty the program."""
        super().clear()
        self.program |= {"temperature": 25.0, "hold": 0.0}

    def echo_settings(self) -> list[str]:
        """Set-point and hold."""
        return [f"TEMP={self.program['temperature']:.3f}", f"HOLD={self.program['hold']:g}"]

    def carry_out(self, program: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], float]:
        """Ramp from where the block is, settle, hold."""
        program["from"] = self.now_c()
        offset = self.world.rng("offset", self.name).gauss(0.0, 0.03)
        program["true"] = program["temperature"] + offset + rng.gauss(0.0, 0.02)
        ramp_s = abs(program["temperature"] - program["from"]) / RAMP_K_PER_S
        return program, ramp_s + SETTLE_S + program["hold"]

    def trouble(self, rng: random.Random, program: dict[str, Any]) -> tuple[int, str]:
        """Sensors break."""
        if self.world.happens("sensor", self.name, rng):
            return 6, "sensor break"
        return super().trouble(rng, program)

    def now_c(self) -> float:
        """Block temperature, degC: on its way to the newest set-point, or there."""
        run = self.world.memory.last(self.name)
        if run is None:
            return ROOM_C
        start, goal = float(run.program["from"]), float(run.program["true"])
        if self.world.durations == 0:
            return goal
        moved = RAMP_K_PER_S * self.world.since(run.started)
        return goal if moved >= abs(goal - start) else start + math.copysign(moved, goal - start)

    def result(self, run: PastRun) -> str:
        """Mean over the hold."""
        rng = self.world.rng("sensor", self.name, run.sample, run.attempt)
        return f'"{run.sample}",{run.program["true"] + rng.gauss(0.0, 0.01):.3f},0.030'

    def data(self, run: PastRun) -> str:
        """The temperature as it was logged."""
        rng = self.world.rng("log", self.name, run.sample, run.attempt)
        start, goal = float(run.program["from"]), float(run.program["true"])
        lines = ["time_s,temperature_degC"]
        for i in range(21):
            t = run.duration_s * i / 20
            moved = min(abs(goal - start), RAMP_K_PER_S * t)
            lines.append(f"{t:.1f},{start + math.copysign(moved, goal - start) + rng.gauss(0.0, 0.01):.3f}")
        return "\n".join(lines) + "\n"
