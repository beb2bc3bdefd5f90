"""The fakes behind the wire's seam: a conversation written down beforehand, and a table of registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from instruments.errors import TransportError

Line = tuple[str, str | bytes | TransportError | None]


class ScriptedTransport:
    """Answers exactly this conversation, in this order.

    Parameters
    ----------
    script
        Pairs of what is sent and what comes back: text for a question, bytes for a block,
        None for a command, an error to raise it.
    """

    def __init__(self, script: Sequence[Line]) -> None:
        self.left = list(script)
        self.said: list[str] = []

    def _next(self, command: str) -> str | bytes | None:
        self.said.append(command)
        if not self.left:
            raise AssertionError(f"{command!r} was sent after the end of the conversation")
        expected, answer = self.left.pop(0)
        if command != expected:
            raise AssertionError(f"{command!r} was sent where {expected!r} was expected")
        if isinstance(answer, TransportError):
            raise answer
        return answer

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def write(self, command: str) -> None:
        if self._next(command) is not None:
            raise AssertionError(f"{command!r} is a command; it has no answer")

    async def query(self, command: str) -> str:
        answer = self._next(command)
        assert isinstance(answer, str), f"{command!r} is answered by one line"
        return answer

    async def query_block(self, command: str) -> bytes:
        answer = self._next(command)
        assert isinstance(answer, bytes), f"{command!r} is answered by a block"
        return answer

    def finished(self) -> bool:
        """Whether everything expected was said."""
        return not self.left


class ScriptedRegisters:
    """A device that is nothing but a table: what was written is read again, what nobody has set is 0.

    Parameters
    ----------
    table
        What stands in the registers at first, by address.
    """

    def __init__(self, table: Mapping[int, int]) -> None:
        self.table = dict(table)
        self.written: list[tuple[int, list[int]]] = []
        self.deaf: set[int] = set()  #: registers that keep what they hold whatever is written
        self.fails: dict[int, TransportError] = {}  #: at the writing of these, after it was carried out

    def pin(self, address: int, count: int) -> None:
        """Nobody else can answer."""

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def read(self, address: int, count: int) -> list[int]:
        return [self.table.get(a, 0) for a in range(address, address + count)]

    async def write(self, address: int, values: Sequence[int]) -> None:
        self.written.append((address, list(values)))
        fresh = {address + i: value for i, value in enumerate(values)}
        self.table.update({a: v for a, v in fresh.items() if a not in self.deaf})
        if address in self.fails:
            raise self.fails.pop(address)
