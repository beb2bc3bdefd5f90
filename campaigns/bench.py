"""The lab at hand: what the workflows ask for, done with real stores, instruments and optimizers."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeVar

from campaigns import budget, planning, results
from campaigns.engine import Json
from campaigns.history import History
from campaigns.optimizer import Foresees, Optimizer, Proposal
from campaigns.plan import Plan
from campaigns.turns import Turns
from instruments.clock import Clock
from instruments.contract import Capability, JobRequest, JobResult, JobStatus, SampleAt
from materials_db import records as db
from materials_db.errors import UnreachableError
from materials_db.store import MaterialsStore, Transaction

T = TypeVar("T")
log = logging.getLogger(__name__)
ACTOR = "labctl"
PAUSED = "paused by request"
FEWEST_TO_STOP = 10  #: results before a model is believed that nothing better is left
DATABASE_S = 0.5  #: wall seconds between tries to reach a database that went away
MACHINE_FAILURES = 5  #: experiments in a row lost to machines before the campaign pauses


class Performer(Protocol):
    """The part of an instrument's host that a bench needs."""

    def describe(self) -> list[Capability]: ...

    async def perform(self, request: JobRequest, fence: int | None = None) -> tuple[JobStatus, JobResult | None]:
        """Submit (idempotent), wait, fetch. Expected faults are values."""

    async def release(self, job_id: str) -> None: ...


async def in_thread(work: Callable[[], T]) -> T:
    """Database work beside the event loop."""
    return await asyncio.to_thread(work)


async def in_line(work: Callable[[], T]) -> T:
    """Database work on the event loop itself: for memory stores under a virtual clock."""
    return work()


@dataclass
class Bench:
    """See module.

    Parameters
    ----------
    optimizer
        Makes the optimizer that a campaign's plan names.
    registered
        Id of the instrument row of each instrument's name.
    offload
        How blocking database work is run: `in_thread` or `in_line`.
    elsewhere
        By instrument, the host on another machine that drives it, if it is not one of ours.
    patience_s
        Wall seconds between tries to reach a device that holds a running job.
    """

    store: MaterialsStore
    hosts: Mapping[str, Performer]
    clock: Clock
    site: str
    simulated: bool
    optimizer: Callable[[Plan], Optimizer]
    registered: Mapping[str, str]
    turns: Turns = field(default_factory=Turns)
    offload: Callable[[Callable[[], Any]], Awaitable[Any]] = in_thread
    patience_s: float = 5.0
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _histories: dict[str, History] = field(default_factory=dict)
    _optimizers: dict[str, Optimizer] = field(default_factory=dict)
    _routes: dict[str, dict[str, Any]] = field(default_factory=dict)  #: of jobs planned by this process

    async def transact(self, work: Callable[..., T], *args: Any) -> T:
        """`work(transaction, *args)` in a transaction of its own.

        A database that went away is waited for and asked again. Whether the lost commit was
        done is unknown, so everything that is handed in here must be harmless to repeat.
        """

        def commit() -> T:
            with self.store.transaction() as tx:
                return work(tx, *args)

        while True:
            try:
                answer: T = await self.offload(commit)
                return answer
            except UnreachableError as error:
                log.warning("waiting for the database: %s", error)
                await asyncio.sleep(DATABASE_S)

    @property
    def capabilities(self) -> dict[str, list[Capability]]:
        """What each instrument can do."""
        return {name: host.describe() for name, host in self.hosts.items()}

    # -- propose ------------------------------------------------------------------------

    async def propose(self, campaign_id: str, flying: Sequence[str]) -> Json:
        """What to make next: proposals, or why to end once nothing is in flight."""
        campaign, plan, history, prices = await self.transact(self._state, campaign_id)
        why = self._stop(campaign, plan, history)
        why = why or await self.offload(lambda: self._near_enough(campaign_id, plan, history))
        sizes = () if why else batches(plan, history.used.experiments, len(flying))
        if not sizes:
            return planning.choice([], why or ("done", "waiting for experiments in flight"))
        found = await self.offload(lambda: self._ask(campaign_id, plan, history, sizes))
        return planning.choose(plan, history, found, self.capabilities, prices)

    def _state(self, tx: Transaction, campaign_id: str) -> tuple[db.Campaign, Plan, History, dict[str, float]]:
        campaign = tx.get(db.Campaign, campaign_id)
        prices = planning.prices(tx)
        if campaign_id not in self._plans:
            self._plans[campaign_id] = planning.at_hand(tx, Plan.of(campaign), prices, campaign.created_at)
        plan = self._plans[campaign_id]
        history = self._histories.setdefault(campaign_id, History(campaign_id, plan.objective))
        history.refresh(tx)
        return campaign, plan, history, prices

    def _stop(self, campaign: db.Campaign, plan: Plan, history: History) -> tuple[str, str] | None:
        """State and reason to end with, None to go on."""
        if campaign.wanted == "stop":
            return "stopped", "stopped by request"
        if campaign.wanted == "pause":
            return "paused", PAUSED
        if history.machine_failures >= MACHINE_FAILURES:
            return (
                "paused",
                f"{history.machine_failures} experiments in a row were lost to machines, not to the material",
            )
        used = budget.Used(
            experiments=history.used.experiments,
            time_s=(self.clock.now() - campaign.created_at).total_seconds(),
            money=history.used.money,
            stock_mg=history.used.stock_mg,
        )
        gains = [history.gains[n] for n in sorted(history.gains)]
        reason = (
            (plan.stop_at_target and budget.target_reached(plan.objective, history.known))
            or budget.exhausted(plan.limits, used)
            or budget.nothing_to_gain(plan.gain_threshold, plan.patience, gains)
        )
        return ("done", reason) if reason else None

    def _near_enough(self, campaign_id: str, plan: Plan, history: History) -> tuple[str, str] | None:
        """State and reason to end with once the best possible is hardly better, None to go on."""
        optimizer, known = self._optimizer(campaign_id, plan), history.known
        enough = sum(o.value is not None for o in known) >= FEWEST_TO_STOP
        if plan.within is None or not enough or not isinstance(optimizer, Foresees):
            return None
        outlook = optimizer.outlook(plan.space, plan.objective, known, plan.seed)
        reason = budget.near_enough(plan.within, plan.probability, outlook, plan.objective.unit)
        return ("done", reason) if reason else None

    def _optimizer(self, campaign_id: str, plan: Plan) -> Optimizer:
        """Kept while the campaign runs: it remembers what it has fitted."""
        if campaign_id not in self._optimizers:
            self._optimizers[campaign_id] = self.optimizer(plan)
        return self._optimizers[campaign_id]

    def _ask(self, campaign_id: str, plan: Plan, history: History, sizes: Sequence[int]) -> list[list[Proposal]]:
        """One batch after the other, each in the light of those before it."""
        optimizer, known, pending = self._optimizer(campaign_id, plan), history.known, history.pending
        found: list[list[Proposal]] = []
        for size in sizes:
            batch = optimizer.propose(plan.space, plan.objective, known, pending, size, plan.seed)
            found.append(batch)
            pending = [*pending, *(p.candidate for p in batch)]
        give_memory_back()
        return found

    # -- plan, close: written together with the engine's record ---------------------------

    def plan(self, tx: Transaction, campaign_id: str, proposals: list[dict[str, Any]]) -> Json:
        """Write down the experiments to come, with all that their jobs will be asked."""
        plan = self._plans.get(campaign_id) or Plan.of(tx.get(db.Campaign, campaign_id))
        new = planning.write(
            tx, campaign_id, plan, proposals, at=self.clock.now(), site=self.site, simulated=self.simulated
        )
        for experiment, proposal in zip(new, proposals, strict=True):
            self._routes |= dict(zip(experiment["jobs"], planning.routes(proposal["steps"]), strict=True))
        return new

    def close(self, tx: Transaction, campaign_id: str, state: str, reason: str) -> Json:
        """The campaign rests: done, stopped or paused."""
        if state == "paused" and tx.get(db.Campaign, campaign_id).wanted == "run" and reason == PAUSED:
            return "running"  # somebody changed their mind: the worker begins a fresh workflow
        at = self.clock.now()
        ended = None if state == "paused" else at
        tx.move(
            db.Campaign, campaign_id, at=at, actor=ACTOR, was=["running"], state=state, reason=reason, ended_at=ended
        )
        self._histories.pop(campaign_id, None)
        self._plans.pop(campaign_id, None)
        self._optimizers.pop(campaign_id, None)
        return state

    def next_segment(self, tx: Transaction, campaign_id: str) -> Json:
        """Id of the workflow that carries the campaign on."""
        return segment_id(tx, campaign_id)

    # -- perform --------------------------------------------------------------------------

    async def perform(self, job_id: str) -> Json:
        """Have one job done, whatever happened to an earlier try of this step."""
        route = self._routes.pop(job_id, {})
        if not route:  # planned by an earlier process: the job may have ended before the crash
            route, known = await self.transact(results.route, job_id)
            if known is not None:
                self.turns.release(known["released"], job_id.split("/")[0])
                return known
        experiment_id = job_id.split("/")[0]
        instrument = await self.turns.take(route["instruments"], experiment_id)
        job, fence, ended = await self.transact(self._start, job_id, instrument)
        while ended is None and not fence:  # a worker that was replaced had taken the lease for another experiment
            if other := await self.transact(results.holder, instrument):
                self.turns.correct(instrument, other)
            instrument = await self.turns.take(route["instruments"], experiment_id)
            job, fence, ended = await self.transact(self._start, job_id, instrument)
        if ended is not None:
            self.turns.release([instrument, *ended["released"]], experiment_id)
            return ended
        if host := self.elsewhere.get(instrument):
            await self.transact(results.tell, job_id, f"asked of host {host}", self.clock.now())
            return {"verdict": "elsewhere", "host": host, "job": job_id, "instrument": instrument, "fence": fence}
        answer = await self._carry_out(job, instrument, fence)
        self.turns.release(answer["released"], job.experiment_id)
        return answer

    async def carry_out(self, job_id: str, instrument: str, fence: int) -> Json:
        """What another worker asks of an instrument of ours. May be asked again after a crash."""
        await self.transact(results.tell, job_id, "", self.clock.now())
        job = await self.transact(lambda tx: tx.get(db.Job, job_id))
        return await self._carry_out(job, instrument, fence)

    async def _carry_out(self, job: db.Job, instrument: str, fence: int) -> Json:
        """The act, and all that it left behind."""
        status, result = await self._act(job, instrument, fence)
        answer = await self.transact(self._finish, job.id, instrument, status, result)
        await self.hosts[instrument].release(job.id)
        return answer

    async def give_back(self, experiment_id: str, instruments: Sequence[str]) -> Json:
        """Another host's job has ended and given these leases back: the next may have their turn."""
        self.turns.release(instruments, experiment_id)
        return None

    def _start(self, tx: Transaction, job_id: str, instrument: str) -> tuple[db.Job, int, Json | None]:
        known = self.registered.get(instrument) or results.registered(tx, instrument)
        return results.start(tx, job_id, instrument, known, at=self.clock.now())

    async def _act(self, job: db.Job, instrument: str, fence: int) -> tuple[JobStatus, JobResult | None]:
        """The act itself. A device that cannot be reached keeps its job: we ask until it answers."""
        request = JobRequest(
            job_id=job.id,
            capability=job.capability,
            params=job.params,
            samples=(SampleAt(sample_id=job.sample_id),),
        )
        status, result = await self.hosts[instrument].perform(request, fence)
        while not status.state.final:
            await self.transact(results.tell, job.id, f"{instrument}: {status.message}", self.clock.now())
            await asyncio.sleep(self.patience_s)
            status, result = await self.hosts[instrument].perform(request, fence)
        return status, result

    def _finish(
        self, tx: Transaction, job_id: str, instrument: str, status: JobStatus, result: JobResult | None
    ) -> Json:
        capability = next(c for c in self.hosts[instrument].describe() if c.name == tx.get(db.Job, job_id).capability)
        return results.finish(
            tx,
            job_id,
            instrument,
            status,
            result,
            physical=capability.physical,
            instrument_id=self.registered[instrument],
            at=self.clock.now(),
        )


def batches(plan: Plan, used: int, flying: int) -> tuple[int, ...]:
    """How many to propose now, in trays where there are any; nothing while a tray would stay half empty.

    The last tray of a budget may be smaller.
    """
    room = plan.in_flight - flying
    left = room if plan.limits.experiments is None else plan.limits.experiments - used
    if plan.tray == 1:
        return (min(room, left),) if min(room, left) > 0 else ()
    sizes: list[int] = []
    while left > 0 and room >= min(plan.tray, left):
        sizes.append(min(plan.tray, left))
        left, room = left - sizes[-1], room - sizes[-1]
    return tuple(sizes)


def segment_id(tx: Transaction, campaign_id: str) -> str:
    """A fresh workflow id for this campaign: the campaign's, with a running number."""
    return f"{campaign_id}#{tx.next_number(f'segment of {campaign_id}')}"


@cache
def _trim() -> Callable[[int], object]:
    """Glibc's malloc_trim; nothing where the C library has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None) if os.name == "posix" else lambda _: None


def give_memory_back() -> None:
    """What large arrays left behind goes back to the system, which C libraries do not do by themselves."""
    _trim()(0)
