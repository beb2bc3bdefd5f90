"""What the simulated machines share: time, seeds, faults, and what is in which vial."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import datetime

from instruments.clock import Clock
from instruments.sim.memory_of_machines import MachineMemory, PastRun

#: Rates per operation. "demo" is a lab on a good week; "chaos" is for finding what breaks.
PROFILES: dict[str, dict[str, float]] = {
    "none": {},
    "demo": {
        "jam": 0.002, "bubble": 0.01, "mute": 0.0005, "outlier": 0.0, "stuck": 0.01, "piece": 0.002, "break": 0.0005,
    },
    "chaos": {
        "jam": 0.03, "lost": 0.01, "bubble": 0.05, "interlock": 0.01, "sensor": 0.005, "outlier": 0.02, "stuck": 0.02,
        "mute": 0.01, "garbage": 0.01, "late": 0.01, "split": 0.01, "duplicate": 0.01, "drop": 0.01,
        "piece": 0.02, "break": 0.005,
    },
}  # fmt: skip
WIRE = ("mute", "garbage", "late", "split", "duplicate", "drop", "freeze")  #: faults of the line, not of the machine


@dataclass
class World:
    """See module.

    Parameters
    ----------
    durations
        Factor on all durations; 0 makes every machine answer at once.
    """

    clock: Clock
    memory: MachineMemory
    seed: int = 1
    rates: dict[str, float] = field(default_factory=dict)
    durations: float = 1.0
    once: dict[str, list[str]] = field(default_factory=dict)  #: faults to happen next, by machine

    def rng(self, *of: object) -> random.Random:
        """Randomness of its own for each purpose, so that nothing depends on the order of events."""
        return random.Random("/".join(str(o) for o in (self.seed, *of)))

    def happens(self, fault: str, device: str, rng: random.Random) -> bool:
        """Whether this fault strikes now: because it was ordered, or by its rate."""
        roll = rng.random()  # drawn always, so that one fault's rate does not shift another's luck
        ordered = self.once.get(device, [])
        if fault in ordered:
            ordered.remove(fault)
            return True
        return roll < self.rates.get(fault, 0.0)

    def duration(self, typical_s: float, rng: random.Random) -> float:
        """A duration around its model: lognormal, 8 %, with 1 % of cases stuck for three times as long."""
        stuck = rng.random() < self.rates.get("stuck", 0.0)
        return self.durations * typical_s * math.exp(rng.gauss(0.0, 0.08)) * (3.0 if stuck else 1.0)

    def since(self, start: datetime) -> float:
        """Lab seconds since then."""
        return (self.clock.now() - start).total_seconds()

    def over(self, run: PastRun) -> bool:
        """Whether a run has come to its end."""
        return run.aborted is not None or self.since(run.started) >= run.duration_s

    def finished(self, sample: str, devices: list[str]) -> list[PastRun]:
        """What these machines have done to a sample with success, oldest first."""
        runs = [run for device in devices for run in self.memory.of_sample(sample, device)]
        good = [run for run in runs if run.code == 0 and run.aborted is None and self.over(run)]
        return sorted(good, key=lambda run: run.started)

    def contents(self, sample: str, dosers: list[str]) -> dict[str, float] | None:
        """What is really in the vial, mg by feedstock; None if it was never made."""
        done = self.finished(sample, dosers)
        return {name: float(mg) for name, mg in done[-1].program["dosed"].items()} if done else None
