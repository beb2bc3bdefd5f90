"""A TCP proxy between driver and device that does to replies what wires, gateways and broken firmware do."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: One whole reply of the device, as its protocol frames it; asyncio.IncompleteReadError at the end.
Framing = Callable[[asyncio.StreamReader], Awaitable[bytes]]
FAULTS = ("delay", "late", "cut", "duplicate", "reorder", "truncate", "garbage", "chatter", "flood", "slow_loris")
FLOOD = 1 << 18  #: bytes


@dataclass
class Proxy:
    """See module. A fault strikes by its rate, or when it is put into `orders`.

    Parameters
    ----------
    port
        Where the device listens, on loopback.
    late_s
        Wall seconds after which the driver has certainly given up.
    """

    port: int
    framing: Framing
    late_s: float
    seed: int = 1
    rates: Mapping[str, float] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    address: int = 0
    _held: dict[int, bytes] = field(default_factory=dict)
    _open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        """Take connections on `address` until the block ends."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for ends in self._open.values():
                abort(ends)
            await asyncio.gather(*self._open)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device_reader, device_writer = await asyncio.open_connection("127.0.0.1", self.port)
        task, ends = asyncio.current_task(), (writer, device_writer)
        assert task is not None
        self._open[task] = ends
        task.add_done_callback(self._open.pop)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pass_on(reader, device_writer))
                both.create_task(self._replies(device_reader, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._held.pop(id(writer), None)
            abort(ends)

    async def _replies(self, device: asyncio.StreamReader, driver: asyncio.StreamWriter) -> None:
        while True:
            reply = await self.framing(device)
            await self._deliver(reply, driver)
            await driver.drain()

    def _fault(self) -> str:
        """What happens to this reply."""
        if self.orders:
            return self.orders.pop(0)
        rest = 1.0 - sum(self.rates.values())
        return self.rng.choices([*self.rates, ""], [*self.rates.values(), rest])[0]

    async def _deliver(self, reply: bytes, driver: asyncio.StreamWriter) -> None:
        fault = self._fault()
        self.struck[fault] += 1
        earlier = self._held.pop(id(driver), b"")
        if fault == "reorder":
            self._held[id(driver)] = reply  # comes behind the next one
        elif fault == "cut":
            driver.write(reply[: self.rng.randrange(len(reply))])
            raise ConnectionResetError
        elif fault == "truncate":
            driver.write(reply[: self.rng.randrange(len(reply))])
        elif fault in ("delay", "late"):
            await asyncio.sleep(self.late_s * (0.1 if fault == "delay" else 1.5))
            driver.write(reply)
        elif fault == "slow_loris":
            await drip(reply, driver, self.late_s)
        else:
            driver.write(self._changed(fault, reply))
        driver.write(earlier)

    def _changed(self, fault: str, reply: bytes) -> bytes:
        if fault == "duplicate":
            return reply * 2
        if fault == "garbage":  # never plausible: what looks like a number cannot be told from one on such a wire
            return bytes(self.rng.randrange(0x80, 0x100) for _ in reply[:-1]) + reply[-1:]
        if fault == "chatter":
            return reply + bytes(self.rng.randrange(0x20, 0x7F) for _ in range(20)) + b"\n"
        if fault == "flood":
            return bytes([self.rng.randrange(0x80, 0x100)]) * FLOOD + reply
        return reply


def abort(ends: tuple[asyncio.StreamWriter, ...]) -> None:
    """Reset both connections."""
    for end in ends:
        end.transport.abort()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Questions go through as they are; the end of one side is the end of both."""
    while content := await reader.read(4096):
        writer.write(content)
        await writer.drain()
    raise ConnectionResetError


async def drip(reply: bytes, writer: asyncio.StreamWriter, late_s: float) -> None:
    """One byte at a time, too slowly as a whole, never silent for long."""
    for i in range(len(reply)):
        writer.write(reply[i : i + 1])
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        await asyncio.sleep(1.5 * late_s / len(reply))
