"""Modbus/TCP, safe against what a wire does: the register counterpart of `instruments.scpi`.

pymodbus frames, sends and decodes. What it lets through is looked at here, byte by byte,
before it sees it: a reply must be the one answer to the one question on the wire, of the
right unit, function and length. Whatever else comes, or comes too late, drops the link with
a reset, and the next exchange opens it again. Nothing is ever sent a second time by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from instruments.errors import BadReply, DeviceRefused, LinkLost, ReplyTimeout, TransportError

READ = 3  #: function code: read holding registers
MOST_READ, MOST_WRITTEN = 125, 123  #: registers in one frame, by the protocol's own limit
#: Modbus application protocol 1.1b3, section 7.
EXCEPTIONS = {1: "function not known", 2: "no such register", 3: "value not allowed", 4: "device failure", 6: "busy"}
logging.getLogger("pymodbus").addHandler(logging.NullHandler())  # what it has to say comes as our errors


@dataclass
class Link:
    """One connection, and what has gone wrong with it."""

    client: AsyncModbusTcpClient
    trouble: asyncio.Future[TransportError]
    asked: bytes = b""  #: the question on the wire; empty when there is none

    def went_wrong(self, error: TransportError) -> None:
        """The first thing that goes wrong is what counts."""
        if not self.trouble.done():
            self.trouble.set_result(error)


class ModbusTcp:
    """A line to one device.

    Parameters
    ----------
    unit
        Which device behind the address, 0 to 255.
    timeout_s
        Wall seconds for connecting and for each answer.
    """

    def __init__(self, host: str, port: int, *, unit: int = 1, timeout_s: float = 5.0) -> None:
        self.host, self.port, self.unit = host, port, unit
        self.timeout_s = timeout_s
        self.where = f"{host}:{port}"
        self._pinned: tuple[int, int] | None = None
        self._identity: list[int] | None = None
        self._link: Link | None = None
        self._number = 0  #: of the newest question; goes on over connections, so that no two are alike
        self._turn = asyncio.Lock()

    def pin(self, address: int, count: int) -> None:
        """Registers that tell who answers: read at every connecting, they must stay what they were."""
        self._pinned = (address, count)

    async def open(self) -> None:
        async with self._turn:
            await self._ready()

    async def close(self) -> None:
        self._drop()

    async def read(self, address: int, count: int) -> list[int]:
        if not 0 < count <= MOST_READ:
            raise ValueError(f"{count} registers are not 1 to {MOST_READ}, which is what one frame holds")
        async with self._turn:
            return await self._read(await self._ready(), address, count)

    async def write(self, address: int, values: Sequence[int]) -> None:
        if not 0 < len(values) <= MOST_WRITTEN or not all(0 <= v <= 0xFFFF for v in values):
            raise ValueError(f"{list(values)[:8]} are not 1 to {MOST_WRITTEN} numbers of 16 bits")
        async with self._turn:
            link = await self._ready()
            what = f"the writing of {named(address, len(values))}"
            reply = await self._exchange(
                link, lambda c: c.write_registers(address, list(values), device_id=self.unit), what
            )
            if reply.isError():
                raise DeviceRefused(f"{self.where} refused {what}: {refusal(reply)}")

    # -- the link -------------------------------------------------------------------------

    async def _ready(self) -> Link:
        """Connect if need be and make sure that it is still the same device."""
        if self._link is not None and not self._link.trouble.done():
            return self._link
        if self._link is not None:
            trouble = self._link.trouble.result()
            self._drop()
            if isinstance(trouble, BadReply):
                raise trouble
        link = await self._connect()
        self._link = link
        if self._pinned is not None:
            found = await self._read(link, *self._pinned)
            if found != (self._identity or found):
                self._drop()
                raise LinkLost(f"{self.where} is another device: {found}, expected {self._identity}")
            self._identity = found
        return link

    async def _connect(self) -> Link:
        """A fresh connection. pymodbus neither repeats a question nor connects again by itself."""
        client = AsyncModbusTcpClient(
            self.host, port=self.port, timeout=self.timeout_s, retries=0, reconnect_delay=0,
            trace_packet=self._look, trace_connect=self._connected,
        )  # fmt: skip
        link = Link(client, asyncio.get_running_loop().create_future())
        self._link = link
        if not await client.connect():
            self._link = None
            raise LinkLost(f"{self.where} refuses the connection, or does not take it within {self.timeout_s:g} s")
        client.ctx.next_tid = self._number
        return link

    def _connected(self, connected: bool) -> None:
        if not connected and self._link is not None:
            self._link.went_wrong(LinkLost(f"{self.where} closed the connection"))

    def _look(self, sending: bool, data: bytes) -> bytes:
        """Every packet passes here; one that cannot be the answer is not let through."""
        link = self._link
        if link is None:
            return b""
        if sending:
            link.asked = data
            return data
        if not link.asked:
            link.went_wrong(BadReply(f"{self.where} said something before it was asked"))
            return b""
        if fault := complaint(link.asked, data):
            link.went_wrong(BadReply(f"{self.where} gave no answer to the question: {fault}"))
            return b""
        return data

    def _drop(self) -> None:
        """Reset the connection: a polite close would wait for a peer that may be frozen."""
        link, self._link = self._link, None
        if link is None:
            return
        self._number = link.client.ctx.next_tid
        wire: Any = link.client.ctx.transport
        if wire is not None:
            sock = wire.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.abort()
        link.client.close()

    async def _read(self, link: Link, address: int, count: int) -> list[int]:
        what = f"the reading of {named(address, count)}"
        reply = await self._exchange(
            link, lambda c: c.read_holding_registers(address, count=count, device_id=self.unit), what
        )
        if reply.isError():  # not what the manual of this device promises, so not to be trusted
            raise BadReply(f"{self.where} refused {what}: {refusal(reply)}")
        if len(reply.registers) != count:
            self._drop()
            raise BadReply(f"{self.where} answered {what} with {len(reply.registers)} registers")
        return [int(value) for value in reply.registers]

    async def _exchange(self, link: Link, ask: Callable[[AsyncModbusTcpClient], Awaitable[Any]], what: str) -> Any:
        """An answer in time and in order, or a dropped link."""

        async def asked() -> Any:
            return await ask(link.client)

        exchange = asyncio.ensure_future(asked())
        try:
            await asyncio.wait({exchange, link.trouble}, timeout=self.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if link.trouble.done():
                raise type(link.trouble.result())(f"{link.trouble.result()} (at {what})")
            if not exchange.done():
                raise ReplyTimeout(f"{self.where} did not answer {what} within {self.timeout_s:g} s")
            link.asked = b""
            return exchange.result()
        except ModbusException as error:
            self._drop()
            raise LinkLost(f"{self.where}: {what} failed: {error}") from None
        except (TransportError, asyncio.CancelledError):
            exchange.cancel()
            self._drop()  # the answer may still come; it must not meet the next question
            raise


def complaint(asked: bytes, got: bytes) -> str:
    """Why bytes cannot be, or begin, the answer to a question; empty when they can.

    Parameters
    ----------
    asked, got
        Whole frames: number of the question (2), 0 (2), length of the rest (2), unit, function, data.
    """
    for beginning, size in (answered(asked), refused(asked)):
        if got[: len(beginning)] == beginning[: len(got)]:
            return "" if len(got) <= size else f"{len(got) - size} bytes more than that"
    return f"begins with {got[:12].hex()}"


def answered(asked: bytes) -> tuple[bytes, int]:
    """How a proper answer begins, and how long it is."""
    unit, function = asked[6:7], asked[7:8]
    if asked[7] == READ:
        size = 2 * int.from_bytes(asked[10:12], "big")
        return asked[:4] + struct.pack(">H", 3 + size) + unit + function + bytes([size]), 9 + size
    return asked[:4] + b"\x00\x06" + unit + function + asked[8:12], 12


def refused(asked: bytes) -> tuple[bytes, int]:
    """How an exception response begins, and how long it is."""
    return asked[:4] + b"\x00\x03" + asked[6:7] + bytes([asked[7] | 0x80]), 9


def refusal(reply: Any) -> str:
    """What the device has against it."""
    code = int(getattr(reply, "exception_code", 0))
    return f"{EXCEPTIONS.get(code, 'for a reason of its own')} (exception {code})"


def named(address: int, count: int) -> str:
    """Registers, for people."""
    return f"register {address}" if count == 1 else f"registers {address} to {address + count - 1}"
