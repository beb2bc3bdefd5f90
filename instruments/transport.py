"""The seam to the wire: one command or question at a time, one answer at most. Lines of text, or registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Transport(Protocol):
    """A line to one device. All errors are `instruments.errors.TransportError`."""

    async def open(self) -> None:
        """Connect and check that the right device answers. Harmless when open."""

    async def write(self, command: str) -> None:
        """Send a command that has no answer."""

    async def query(self, command: str) -> str:
        """Send a question and return its one line, without the line end."""

    async def query_block(self, command: str) -> bytes:
        """Send a question that is answered by an IEEE 488.2 definite-length block."""

    async def close(self) -> None:
        """Let go of the device at once."""


class Registers(Protocol):
    """A line to one device that is a table of 16-bit registers, as Modbus has it."""

    def pin(self, address: int, count: int) -> None:
        """Registers that tell who answers; checked at every connecting."""

    async def open(self) -> None:
        """Connect and check that the right device answers. Harmless when open."""

    async def read(self, address: int, count: int) -> list[int]:
        """So many registers from this address on, each 0 to 65535."""

    async def write(self, address: int, values: Sequence[int]) -> None:
        """Set registers from this address on. Raises DeviceRefused."""

    async def close(self) -> None:
        """Let go of the device at once."""


Wire = Transport | Registers
