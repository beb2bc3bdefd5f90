"""The seam to the wire: one command or question at a time, one answer at most."""

from __future__ import annotations

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
