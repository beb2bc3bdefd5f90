"""SCPI over TCP, safe against what a wire does.

After a time-out the reply may still come, and would be taken for the answer to the next
question. So every failed exchange drops the link (with a reset, not a polite close), and
the next one opens it again and asks who is there. One question is on the wire at a time.
Time-outs are wall time: they are about the wire, not about the process.
"""

from __future__ import annotations

import asyncio
import csv
import io
import math
import os
import re
import socket
import struct
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from instruments.errors import BadReply, DeviceRefused, LinkLost, ReplyTimeout
from instruments.transport import Transport

T = TypeVar("T")
BLANKS = " \t\r\n"  #: around a number; other blanks, such as a unit separator, are garbage
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?")
OVERLOAD = 9.9e37  #: SCPI-99 7.2.1.4 and 7.2.1.5: infinity; 9.91e37 stands for "not a number"
LONGEST_LINE = 1 << 16
LARGEST_BLOCK = 1 << 24


class ScpiTcp:
    """A line to one instrument.

    Parameters
    ----------
    timeout_s
        Wall seconds for connecting and for each answer.
    identity
        What ``*IDN?`` must answer; None pins the first answer.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float = 5.0, identity: str | None = None) -> None:
        self.host = host
        self.port = port
        self.timeout_s = timeout_s
        self.pinned = identity
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        async with self._turn:
            await self._ready()

    async def close(self) -> None:
        self._drop()

    async def write(self, command: str) -> None:
        async with self._turn:
            await self._ready()
            await self._send(command)

    async def query(self, command: str) -> str:
        async with self._turn:
            await self._ready()
            return await self._ask(command)

    async def query_block(self, command: str) -> bytes:
        async with self._turn:
            await self._ready()
            await self._send(command)
            return await self._guarded(self._block(), command)

    # -- the link -------------------------------------------------------------------------

    async def _ready(self) -> None:
        """Connect if need be and make sure that it is still the same instrument."""
        if self._writer is not None:
            return
        try:
            opening = asyncio.open_connection(self.host, self.port, limit=LONGEST_LINE)
            self._reader, self._writer = await asyncio.wait_for(opening, self.timeout_s)
        except TimeoutError:
            raise LinkLost(
                f"{self.host}:{self.port} does not take the connection within {self.timeout_s:g} s"
            ) from None
        except OSError as error:
            raise LinkLost(f"{self.host}:{self.port}: {reason(error)}") from None
        found = await self._ask("*IDN?")
        if self.pinned is None:
            self.pinned = found
        elif found != self.pinned:
            self._drop()
            raise LinkLost(f"{self.host}:{self.port} is another instrument: {found!r}, expected {self.pinned!r}")

    def _drop(self) -> None:
        """Reset the connection: a polite close would wait for a peer that may be frozen."""
        if self._writer is not None:
            sock = self._writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _send(self, command: str) -> None:
        assert self._writer is not None
        assert self._reader is not None
        if not command.isascii() or "\n" in command:
            raise ValueError(f"{command!r} is not one line of ASCII")
        if waiting(self._reader):
            self._drop()
            raise BadReply(f"{self.host}:{self.port} said something before it was asked {command!r}")
        self._writer.write(command.encode("ascii") + b"\n")
        try:
            await asyncio.wait_for(self._writer.drain(), self.timeout_s)
        except (TimeoutError, OSError) as error:
            self._drop()
            raise LinkLost(f"{self.host}:{self.port} closed the connection at {command!r}: {error}") from None

    async def _ask(self, command: str) -> str:
        await self._send(command)
        return await self._guarded(self._line(), command)

    async def _guarded(self, reading: Coroutine[Any, Any, T], command: str) -> T:
        """An answer in time and in order, or a dropped link."""
        try:
            return await asyncio.wait_for(reading, self.timeout_s)
        except TimeoutError:
            self._drop()
            raise ReplyTimeout(
                f"{self.host}:{self.port} did not answer {command!r} within {self.timeout_s:g} s"
            ) from None
        except (asyncio.IncompleteReadError, LinkLost, OSError) as error:
            self._drop()
            raise LinkLost(f"{self.host}:{self.port} closed the connection at {command!r}: {error}") from None
        except (BadReply, ValueError, asyncio.LimitOverrunError) as error:
            self._drop()
            raise BadReply(f"{self.host}:{self.port} answered {command!r} with something else: {error}") from None
        except asyncio.CancelledError:
            self._drop()  # the answer will still come; it must not meet the next question
            raise

    async def _line(self) -> str:
        assert self._reader is not None
        raw = await self._reader.readline()
        if not raw.endswith(b"\n"):
            raise LinkLost("the connection was closed" + (" in the middle of an answer" if raw else ""))
        self._nothing_more()
        if not raw.isascii():
            raise BadReply(f"{raw[:40]!r} is no text in ASCII")
        return raw[:-1].rstrip(b"\r").decode("ascii")

    async def _block(self) -> bytes:
        """IEEE 488.2, 8.7.9: ``#``, number of digits, length, bytes, line end."""
        assert self._reader is not None
        head = await self._reader.readexactly(2)
        if head[:1] != b"#" or head[1:] not in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"):
            raise BadReply(f"no block begins with {head!r}")
        digits = await self._reader.readexactly(int(head[1:]))
        if not digits.isdigit() or int(digits) > LARGEST_BLOCK:
            raise BadReply(f"no block is {digits!r} bytes long")
        content = await self._reader.readexactly(int(digits))
        if await self._reader.readexactly(1) != b"\n":
            raise BadReply("the block does not end where it should")
        self._nothing_more()
        return content

    def _nothing_more(self) -> None:
        if self._reader is not None and waiting(self._reader):
            raise BadReply("more came than was asked for")


def reason(error: OSError) -> str:
    """Why a connection failed, in the system's words: asyncio's own only repeat the address."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def waiting(reader: asyncio.StreamReader) -> int:
    """Bytes that came without being asked for. asyncio shows them only in its buffer."""
    return len(reader._buffer)  # type: ignore[attr-defined]


# -- answers ------------------------------------------------------------------------------


def number(text: str, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A number as an instrument writes it.

    Raises
    ------
    BadReply
        No number, overload, not-a-number, or outside of what can be.
    """
    if not NUMBER.fullmatch(text.strip(BLANKS)):
        raise BadReply(f"{what}: {text[:40]!r} is not a number")
    value = float(text)
    if abs(value) >= OVERLOAD or not math.isfinite(value):
        raise BadReply(f"{what}: overload or no reading ({text.strip()})")
    if not low <= value <= high:
        raise BadReply(f"{what}: {value:g} is not believable, expected {low:g} to {high:g}")
    return value


def whole(text: str, what: str) -> int:
    """A whole number, not negative. Raises BadReply."""
    if not re.fullmatch(r"\d{1,15}", text.strip(BLANKS)):
        raise BadReply(f"{what}: {text[:40]!r} is not a whole number")
    return int(text)


def fields(text: str, count: int, what: str) -> list[str]:
    """The comma-separated fields of an answer, quotes taken off. Raises BadReply."""
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadReply(f"{what}: {text[:60]!r} cannot be read ({error})") from None
    if len(rows) != 1 or len(rows[0]) != count:
        raise BadReply(f"{what}: {text[:60]!r} has not {count} fields")
    return rows[0]


def table(raw: bytes, header: Sequence[str]) -> list[list[str]]:
    """Rows of a raw file below its header. Raises BadReply when it cannot be read."""
    try:
        first, *rest = raw.decode("ascii").splitlines() or [""]
    except UnicodeDecodeError as error:
        raise BadReply(f"the raw file cannot be read: {error}") from None
    if first != ",".join(header):
        raise BadReply(f"the raw file does not begin with {','.join(header)}")
    return [fields(line, len(header), "a line of the raw file") for line in rest]


def quoted(text: str) -> str:
    """Text as a SCPI string; what cannot be quoted is refused with ValueError."""
    if not text.isascii() or not text.isprintable() or '"' in text or len(text) > 64:
        raise ValueError(f"{text[:70]!r} cannot be sent to an instrument: printable ASCII without quotes, at most 64")
    return f'"{text}"'


async def refusals(transport: Transport) -> list[str]:
    """Everything in the instrument's error queue, oldest first."""
    found: list[str] = []
    for _ in range(32):
        answer = await transport.query("SYST:ERR?")
        code, message = fields(answer, 2, "SYST:ERR?")
        if code.strip().lstrip("+") == "0":
            return found
        found.append(f"{code},{message}")
    raise BadReply("the error queue does not end")


async def accepted(transport: Transport, what: str) -> None:
    """Raise DeviceRefused when the instrument refused what was sent."""
    if found := await refusals(transport):
        raise DeviceRefused(f"{what} was refused: {'; '.join(found)}")
