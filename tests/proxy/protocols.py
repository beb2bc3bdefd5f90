"""What is asked through the proxy: devices whose every answer says which question it answers."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from instruments.modbus import ModbusTcp
from instruments.scpi import ScpiTcp
from tests.proxy.proxy import Framing

#: One exchange over an open line: what came, and what alone would have been right.
Exchange = Callable[[int, random.Random], Awaitable[tuple[object, object]]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Line:
    """The driver's end of a wire."""

    exchange: Exchange
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Protocol:
    """A device, how its replies are framed, and how it is asked."""

    serve: Serve
    framing: Framing
    line: Callable[[int, float], Line]  #: port and time-out, wall seconds


@asynccontextmanager
async def device(serve: Serve) -> AsyncIterator[int]:
    """A device on loopback; its port."""

    async def until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(until_gone, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


# -- SCPI ---------------------------------------------------------------------------------


async def scpi_device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the number of the question: as a line, or as a block."""
    while line := await reader.readline():
        command, _, serial = line.decode().strip().partition(" ")
        if command == "*IDN?":
            writer.write(b"maker,model,1,1.0\n")
        elif command == "MEAS?":
            writer.write(f"{serial},{int(serial) * 0.5}\n".encode())
        else:
            writer.write(block(content(int(serial))))


def content(serial: int) -> bytes:
    """What the block of that number holds: line ends too, so that none is taken for the block's."""
    return b"%d\n" % serial * (1 + serial % 40)


def block(data: bytes) -> bytes:
    """IEEE 488.2 definite-length block."""
    size = b"%d" % len(data)
    return b"#%d%s%s\n" % (len(size), size, data)


async def scpi_framing(reader: asyncio.StreamReader) -> bytes:
    """A line or a block."""
    head = await reader.readexactly(1)
    if head != b"#":
        return head + await reader.readuntil(b"\n")
    digits = await reader.readexactly(1)
    size = await reader.readexactly(int(digits))
    return head + digits + size + await reader.readexactly(int(size) + 1)


def scpi_line(port: int, timeout_s: float) -> Line:
    """Our SCPI transport."""
    wire = ScpiTcp("127.0.0.1", port, timeout_s=timeout_s, identity="maker,model,1,1.0")

    async def exchange(serial: int, rng: random.Random) -> tuple[object, object]:
        if rng.random() < 0.3:
            return await wire.query_block(f"DATA? {serial}"), content(serial)
        return await wire.query(f"MEAS? {serial}"), f"{serial},{serial * 0.5}"

    return Line(exchange, wire.close)


# -- Modbus -------------------------------------------------------------------------------

READ = 3  #: function code; all else here is a write


async def modbus_device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Registers that hold their own address; a write is confirmed with what was written where."""
    while frame := await modbus_framing(reader):
        address, count = struct.unpack(">HH", frame[8:12])
        if frame[7] == READ:
            registers = held(address, count)
            writer.write(modbus_frame(frame, struct.pack(f">BB{count}H", READ, 2 * count, *registers)))
        else:
            writer.write(modbus_frame(frame, frame[7:12]))


def held(address: int, count: int) -> list[int]:
    """What registers hold: no two neighbours the same."""
    return [(a * 7919) & 0xFFFF for a in range(address, address + count)]


def modbus_frame(asked: bytes, content: bytes) -> bytes:
    """The reply to a question. Modbus messaging on TCP/IP 1.0b, section 3.1.3."""
    return asked[:4] + struct.pack(">HB", 1 + len(content), asked[6]) + content


async def modbus_framing(reader: asyncio.StreamReader) -> bytes:
    """A frame: six bytes, of which the last two say how many follow."""
    head = await reader.readexactly(6)
    return head + await reader.readexactly(int.from_bytes(head[4:], "big"))


def modbus_line(port: int, timeout_s: float) -> Line:
    """Our Modbus transport."""
    wire = ModbusTcp("127.0.0.1", port, timeout_s=timeout_s)
    wire.pin(60000, 2)

    async def exchange(serial: int, rng: random.Random) -> tuple[object, object]:
        address, count = serial * 31 % 50000, rng.randint(1, 20)
        if rng.random() < 0.3:
            await wire.write(address, [serial & 0xFFFF] * count)
            return "written", "written"
        return await wire.read(address, count), held(address, count)

    return Line(exchange, wire.close)


PROTOCOLS = {
    "scpi": Protocol(scpi_device, scpi_framing, scpi_line),
    "modbus": Protocol(modbus_device, modbus_framing, modbus_line),
}
