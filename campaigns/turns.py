"""Whose turn is it at which instrument, within one process.

The lease in the database is the proof; this is the queue in front of it, first come first
served, so that nobody polls. A holder may keep an instrument over several steps (a
thermostat while the measurement runs) and asks for it again without waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence


class Turns:
    """Instruments and who holds or awaits each.

    Parameters
    ----------
    held
        Who holds what already, from the leases of an earlier process.
    """

    def __init__(self, held: Mapping[str, str] | None = None) -> None:
        self.held: dict[str, str] = dict(held or {})
        self._waiting: list[tuple[str, tuple[str, ...], asyncio.Future[str]]] = []

    async def take(self, any_of: Sequence[str], holder: str) -> str:
        """Wait for one of these instruments, the free one or the one already held."""
        mine = [i for i in any_of if self.held.get(i) == holder]
        if mine:
            return mine[0]
        turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        entry = (holder, tuple(any_of), turn)
        self._waiting.append(entry)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            self._forget(entry)
            raise

    def release(self, instruments: Iterable[str], holder: str) -> None:
        """Give them back; those that `holder` does not hold are left alone."""
        for instrument in instruments:
            if self.held.get(instrument) == holder:
                del self.held[instrument]
        self._serve()

    def correct(self, instrument: str, holder: str) -> None:
        """The lease says that another has it, from a worker that was replaced: so be it, and that one goes on."""
        self.held[instrument] = holder
        self._serve()

    def _serve(self) -> None:
        for entry in list(self._waiting):
            holder, any_of, turn = entry
            free = next((i for i in any_of if self.held.get(i, holder) == holder), None)
            if free is not None:
                self.held[free] = holder
                self._waiting.remove(entry)
                if not turn.done():
                    turn.set_result(free)

    def _forget(self, entry: tuple[str, tuple[str, ...], asyncio.Future[str]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
        holder, _, turn = entry
        if turn.done() and not turn.cancelled():
            self.release([turn.result()], holder)
