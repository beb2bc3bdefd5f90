"""Hosts over the simulated alloy lab, for tests: its machines as processes behind sockets, or in memory."""

from __future__ import annotations

from pathlib import Path

from instruments import registry
from instruments.clock import ScaledClock
from instruments.contract import InstrumentConfig, JobRequest, SampleAt
from instruments.host import Host
from instruments.journal import Journal
from instruments.sim.control import SimulatorControl, SimulatorInfo, ensure_running

NAMES = {
    "balance-1": "gravimetric-doser",
    "melter-1": "arc-melter",
    "furnace-1": "furnace",
    "hardness-1": "hardness-tester",
    "potentiostat-1": "potentiostat",
}
MASSES = {"Al": 9430.0, "Cu": 420.0, "Mg": 150.0}


def ready(folder: Path, **options: object) -> SimulatorInfo:
    """The simulator of that folder."""
    return ensure_running(folder, **{"devices": NAMES, "speed": 100000, "seed": 3, "simulator": "alloy", **options})  # type: ignore[arg-type]


def host(sim: Path, name: str, journal: Path, **options: object) -> Host:
    """A host over one machine."""
    config = InstrumentConfig(
        instrument_id=name, driver=NAMES[name], address=ready(sim).addresses[name], options={"timeout_s": 0.5}
    )
    clock = ScaledClock(*SimulatorControl(sim).clock())
    settings = {"poll_s": (50.0, 10000.0), **options}
    return Host(name, registry.build(config, clock), Journal(journal), clock, simulated=True, **settings)  # type: ignore[arg-type]


def example(name: str, job_id: str = "E-1/step", sample: str = "S-1") -> JobRequest:
    """A small job for that machine."""
    if NAMES[name] == "gravimetric-doser":
        params = {"masses_mg": MASSES, "mix_rpm": 0.0, "mix_s": 0.0}
        return JobRequest(
            job_id=job_id, capability="dose_and_mix", params=params, samples=(SampleAt(sample_id=sample),)
        )
    return registry.driver_class(NAMES[name]).example_request(job_id, sample)


async def prepare(sim: Path, folder: Path, sample: str, upto: str) -> None:
    """Weigh and melt a sample, where the machine needs a piece of metal."""
    for name in ("balance-1", "melter-1")[: {"balance-1": 0, "melter-1": 1}.get(upto, 2)]:
        made = host(sim, name, folder / f"prepare-{name}.sqlite")
        await made.perform(example(name, f"prepare {sample} {name}", sample))
        await made.close()
