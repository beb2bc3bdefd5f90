"""How samples come together on a tray: the same step, the same set-points, one act.

A tray starts when it is full, when its oldest sample has waited long enough, or when no
other sample can still come; but no sample goes without its mates where its campaign's
instrument time would not be enough for another act for them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[tuple[str, ...], str, str]


def key_of(instruments: Sequence[str], capability: str, params: Mapping[str, Any]) -> Key:
    """What samples must have in common to share a tray."""
    return tuple(instruments), capability, set_points(params)


def set_points(params: Mapping[str, Any]) -> str:
    """Parameters in one form, to be compared."""
    return json.dumps(params, sort_keys=True)


def mates(campaign_id: str, plan: Mapping[str, Any]) -> str:
    """What all samples that were proposed for one tray have in common; empty where there are no trays."""
    return f"{campaign_id}/{plan['tray']}" if plan.get("tray") is not None else ""


@dataclass(eq=False)
class Member:
    """One job that waits for its tray."""

    job_id: str
    since: float
    placed: asyncio.Future[str | None]  #: id of the tray; None when the wait was called off
    campaign: str = ""


@dataclass
class Forming:
    """A tray that is being filled.

    Parameters
    ----------
    room
        Most samples.
    wait_s
        Lab seconds after which the oldest sample is not kept waiting for others.
    """

    key: Key
    room: int
    wait_s: float
    members: list[Member] = field(default_factory=list)
    former: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return len(self.members) >= self.room

    def due(self, now: float) -> bool:
        """Whether the oldest has waited long enough; after a restart it may not be the first who came back."""
        return bool(self.members) and now >= min(m.since for m in self.members) + self.wait_s


async def always(_: Key, __: Sequence[Member]) -> bool:
    """Nobody has to pay."""
    return True


class Trays:
    """All trays that are being filled in this process.

    Parameters
    ----------
    start
        Takes an instrument and puts the first of these jobs on a tray; the tray's id, and who is on it.
        None when none of them is wanted any more.
    coming
        How many other jobs could still join a tray of this key, on which these already are.
    look
        Returns when it is worth looking again.
    now
        Lab seconds.
    may_go
        Whether any of these may go now, as far as their campaigns can pay.
    urgency
        Of a member: the lower, the earlier it has its place where there is not room for all.
    """

    def __init__(
        self,
        *,
        start: Callable[[Key, Callable[[], list[Member]]], Awaitable[tuple[str, list[str]] | None]],
        coming: Callable[[Key, Sequence[Member]], Awaitable[int]],
        look: Callable[[], Awaitable[None]],
        now: Callable[[], float],
        may_go: Callable[[Key, Sequence[Member]], Awaitable[bool]] = always,
        urgency: Callable[[Member], Any] = lambda member: 0,
    ) -> None:
        self.start, self.coming, self.look, self.now, self.urgency = start, coming, look, now, urgency
        self.may_go = may_go
        self.forming: dict[Key, Forming] = {}

    async def join(
        self, key: Key, job_id: str, room: int, wait_s: float, campaign: str = "", waited_s: float = 0.0
    ) -> str | None:
        """Wait until this job is on a tray that starts; the tray's id, None when it was called off.

        `waited_s` is how long it had waited before, in an earlier process.
        """
        tray = self.forming.setdefault(key, Forming(key, room, wait_s))
        member = Member(job_id, self.now() - waited_s, asyncio.get_running_loop().create_future(), campaign)
        tray.members.append(member)
        if tray.former is None:
            tray.former = asyncio.create_task(self._form(tray))
        try:
            return await member.placed
        finally:
            if member in tray.members:
                tray.members.remove(member)

    def dismiss(self, job_ids: Sequence[str]) -> None:
        """Call off the waits of these."""
        for tray in self.forming.values():
            for member in [m for m in tray.members if m.job_id in job_ids]:
                tray.members.remove(member)
                if not member.placed.done():
                    member.placed.set_result(None)

    async def _form(self, tray: Forming) -> None:
        """One tray after the other, until nobody waits."""
        try:
            while tray.members:
                while tray.members and not await self._ready(tray):
                    await self.look()
                started = await self.start(tray.key, lambda: self._in_order(tray)) if tray.members else None
                if started is None:
                    await self.look()
                else:
                    self._place(tray, *started)
        except Exception as error:  # noqa: BLE001 - carried to those who wait, who raise it
            for member in tray.members:
                if not member.placed.done():
                    member.placed.set_exception(error)
        finally:
            tray.former = None
            if self.forming.get(tray.key) is tray and not tray.members:
                del self.forming[tray.key]

    def _in_order(self, tray: Forming) -> list[Member]:
        """Who is first on the tray if it starts now: the most urgent, of those who have waited longest."""
        return sorted(tray.members, key=self.urgency)

    async def _ready(self, tray: Forming) -> bool:
        ready = tray.full or tray.due(self.now()) or await self.coming(tray.key, tray.members) == 0
        return ready and await self.may_go(tray.key, self._in_order(tray))

    def _place(self, tray: Forming, tray_id: str, jobs: Sequence[str]) -> None:
        for member in [m for m in tray.members if m.job_id in jobs]:
            tray.members.remove(member)
            if not member.placed.done():
                member.placed.set_result(tray_id)
