"""Whose turn is it at which instrument, within one process.

The lease in the database is the proof; this is the queue in front of it, so that nobody
polls. Who is first is in `materials_db.order`: priority, waiting, due dates, shares. What is
begun is finished, within bounds: every step that a sample has behind it, and a mate of its
tray that went before it, make up for some of its campaign's share. So trays fill quickly,
and the machines at the end of the way have work early. A holder may
keep an instrument over several steps (a thermostat while the measurement runs) and asks
for it again without waiting.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from materials_db import order


@dataclass(eq=False)
class Waiting:
    """Somebody who waits for one of some instruments."""

    holder: str
    may_take: Callable[[], Sequence[str]]
    any_of: tuple[str, ...]  #: what it may take as holds stand
    for_campaign: Callable[[], str]
    since: float
    turn: asyncio.Future[str | None]
    behind: int = 0  #: steps that the sample has behind it
    mates: str = ""  #: of its tray to come: who shares the name goes with it

    @property
    def campaign(self) -> str:
        """Whose turn it would be; of a tray, that of the most urgent sample on it so far."""
        return self.for_campaign()


class Turns:
    """Instruments and who holds or awaits each.

    Parameters
    ----------
    held
        Who holds what already, from the leases of an earlier process.
    now
        Lab seconds, for ageing and for shares.
    used_s
        Instrument time that each campaign has had, lab seconds, from the record of earlier processes.
    doubted
        Instruments whose newest run has cost a sample for reasons of their own: they come after those that can do the same.
    """

    def __init__(
        self,
        held: Mapping[str, str] | None = None,
        now: Callable[[], float] = lambda: 0.0,
        used_s: Mapping[str, float] | None = None,
        doubted: Collection[str] = (),
    ) -> None:
        self.held: dict[str, str] = dict(held or {})
        self.now = now
        self.priority: dict[str, int] = {}  #: by campaign
        self.due: dict[str, float] = {}  #: by campaign, as a time stamp
        self.used_s: dict[str, float] = dict(used_s or {})  #: instrument time by campaign, lab seconds
        self.closed: dict[str, bool] = {}  #: instruments on hold; True: samples that are begun may still come
        self.doubted = set(doubted)
        self._taken: dict[str, tuple[str, float]] = {}  #: by instrument: campaign and since when
        self._waiting: list[Waiting] = []
        self._heeded: dict[str, bool] = {}  #: what was closed when all who wait were last asked what they may take
        self._mates: dict[tuple[str, ...], str] = {}  #: by instruments: the mates that were served there last

    async def take(
        self,
        any_of: Sequence[str] | Callable[[], Sequence[str]],
        holder: str,
        campaign: str | Callable[[], str] = "",
        *,
        behind: int = 0,
        mates: str = "",
        waited_s: float = 0.0,
        patient: bool = True,
    ) -> str | None:
        """Wait for one of these instruments, the free one or the one already held.

        Which these are may depend on what is closed: `any_of` is asked again whenever that changes.
        `waited_s` is how long it had waited before, in an earlier process.
        None when the wait was called off (`dismiss`), or when nothing is free and `patient` is false.
        """
        may_take = any_of if callable(any_of) else partial(tuple, any_of)
        these = tuple(may_take())
        mine = [i for i in these if self.held.get(i) == holder]
        if mine:
            return mine[0]
        turn: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        whose = (lambda: campaign) if isinstance(campaign, str) else campaign
        entry = Waiting(holder, may_take, these, whose, self.now() - waited_s, turn, behind, mates)
        self._waiting.append(entry)
        self.serve()
        if not patient and not turn.done():
            self._waiting.remove(entry)
            return None
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
                self._account(instrument)
        self.serve()

    def correct(self, instrument: str, holder: str) -> None:
        """The lease says that another has it, from a worker that was replaced: so be it, and that one goes on."""
        self.held[instrument] = holder
        self.serve()

    def _account(self, instrument: str) -> None:
        campaign, since = self._taken.pop(instrument, ("", self.now()))
        self.used_s[campaign] = self.used_s.get(campaign, 0.0) + self.now() - since

    def dismiss(self, holders: Collection[str]) -> None:
        """Call off the waits of these: their work is no longer wanted."""
        for entry in [e for e in self._waiting if e.holder in holders]:
            self._waiting.remove(entry)
            if not entry.turn.done():
                entry.turn.set_result(None)

    def close(self, instruments: Mapping[str, bool]) -> None:
        """These take no new work from now on, all others do; True: a sample that is begun may still come."""
        if instruments != self.closed:  # it is asked again and again, and a thousand may wait
            self.doubted -= self.closed.keys() - instruments.keys()  # somebody has looked at those and released them
            self.closed = dict(instruments)
            self.serve()

    def note_run(self, instrument: str, spoilt: bool) -> None:
        """Whether the newest run of an instrument has cost a sample for reasons of the machine."""
        (self.doubted.add if spoilt else self.doubted.discard)(instrument)

    def rank(self, entry: Waiting) -> tuple[float, float, float, float]:
        """The lower, the earlier."""
        begun = entry.behind + (entry.mates != "" and self._mates.get(entry.any_of) == entry.mates)
        return order.rank(*self._standing(entry.campaign, entry.since), begun)

    def urgency(self, campaign: str, since: float) -> tuple[float, float, float]:
        """How urgent something of a campaign is that has waited since then: the lower, the more."""
        return order.urgency(*self._standing(campaign, since))

    def _standing(self, campaign: str, since: float) -> tuple[int, float, float, float]:
        waited_s, due = self.now() - since, self.due.get(campaign, math.inf)
        return self.priority.get(campaign, 0), waited_s, due, self.used_s.get(campaign, 0.0)

    def serve(self) -> None:
        """Give what is free to those whose turn it is."""
        if self.closed != self._heeded:
            self._heeded = dict(self.closed)
            for entry in self._waiting:
                entry.any_of = tuple(entry.may_take())
        for entry in sorted(self._waiting, key=self.rank):
            sound_first = sorted(entry.any_of, key=self.doubted.__contains__)
            free = next((i for i in sound_first if self._open(i, entry)), None)
            if free is not None:
                self.held[free] = entry.holder
                self._taken[free] = (entry.campaign, self.now())
                self._mates[entry.any_of] = entry.mates
                self._waiting.remove(entry)
                if not entry.turn.done():
                    entry.turn.set_result(free)

    def _open(self, instrument: str, entry: Waiting) -> bool:
        if instrument in self.held:
            return self.held[instrument] == entry.holder
        draining = self.closed.get(instrument)
        return draining is None or (draining and (entry.behind > 0 or entry.holder in self.held.values()))

    def _forget(self, entry: Waiting) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
        if entry.turn.done() and not entry.turn.cancelled() and (given := entry.turn.result()) is not None:
            self.release([given], entry.holder)
