"""A whole simulated lab, in process or behind sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from instruments.errors import BadReply, DeviceRefused, LinkLost, ReplyTimeout
from instruments.sim.furnace import IllegalRequest, TrayFurnace
from instruments.sim.machine import Machine
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

    def __init__(self, world: World, devices: Mapping[str, str], kinds: Mapping[str, type[Machine]]) -> None:
        self.world = world
        neighbours: dict[str, list[str]] = {}
        for name, driver in devices.items():
            neighbours.setdefault(driver, []).append(name)
        self.machines: dict[str, Machine] = {
            name: kinds[driver](name, world, neighbours) for name, driver in devices.items()
        }
        self._wire_luck = random.Random(f"wire/{world.seed}")

    def wire_fault(self, name: str) -> str | None:
        """The fault that strikes this machine's line at this answer, if any."""
        return next((fault for fault in WIRE if self.world.happens(fault, name, self._wire_luck)), None)

    def transport(self, name: str) -> MemoryWire | MemoryRegisters:
        """A line to one machine without a socket."""
        machine = self.machines[name]
        if isinstance(machine, ScpiDevice):
            return MemoryWire(self, name, machine)
        assert isinstance(machine, TrayFurnace)
        return MemoryRegisters(self, name, machine)

    def strike(self, name: str, what: str) -> None:
        """What strikes a line without a socket, as the errors that a real one would raise."""
        fault = self.wire_fault(name)
        if fault in ("garbage", "split", "duplicate"):
            raise BadReply(f"{name} answered {what} with something else")
        if fault == "drop":
            raise LinkLost(f"{name} closed the connection at {what}")
        if fault is not None:
            raise ReplyTimeout(f"{name} did not answer {what}")


class MemoryWire:
    """The transport of forecasts and quick tests: the machine's command line, called directly."""

    def __init__(self, lab: SimulatedLab, name: str, machine: ScpiDevice) -> None:
        self.lab = lab
        self.name = name
        self.machine = machine

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
        reply = self.machine.handle(command)
        self.lab.strike(self.name, repr(command))
        if reply is None:
            raise ReplyTimeout(f"{self.name} did not answer {command!r}")
        return reply


class MemoryRegisters:
    """The same for a machine that is a table of registers."""

    def __init__(self, lab: SimulatedLab, name: str, machine: TrayFurnace) -> None:
        self.lab = lab
        self.name = name
        self.machine = machine

    def pin(self, address: int, count: int) -> None:
        """Nobody else can answer."""

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def read(self, address: int, count: int) -> list[int]:
        await asyncio.sleep(0)
        try:
            values = self.machine.read(address, count)
        except IllegalRequest as error:
            raise BadReply(f"{self.name} refused the reading of register {address}: {error}") from None
        self.lab.strike(self.name, f"the reading of register {address}")
        return values

    async def write(self, address: int, values: Sequence[int]) -> None:
        await asyncio.sleep(0)
        try:
            self.machine.write(address, values)
        except IllegalRequest as error:
            raise DeviceRefused(f"{self.name} refused the writing of register {address}: {error}") from None
        self.lab.strike(self.name, f"the writing of register {address}")
