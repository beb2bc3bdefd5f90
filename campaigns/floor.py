"""The floor of the lab: who gets which instrument when.

Everything here is what one worker does with the instruments whose cables it holds. What
is decided for good stands in the database (`results`); what is here can be lost.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from campaigns import holds, results, tray_results, wishes
from campaigns.acts import Acts, Performer
from campaigns.engine import Json
from campaigns.errands import Errands
from campaigns.experiment import share
from campaigns.trays import Key, Member, Trays, key_of
from campaigns.turns import Turns
from instruments.clock import Clock
from instruments.contract import JobResult, JobStatus, Mode, machine
from instruments.crashpoint import crashpoint
from materials_db import records as db
from materials_db import sites
from materials_db.store import Transaction
from materials_db.waiting import asked_of, forming

SILENT_S = 300.0  #: wall seconds between questions to an instrument that was taken out for its silence
GONE = "labctl.toml has none of the instruments that can do this any more"
TRAY_WAIT_S = 4 * 3600.0  #: lab seconds after which a sample is not kept waiting for a fuller tray


@dataclass
class Floor:
    """See module.

    Parameters
    ----------
    transact
        ``await transact(work, *args)`` runs ``work(transaction, *args)`` in a transaction of its own.
    registered
        Id of the instrument row of each instrument's name.
    patience_s
        Wall seconds between tries to reach a device that holds a running job.
    look_s
        Lab seconds between looks at a tray that is being filled.
    tray_wait_s
        By instrument: lab seconds after which a sample is not kept waiting for a fuller tray.
    elsewhere
        By instrument, the host on another machine that drives it, if it is not one of ours.
    failures
        `[failures]` of the lab file: what follows from a fault where the campaign does not say.
    site_of, host_of
        Where each instrument stands, and which host drives it.
    """

    transact: Callable[..., Awaitable[Any]]
    hosts: Mapping[str, Performer]
    clock: Clock
    registered: Mapping[str, str]
    turns: Turns
    patience_s: float = 5.0
    look_s: float = 60.0
    tray_wait_s: Mapping[str, float] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, Any] = field(default_factory=dict)
    site_of: Mapping[str, str] = field(default_factory=dict)
    host_of: Mapping[str, str] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)  #: when a silent instrument was asked last
    _on_trays: dict[str, asyncio.Future[tuple[JobStatus, JobResult | None]]] = field(default_factory=dict)
    _to_come: dict[tuple[str, str], set[str]] = field(
        default_factory=dict
    )  #: jobs that could join a tray, when last seen
    _seen_at: float = -math.inf
    errands: Errands = field(default_factory=Errands)  #: what is asked of machines beside the look
    _leaving: asyncio.Lock = field(default_factory=asyncio.Lock)  #: samples leave a tray one after the other

    def __post_init__(self) -> None:
        self.begin_with(self.turns)
        self.acts = Acts(
            transact=self.transact,
            hosts=self.hosts,
            clock=self.clock,
            registered=self.registered,
            turns=lambda: self.turns,
            patience_s=self.patience_s,
            failures=self.failures,
            site_of=self.site_of,
        )
        self.trays = Trays(
            start=self._start_tray,
            coming=self._coming,
            look=lambda: self.clock.sleep(self.look_s),
            now=self.clock.elapsed,
            may_go=self._may_go,
            urgency=lambda member: self.turns.urgency(member.campaign, member.since),
        )

    def begin_with(self, turns: Turns) -> None:
        """Give turns out from here on, as the leases stand; what people wish holds on."""
        turns.closed, turns.priority, turns.due = self.turns.closed, self.turns.priority, self.turns.due
        self.turns = turns
        turns.now = self.clock.elapsed

    # -- one job --------------------------------------------------------------------------

    async def perform(self, job_id: str, place: dict[str, Any]) -> Json:
        """Have one job done, whatever happened to an earlier try of this step.

        Parameters
        ----------
        place
            Where it may run, from its experiment's plan; empty where an earlier process planned it.
        """
        if not place:
            place, known = await self.transact(results.route, job_id)
            if known is not None:
                self.hand_back(job_id, known)
                return known
        place = await self._at_its_site(job_id, place)
        if place.get("tray") or self.room(place) > 1:
            return await self._on_tray(job_id, place)
        return await self._alone(job_id, place)

    async def _at_its_site(self, job_id: str, place: dict[str, Any]) -> dict[str, Any]:
        """The place with the instruments of the sample's site, of those what has not failed at this step.

        `choice` holds all steps while no site has claimed the experiment. What the lab file has no more is left out.
        """
        found, choice = [i for i in place["instruments"] if i in self.hosts], None
        if not found or "ready_at" in place:  # also where that was so when an earlier process planned it
            gone = "" if found else f"{GONE}: {', '.join(place['instruments'])}"
            await self.transact(results.tell, job_id, gone, self.clock.now())
        if len(set(self.site_of.values())) > 1:
            experiment: db.Experiment = await self.transact(lambda tx: tx.get(db.Experiment, job_id.split("/")[0]))
            steps = experiment.plan["steps"]
            found = sites.allowed({**place, "instruments": found}, steps, experiment.site, self.site_of)
            choice = steps if experiment.site is None else None
        untried = [i for i in found if i not in place.get("tried", ())]
        return {**place, "instruments": untried or found, "choice": choice}

    def _may_take(self, place: Mapping[str, Any]) -> list[str]:
        """Instruments that a job may have as things stand; what is unclaimed goes where nothing that it needs is closed."""
        if place["choice"] is None:
            return list(place["instruments"])
        return sites.preferred(place["instruments"], place["choice"], self.site_of, self.turns.closed)

    def room(self, place: Mapping[str, Any]) -> int:
        """Most samples of one act of this step."""
        wanted = place.get("capability")
        able = [c for i in place["instruments"] for c in self.hosts[i].describe() if c.name == wanted]
        return min((c.batch[1] for c in able), default=1)

    async def _alone(self, job_id: str, place: Mapping[str, Any]) -> Json:
        experiment_id = job_id.split("/")[0]
        of = {"campaign": place["campaign"], "behind": place.get("behind", 0), "mates": place["mates"]}
        of["waited_s"] = self._waited_s(place)
        may = partial(self._may_take, place)
        while True:
            instrument = await self.turns.take(may, experiment_id, **of)
            if instrument is None:
                return await self._call_off(job_id)
            job, (on, fence, ended) = await self.transact(self._start, job_id, instrument)
            if fence or ended is not None:
                break
            await self._correct(instrument, experiment_id)
        crashpoint("lease taken")
        if on != instrument:  # begun there, by a worker that took control from this one
            self.turns.release([instrument], experiment_id)
        if ended is not None:
            self.turns.release([instrument, *ended["released"]], experiment_id)
            return ended
        return await self._here_or_there(job, on, fence)

    async def _here_or_there(self, job: db.Job, instrument: str, fence: int) -> Json:
        """The act, if the cable is ours; else who is to be asked."""
        if host := self.elsewhere.get(instrument):
            await self.transact(results.tell, job.id, asked_of(host), self.clock.now())
            return {"verdict": "elsewhere", "host": host, "job": job.id, "instrument": instrument, "fence": fence}
        answer = await self._carry_out(job, instrument, fence)
        self.hand_back(job.id, answer)
        return answer

    async def carry_out(self, job_id: str, instrument: str, fence: int) -> Json:
        """What another worker asks of an instrument of ours. May be asked again after a crash."""
        await self.transact(results.tell, job_id, "", self.clock.now())
        return await self._carry_out(await self._job(job_id), instrument, fence)

    async def _job(self, job_id: str) -> db.Job:
        job: db.Job = await self.transact(lambda tx: tx.get(db.Job, job_id))
        return job

    async def _carry_out(self, job: db.Job, instrument: str, fence: int) -> Json:
        """The act on an instrument of ours, and all that it left behind."""
        if job.tray is not None:
            return await self._with_tray(job, job.tray, instrument, fence)
        status, result = await self.acts.act(results.request_of(job), instrument, fence, [job.id])
        crashpoint("result in hand")
        answer = await self.transact(self.acts.finish, job.id, instrument, status, result)
        crashpoint("rows committed")
        await self.hosts[instrument].release(job.id)
        return answer

    def _waited_s(self, place: Mapping[str, Any]) -> float:
        """Lab seconds for which a job that an earlier process planned has waited."""
        if "ready_at" not in place:
            return 0.0
        waited: timedelta = self.clock.now() - place["ready_at"]
        return max(0.0, waited.total_seconds())

    def hand_back(self, job_id: str, answer: Mapping[str, Any]) -> None:
        """Leases that were given back in the database are free here as well."""
        if machine := answer.get("machine"):
            self.turns.note_run(machine["name"], machine["spoilt"])
        self.turns.release(answer["released"], job_id.split("/")[0])
        for instrument, tray in answer.get("trays", []):
            self.turns.release([instrument], tray)

    async def _call_off(self, job_id: str) -> Json:
        """Its campaign was stopped while it waited."""
        answer = await self.transact(results.call_off, job_id, self.clock.now())
        self.hand_back(job_id, answer)
        return answer

    def _start(self, tx: Transaction, job_id: str, instrument: str) -> tuple[db.Job, tuple[str, int, Json | None]]:
        job = tx.get(db.Job, job_id)
        takes_s = self.acts.capability(instrument, job.capability).expected_s(job.params)
        return job, results.start(
            tx, job_id, instrument, self._row(tx, instrument), at=self.clock.now(), takes_s=takes_s,
            site=self.site_of.get(instrument),
        )  # fmt: skip

    def _row(self, tx: Transaction, instrument: str) -> str | None:
        return self.registered.get(instrument) or results.registered(tx, instrument)

    # -- trays ------------------------------------------------------------------------------

    async def _on_tray(self, job_id: str, place: Mapping[str, Any]) -> Json:
        tray = place.get("tray") or await self._join(job_id, place)
        if tray is None:
            return await self._call_off(job_id)
        instrument, fence = await self.transact(tray_results.place_of_tray, tray)
        return await self._here_or_there(await self._job(job_id), instrument, fence)

    async def _with_tray(self, job: db.Job, tray: str, instrument: str, fence: int) -> Json:
        """One sample's part in an act that it shares with others."""
        act = self._on_trays.get(tray)
        if act is None:
            act = self._on_trays[tray] = asyncio.ensure_future(self._tray_act(tray, instrument, fence))
        status, result = await asyncio.shield(act)
        async with self._leaving:  # side by side, none would see that it is the last
            answer, last = await self.transact(self._finish_member, job, tray, instrument, status, result)
        crashpoint("tray member committed")
        if last:
            self._on_trays.pop(tray, None)
            await self.hosts[instrument].release(tray)
            answer["trays"] = [[instrument, tray]]
        return answer

    async def _join(self, job_id: str, place: Mapping[str, Any]) -> str | None:
        """Wait for others that want the same; the tray's id."""
        job = await self._job(job_id)
        key = key_of(place["instruments"], job.capability, job.params)
        wait_s, room = min(self._tray_wait_s(i, job.capability) for i in place["instruments"]), self.room(place)
        words = forming(room, self.clock.now() + timedelta(seconds=wait_s - self._waited_s(place)))
        await self.transact(results.tell, job_id, words, self.clock.now())
        return await self.trays.join(key, job_id, room, wait_s, place["campaign"], self._waited_s(place))

    async def _coming(self, key: Key, present: Sequence[Member]) -> int:
        """How many others may still join; one look at the record serves all trays that are being filled."""
        now = self.clock.elapsed()
        if not max(m.since for m in present) < self._seen_at <= now < self._seen_at + self.look_s:
            shared = {c.name for host in self.hosts.values() for c in host.describe() if c.batch[1] > 1}
            self._to_come, self._seen_at = await self.transact(tray_results.to_come, sorted(shared)), now
        return len(self._to_come.get(key[1:], set()) - {m.job_id for m in present})

    def _tray_wait_s(self, instrument: str, capability: str) -> float:
        """Longest wait for a fuller tray: as the lab file says, else no longer than the act itself takes."""
        usual = min(TRAY_WAIT_S, self.acts.capability(instrument, capability).typical_s)
        return self.tray_wait_s.get(instrument, usual)

    async def _start_tray(self, key: Key, members: Callable[[], list[Member]]) -> tuple[str, list[str]] | None:
        """Take an instrument, then the first who are there by then; what is no longer wanted stays behind."""
        first = members()[0]
        tray, behind = await self.transact(tray_results.new_tray, first.job_id)
        place, _ = await self.transact(results.route, first.job_id)
        place = {**await self._at_its_site(first.job_id, place), "instruments": key[0]}

        def campaign() -> str:
            return next((member.campaign for member in members()), first.campaign)

        while True:
            instrument = await self.turns.take(partial(self._may_take, place), tray, campaign, behind=behind)
            if instrument is None:
                return None
            jobs = [member.job_id for member in members()]
            started = await self.transact(self._lease_tray, tray, jobs, instrument, key) if jobs else (tray, [])
            if started is not None:
                break
            await self._correct(instrument, tray)
        crashpoint("tray leased")
        on, placed = started
        if on != tray or not placed:
            self.turns.release([instrument], tray)
        return (on, placed) if placed else None

    async def _correct(self, instrument: str, holder: str) -> None:
        """The record gave no lease to whose turn it was here: let it say whose it is, or that it is nobody's."""
        other, held = await self.transact(results.standing, instrument)
        if held:  # since our last look
            self.turns.close({**self.turns.closed, instrument: False})
            self.turns.release([instrument], holder)
        if other:  # a worker that was replaced had taken it for that one
            self.turns.correct(instrument, other)

    def _lease_tray(
        self, tx: Transaction, tray: str, jobs: Sequence[str], instrument: str, key: Key
    ) -> tuple[str, list[str]] | None:
        takes_s = self.acts.capability(instrument, key[1]).expected_s(tx.get(db.Job, jobs[0]).params)
        return tray_results.start_tray(tx, tray, jobs, instrument, self._row(tx, instrument), self.clock.now(), takes_s,
            self.site_of.get(instrument), room=self._room_of(key),
        )  # fmt: skip

    def _room_of(self, key: Key) -> int:
        return self.room({"instruments": key[0], "capability": key[1]})

    async def _may_go(self, key: Key, members: Sequence[Member]) -> bool:
        jobs = [member.job_id for member in members]
        able: bool = await self.transact(tray_results.may_go, jobs, self._room_of(key), self.clock.now())
        return able

    async def _tray_act(self, tray: str, instrument: str, fence: int) -> tuple[JobStatus, JobResult | None]:
        """One act on all samples of a tray, the same after a restart."""
        request, jobs = await self.transact(tray_results.of_tray, tray)
        told = await self.transact(tray_results.told, tray)
        if told is not None and not await self.acts.begun(tray, instrument):
            return told, None
        return await self.acts.act(request, instrument, fence, jobs)

    def _finish_member(
        self, tx: Transaction, job: db.Job, tray: str, instrument: str, status: JobStatus, result: JobResult | None
    ) -> tuple[dict[str, Any], bool]:
        """One sample's share of what the tray gave; whether it was the last."""
        answer = self.acts.finish(tx, job.id, instrument, *share(status, result, job.sample_id))
        return answer, tray_results.clear_tray(tx, tray, instrument)

    # -- what people want --------------------------------------------------------------------

    async def look(self) -> list[str]:
        """Do what people have asked for since the last look: holds, priorities, stops, aborts; campaigns that go on."""
        wanted = await self.transact(wishes.look_up)
        self.turns.priority, self.turns.due = wanted["priority"], wanted["due"]
        silent = {name: False for name, host in self.host_of.items() if host in wanted["silent hosts"]}
        self.turns.close({**silent, **wanted["holds"]})
        if wanted["stopping"]:
            self.turns.dismiss(wanted["stopping"])
            self.trays.dismiss(wanted["waiting"])
        for instrument in wanted["silent"]:
            self.errands.begin(f"ask {instrument}", partial(self._ask_again, instrument))
        for act, instrument, reason in wanted["abort"]:
            if instrument in self.ours:
                self.errands.begin(f"abort {act}", partial(self.hosts[instrument].abort, act, reason))
        return list(wanted["running"])

    async def _ask_again(self, instrument: str) -> None:
        """An instrument that was taken out for its silence comes back by itself when it answers."""
        now = self.clock.monotonic()
        if instrument not in self.ours or now < self._asked.get(instrument, -math.inf) + SILENT_S:
            return
        self._asked[instrument] = now
        health = await self.hosts[instrument].health()
        if health.mode is not Mode.OFFLINE:
            await self.transact(self._answers_again, instrument, health.identity)

    def _answers_again(self, tx: Transaction, instrument: str, identity: str) -> None:
        """Take it back, if it is the same machine."""
        at, known = self.clock.now(), tx.get(db.Instrument, self.registered[instrument]).identity
        holds.release_own(tx, instrument, at)
        if machine(identity) != machine(known):
            holds.place(tx, instrument, f"another machine answers: {identity}, not {known}", at)

    @property
    def ours(self) -> set[str]:
        """Instruments whose cables we hold."""
        return set(self.hosts) - set(self.elsewhere)
