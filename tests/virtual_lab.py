"""A whole lab under a virtual clock: production drivers, hosts, loop and turns, no sockets, no database file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import async_solipsism

from campaigns.bench import Bench, in_line, segment_id
from campaigns.campaign_file import read_campaign
from campaigns.engines.inline import InlineEngine, Record
from campaigns.loop import workflows
from campaigns.optimizers.random_search import RandomSearch
from campaigns.spec import Spec
from campaigns.tasks import StoreBoard
from instruments import registry
from instruments.clock import LoopClock
from instruments.contract import InstrumentConfig
from instruments.host import Host
from instruments.journal import Journal
from instruments.sim import alloy, electrolyte
from instruments.sim.lab import SimulatedLab
from instruments.sim.memory_of_machines import MachineMemory
from instruments.sim.world import PROFILES, World
from labctl import registration
from labctl.labfile import HUMAN, LabFile
from materials_db import records as db
from materials_db.memory import MemoryStore

T = TypeVar("T")
ORIGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
TEMPLATES = Path(__file__).parent.parent / "labctl" / "templates"
TEMPLATE = TEMPLATES / "electrolyte"
DEVICES = {"electrolyte": electrolyte.DEVICES, "alloy": alloy.DEVICES}


def live(work: Coroutine[Any, Any, T]) -> T:
    """Run under a loop whose clock jumps to the next event whenever nothing else is to do."""
    loop = async_solipsism.EventLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


class VirtualLab:
    """The lab of a template in one process. Make it inside a running virtual loop."""

    def __init__(
        self,
        *,
        seed: int = 1,
        faults: str = "none",
        optimizer: Callable[..., Any] | None = None,
        kind: str = "electrolyte",
        twins: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = LoopClock(ORIGIN)
        self.file = LabFile.load(TEMPLATES / kind / "labctl.toml")
        known = self.file.instruments  #: `twins`: further instruments, each like one that the template has
        more = {name: known[like] for name, like in (twins or {}).items()}
        self.file = self.file.model_copy(update={"instruments": {**known, **more}})
        memory = MachineMemory(":memory:", full_sync=False)
        world = World(clock=self.clock, memory=memory, seed=seed, rates=dict(PROFILES[faults]))
        self.sim = SimulatedLab(
            world, {name: s.driver for name, s in self.file.instruments.items() if s.driver != HUMAN}, DEVICES[kind]
        )
        self.site_of: dict[str, str] = {}
        self.look_s = 60.0
        self.store = MemoryStore()
        self.record = Record()
        self.hosts = {name: self._host(name) for name in self.file.instruments}
        self.optimizer = optimizer or (lambda plan: RandomSearch())

    def _host(self, name: str) -> Host:
        section = self.file.instruments[name]
        config = InstrumentConfig(
            instrument_id=name, driver=section.driver, address="", options={"person": section.person}, simulated=True
        )
        board = StoreBoard(lambda: self.store, in_line)
        wire = board if section.driver == HUMAN else self.sim.transport(name)
        driver = registry.build(config, self.clock, wire)
        return Host(
            name, driver, Journal(":memory:", full_sync=False), self.clock, simulated=True, poll_s=(1.0, 43200.0)
        )

    def close(self) -> None:
        """Let go of the journals and of the machines' memory."""
        for made in self.hosts.values():
            made.journal.close()
        self.sim.world.memory.close()

    async def bench(self) -> Bench:
        """The lab at hand."""
        identities = await registration.reach(self.hosts)
        with self.store.transaction() as tx:
            registered = registration.register(tx, self.file, identities, at=self.clock.now())
        return Bench(
            store=self.store, hosts=self.hosts, clock=self.clock, site="bench-A", simulated=True,
            optimizer=self.optimizer, registered=registered, offload=in_line, site_of=self.site_of, look_s=self.look_s,
        )  # fmt: skip

    def launch(self, spec: Spec, text: str = "") -> str:
        """Write the campaign's row."""
        with self.store.transaction() as tx:
            id = f"C-{tx.next_number('C'):04d}"
            campaign = db.Campaign(
                id=id, name=spec.campaign.name, file_text=text, file_sha256=hashlib.sha256(text.encode()).hexdigest(),
                spec=spec.json(), seed=spec.campaign.seed, versions={}, created_at=self.clock.now(), created_by="test",
                origin="simulated", state="running",
            )  # fmt: skip
            tx.add(campaign, at=self.clock.now(), actor="test")
        return id

    async def carry_out(self, spec: Spec) -> str:
        """A campaign from launch to end; its id."""
        bench = await self.bench()
        engine = InlineEngine(workflows(bench), self.store, self.record)
        await engine.open()
        id = self.launch(spec)
        with self.store.transaction() as tx:
            segment = segment_id(tx, id)
        await engine.submit("campaign", segment, id, [])
        while await engine.under_way(""):
            await self.clock.sleep(600)
        errors = [ended.error for ended in self.record.ended.values() if ended.error]
        assert not errors, errors
        await engine.close()
        return id


def campaign(name: str = "electrolyte/campaigns/conductivity.toml", **changes: Any) -> Spec:
    """A template's campaign with some keys of its sections changed: ``budget={"experiments": 5}``; lists are replaced."""
    spec, _ = read_campaign(TEMPLATES / name)
    data = spec.json()
    for section, values in changes.items():
        data[section] = {**data[section], **values} if isinstance(data[section], dict) else values
    return Spec.from_json(data)
