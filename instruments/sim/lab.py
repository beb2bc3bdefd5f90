"""A whole simulated lab, in process or behind sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from instruments.errors import BadReply, LinkLost, ReplyTimeout
from instruments.sim.scpi_device import ScpiDevice
from instruments.sim.world import WIRE, World


class SimulatedLab:
    """Machines by name over one world.

    Parameters
    ----------
    devices
        Instrument name -> driver that will talk to it.
    kinds
        Driver -> the machine behind it, from `instruments.sim.catalogue`.
    """

    def __init__(self, world: World, devices: Mapping[str, str], kinds: Mapping[str, type[ScpiDevice]]) -> None:
        self.world = world
        neighbours: dict[str, list[str]] = {}
        for name, driver in devices.items():
            neighbours.setdefault(driver, []).append(name)
        self.machines: dict[str, ScpiDevice] = {
            name: kinds[driver](name, world, neighbours) for name, driver in devices.items()
        }
        self._wire_luck = random.Random(f"wire/{world.seed}")

    def wire_fault(self, name: str) -> str | None:
        """The fault that strikes this machine's line at this answer, if any."""
        return next((fault for fault in WIRE if self.world.happens(fault, name, self._wire_luck)), None)

    def transport(self, name: str) -> MemoryWire:
        """A line to one machine without a socket."""
        return MemoryWire(self, name)


class MemoryWire:
    """The transport of forecasts and quick tests: the machine's command line, called directly.

    Faults of the line show as the errors that the TCP transport would raise.
    """

    def __init__(self, lab: SimulatedLab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.machine = lab.machines[name]

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def write(self, command: str) -> None:
        self.machine.handle(command)

    async def query(self, command: str) -> str:
        reply = await self._ask(command)
        if not isinstance(reply, str):
            raise BadReply(f"{self.name}: a block where a line was expected")
        return reply

    async def query_block(self, command: str) -> bytes:
        reply = await self._ask(command)
        if not isinstance(reply, bytes):
            raise BadReply(f"{self.name}: a line where a block was expected")
        return reply

    async def _ask(self, command: str) -> str | bytes:
        await asyncio.sleep(0)
        reply, fault = self.machine.handle(command), self.lab.wire_fault(self.name)
        if fault in ("garbage", "split", "duplicate"):
            raise BadReply(f"{self.name} answered {command!r} with something else")
        if fault == "drop":
            raise LinkLost(f"{self.name} closed the connection at {command!r}")
        if reply is None or fault is not None:
            raise ReplyTimeout(f"{self.name} did not answer {command!r}")
        return reply
