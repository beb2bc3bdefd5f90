"""What measuring machines have inside: a reference material that is read with every run, and a scale that drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from instruments.sim.memory_of_machines import PastRun
from instruments.sim.scpi_device import Refused, Reply, ScpiDevice
from instruments.sim.world import World

GONE_OFF = 0.05  #: relative, of a scale that has jumped (fault "drift"), until somebody calibrates it
BY_ITSELF = 500  #: runs after which a machine adjusts its scale by itself


@dataclass(frozen=True)
class Standard:
    """A reference material: certified value with its standard uncertainty, and that of one reading of it."""

    name: str
    certified: float
    u: float
    u_reading: float


class WithStandard(ScpiDevice):
    """A machine whose scale walks at random from run to run since its last calibration or adjustment."""

    standard: Standard
    drift_per_run: float  #: relative

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.commands["RUN:CHECk?"] = lambda a: self.reference(self.finished(a))

    def calibrate(self) -> Reply:
        """The scale is right again."""
        if self.mode() != "READY":
            raise Refused(-221, f"Settings conflict; {self.mode()}")
        self.world.memory.note(f"calibrated {self.name}", str(self.count()))
        self.world.memory.note(f"gone off {self.name}", "")
        return None

    def drift(self) -> float:
        """How far the scale is off by now, relative."""
        if self.world.happens("drift", self.name, self.world.rng("gone off", self.name, self.count())):
            self.world.memory.note(f"gone off {self.name}", str(GONE_OFF))
        since = self.count() - int(self.world.memory.noted(f"calibrated {self.name}") or 0)
        walk = self.world.rng("drift", self.name)
        walked = sum(walk.gauss(0.0, self.drift_per_run) for _ in range(since % BY_ITSELF))
        return walked + float(self.world.memory.noted(f"gone off {self.name}") or 0.0)

    def reference(self, run: PastRun) -> str:
        """What the standard read beside that run: name, value, its uncertainty; certified value, its uncertainty."""
        known, program = self.standard, dict[str, Any](run.program)
        noise = self.world.rng("standard", self.name, run.number).gauss(0.0, known.u_reading)
        value = known.certified * (1 + float(program["drift"])) + noise
        return f'"{known.name}",{value:.5g},{known.u_reading:.3g},{known.certified:.6g},{known.u:.3g}'
