"""The lab at hand: what the workflows ask for, done with real stores, instruments and optimizers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from campaigns import budget, planning, shelf, tasks
from campaigns.acts import Performer
from campaigns.candidate import Candidate
from campaigns.engine import Json
from campaigns.floor import Floor
from campaigns.history import History
from campaigns.optimizer import Foresees, Optimizer, Proposal
from campaigns.plan import Plan
from campaigns.trays import mates
from campaigns.turns import Turns
from instruments.clock import Clock
from instruments.contract import Capability
from instruments.crashpoint import crashpoint
from materials_db import records as db
from materials_db.errors import ConflictError, UnreachableError
from materials_db.store import MaterialsStore, Transaction

T = TypeVar("T")
log = logging.getLogger(__name__)
ACTOR = "labctl"
PAUSED = "paused by request"
FEWEST_TO_STOP = 10  #: results before a model is believed that nothing better is left
DATABASE_S = 0.5  #: wall seconds between tries to reach a database that went away
MOST_ASKED = 10  #: times that an optimizer is asked anew where no single site could carry out what it proposed
MOST_TRIES = 50  #: of one step for one sample, those included that people asked for
MACHINE_FAILURES = 5  #: experiments in a row lost to machines before the campaign pauses


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
    failures
        `[failures]` of the lab file.
    site_of, host_of
        Where each instrument stands, and which host drives it.
    patience_s
        Wall seconds between tries to reach a device that holds a running job, and between looks at a shelf that ran short.
    look_s
        Lab seconds between looks at a tray that is being filled.
    tray_wait_s
        Lab seconds after which a sample is not kept waiting for a fuller tray, by instrument.
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
    look_s: float = 60.0
    tray_wait_s: Mapping[str, float] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, Any] = field(default_factory=dict)
    site_of: Mapping[str, str] = field(default_factory=dict)
    host_of: Mapping[str, str] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _histories: dict[str, History] = field(default_factory=dict)
    _optimizers: dict[str, Optimizer] = field(default_factory=dict)
    _routes: dict[str, dict[str, Any]] = field(default_factory=dict)  #: of jobs planned by this process

    def __post_init__(self) -> None:
        self.floor = Floor(
            transact=self.transact,
            hosts=self.hosts,
            clock=self.clock,
            registered=self.registered,
            turns=self.turns,
            patience_s=self.patience_s,
            look_s=self.look_s,
            tray_wait_s=self.tray_wait_s,
            elsewhere=self.elsewhere,
            failures=self.failures,
            site_of=self.site_of,
            host_of=self.host_of,
        )

    async def transact(self, work: Callable[..., T], *args: Any) -> T:
        """`work(transaction, *args)` in a transaction of its own.

        A database that went away is waited for and asked again. Whether the lost commit was
        done is unknown, so everything that is handed in here must be harmless to repeat. Where
        another has moved the same row on meanwhile, it is asked once more in the light of that.
        """
        again = waited = False

        def commit() -> T:
            with self.store.transaction() as tx:
                return work(tx, *args)

        while True:
            try:
                answer: T = await self.offload(commit)
                return answer
            except UnreachableError as error:
                if not waited:
                    log.warning("waiting for the database: %s", error)
                waited = True
                await asyncio.sleep(DATABASE_S)
            except ConflictError:
                if again:
                    raise
                again = True

    @property
    def capabilities(self) -> dict[str, list[Capability]]:
        """What each instrument can do."""
        return {name: host.describe() for name, host in self.hosts.items()}

    # -- propose ------------------------------------------------------------------------

    async def propose(self, campaign_id: str, flying: Sequence[str]) -> Json:
        """What to make next: proposals, or why to end once nothing is in flight."""
        campaign, plan, history, prices, left, adopted = await self.transact(self._state, campaign_id, flying)
        if adopted:
            return planning.choice([], ("done", "waiting for experiments in flight"), adopted)
        why = self._stop(campaign, plan, history)
        why = why or await self.offload(lambda: self._near_enough(campaign_id, plan, history))
        sizes = () if why else batches(plan, history.used.experiments, len(flying))
        if not sizes:
            return planning.choice([], why or ("done", "waiting for experiments in flight"))
        found, astray = await self.offload(lambda: self._ask_for_fitting(campaign_id, plan, history, sizes))
        crashpoint("proposed")
        if astray and not any(found):
            chosen = planning.stranded(astray)
        else:
            chosen = planning.choose(plan, history, found, self.capabilities, prices, left)
        if campaign.reason != (short := str(chosen.get("short", ""))):
            await self.transact(tell, campaign_id, short, self.clock.now())
        made_by = self._optimizer(campaign_id, plan).name
        return {**chosen, "proposals": [{**p, "optimizer": made_by} for p in chosen["proposals"]]}

    async def wait(self, campaign_id: str, needs_mg: Mapping[str, float]) -> Json:
        """Wait while stock that is promised to others may still come back; whether it is worth asking again then."""
        while await self.transact(hopes, campaign_id, needs_mg):
            await asyncio.sleep(self.patience_s)
        return await self.transact(worth_asking, campaign_id, needs_mg)

    def _state(
        self, tx: Transaction, campaign_id: str, flying: Sequence[str]
    ) -> tuple[db.Campaign, Plan, History, dict[str, float], dict[str, float], list[tuple[str, list[str]]]]:
        campaign = tx.get(db.Campaign, campaign_id)
        prices = planning.prices(tx)
        if campaign_id not in self._plans:
            plan = planning.nested(Plan.of(campaign), self.capabilities)
            self._plans[campaign_id] = planning.at_hand(tx, plan, prices, campaign.created_at)
        plan = self._plans[campaign_id]
        history = self._histories.setdefault(campaign_id, History.of(campaign_id, plan))
        history.refresh(tx)
        return campaign, plan, history, prices, shelf.left_mg(tx), unattended(tx, campaign_id, flying)

    def _stop(self, campaign: db.Campaign, plan: Plan, history: History) -> tuple[str, str] | None:
        """State and reason to end with, None to go on."""
        if campaign.wanted == "stop":
            return "stopped", campaign.reason or "stopped by request"
        if campaign.wanted == "pause":
            return "paused", PAUSED
        if history.machine_failures >= MACHINE_FAILURES:
            return (
                "paused",
                f"{history.machine_failures} experiments in a row were lost to machines, not to the material",
            )
        now = self.clock.now()
        used = replace(history.used, time_s=(now - (history.since or now)).total_seconds())
        reason = (
            (plan.stop_at_target and history.hit and budget.target_reached(plan.objective, [history.hit]))
            or budget.exhausted(plan.limits, used)
            or budget.nothing_to_gain(plan.gain_threshold, plan.patience, history.gains)
        )
        return ("done", reason) if reason else None

    def _near_enough(self, campaign_id: str, plan: Plan, history: History) -> tuple[str, str] | None:
        """State and reason to end with once the best possible is hardly better, None to go on."""
        optimizer = self._optimizer(campaign_id, plan)
        if plan.within is None or not isinstance(optimizer, Foresees):
            return None
        known = history.known
        if len(known.measured(plan.objective.quantity)) < FEWEST_TO_STOP:
            return None
        outlook = optimizer.outlook(plan.space, plan.objective, known, plan.seed)
        reason = budget.near_enough(plan.within, plan.probability, outlook, plan.objective.unit)
        return ("done", reason) if reason else None

    def _optimizer(self, campaign_id: str, plan: Plan) -> Optimizer:
        """Kept while the campaign runs: it remembers what it has fitted."""
        if campaign_id not in self._optimizers:
            self._optimizers[campaign_id] = self.optimizer(plan)
        return self._optimizers[campaign_id]

    def _ask_for_fitting(
        self, campaign_id: str, plan: Plan, history: History, sizes: Sequence[int]
    ) -> tuple[list[list[Proposal]], str]:
        """Batches without what no site can carry out alone, and what is in its way, if there was such a thing.

        The optimizer is told that those are under way, so that it proposes others.
        """
        left_out: list[Candidate] = []
        for _ in range(MOST_ASKED):
            found = self._ask(campaign_id, plan, history, sizes, left_out)
            astray = planning.astray(plan, found, self.capabilities, self.site_of)
            if not astray:
                return found, ""
            left_out += astray
        return [[p for p in batch if p.candidate not in left_out] for batch in found], next(iter(astray.values()))

    def _ask(
        self, campaign_id: str, plan: Plan, history: History, sizes: Sequence[int], left_out: Sequence[Candidate]
    ) -> list[list[Proposal]]:
        """One batch after the other, each in the light of those before it."""
        optimizer, known = self._optimizer(campaign_id, plan), history.known
        pending = [*history.pending, *left_out]
        found: list[list[Proposal]] = []
        for size in sizes:
            batch = optimizer.propose(plan.space, plan.objective, known, pending, size, plan.seed)
            found.append(batch)
            pending = [*pending, *(p.candidate for p in batch)]
        return found

    # -- plan, close: written together with the engine's record ---------------------------

    def plan(self, tx: Transaction, campaign_id: str, proposals: list[dict[str, Any]]) -> Json:
        """Write down the experiments to come, with all that their jobs will be asked."""
        plan = self._plans.get(campaign_id) or Plan.of(tx.get(db.Campaign, campaign_id))
        new = planning.write(
            tx, campaign_id, plan, proposals, at=self.clock.now(), site=self.site, simulated=self.simulated
        )
        for experiment, proposal in zip(new, proposals, strict=False):  # fewer, where others were quicker at the shelf
            steps, together = planning.routes(proposal["steps"]), mates(campaign_id, proposal)
            for job, place in zip(experiment["jobs"], steps, strict=True):
                self._routes[job] = {**place, "campaign": campaign_id, "steps": steps, "mates": together}
        crashpoint("plan about to commit")
        return new

    def close(self, tx: Transaction, campaign_id: str, state: str, reason: str) -> Json:
        """The campaign rests: done, stopped or paused."""
        wanted = tx.get(db.Campaign, campaign_id).wanted
        if (state == "stopped" and wanted != "stop") or (reason == PAUSED and wanted != "pause"):
            return "running"  # somebody changed their mind: the worker begins a fresh workflow
        if state == "stopped":
            tasks.give_up_held(tx, campaign_id, self.clock.now())
        held = tasks.open_doubts(tx, campaign_id) if state == "done" else []
        if held:
            state, reason = "paused", f"{reason}; {', '.join(held)} held until a person answers: labctl task list"
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
        return await self.floor.perform(job_id, self._routes.pop(job_id, {}))

    async def carry_out(self, job_id: str, instrument: str, fence: int) -> Json:
        """The act on an instrument of ours that another worker has given a turn. May be done again after a crash."""
        return await self.floor.carry_out(job_id, instrument, fence)

    async def give_back(self, id: str, answer: Json) -> Json:
        """A job of another host, or an experiment, has given its leases back: the next may have their turn."""
        self.floor.hand_back(id, answer)
        return None

    def break_down(self, tx: Transaction, experiment_id: str, why: str) -> Json:
        """Labctl itself failed at an experiment: its sample is held until somebody has looked."""
        log.error("experiment %s broke down: %s", experiment_id, why)
        answer = tasks.break_down(tx, experiment_id, why, self.clock.now())
        return {**answer, "released": list(self.hosts)}  # also turns of which no lease tells yet

    async def look(self) -> list[str]:
        """Do what people have asked for since the last look; ids of the campaigns that somebody should be working on."""
        return await self.floor.look()


def tell(tx: Transaction, campaign_id: str, short: str, at: datetime) -> None:
    """What the next experiment of a campaign waits for, for those who watch."""
    campaign = tx.get(db.Campaign, campaign_id)
    if campaign.state == "running" and campaign.wanted == "run" and campaign.reason != short:
        tx.move(db.Campaign, campaign_id, at=at, actor=ACTOR, reason=short)


def hopes(tx: Transaction, campaign_id: str, needs_mg: Mapping[str, float]) -> bool:
    """Whether a campaign that nobody has stopped waits for stock that may still come back."""
    return tx.get(db.Campaign, campaign_id).wanted == "run" and shelf.may_come(tx, needs_mg)


def worth_asking(tx: Transaction, campaign_id: str, needs_mg: Mapping[str, float]) -> bool:
    """Whether there is enough on the shelf now, or a person wants something else."""
    return tx.get(db.Campaign, campaign_id).wanted != "run" or not shelf.short_of(needs_mg, shelf.left_mg(tx))


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


def in_flight(tx: Transaction, campaign_id: str) -> list[tuple[str, list[str]]]:
    """Workflow of each experiment that has not ended, and its jobs in order.

    A sample that a person has sent on its way again has a workflow of its own for it: the
    first ended when the sample was held.
    """
    found = []
    for e in tx.find(db.Experiment, order="number", campaign_id=campaign_id, state=("planned", "running")):
        jobs = [f"{e.id}/{step['name']}" for step in e.plan["steps"]]
        answered = tx.find(db.Task, order="answered_at", question=tasks.HELD, job_id=all_tries(jobs), state="done")
        found.append((f"{e.id}~{answered[-1].id}" if answered else e.id, jobs))
    return found


def all_tries(jobs: Sequence[str]) -> list[str]:
    """Ids of these jobs and of all that may have been planned after them."""
    return [*jobs, *(f"{job}.{n}" for job in jobs for n in range(2, MOST_TRIES))]


def unattended(tx: Transaction, campaign_id: str, flying: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Samples that were held and go on, which no workflow carries yet."""
    if not tx.find(db.Task, question=tasks.HELD, state="done", limit=1):
        return []
    return [(id, jobs) for id, jobs in in_flight(tx, campaign_id) if id not in flying and "~" in id]


def answered(tx: Transaction) -> list[tuple[str, list[str]]]:
    """Samples of campaigns under way that a person has sent on their way again: workflow and jobs of each."""
    tasks_done = tx.find(db.Task, question=tasks.HELD, state="done")
    ids = list({task.job_id.split("/")[0] for task in tasks_done})
    going = tx.find(db.Experiment, id=ids, state=("planned", "running")) if ids else []
    running = (
        {c.id for c in tx.find(db.Campaign, id=list({e.campaign_id for e in going}), state="running")}
        if going
        else set()
    )
    return [found for id in sorted(running) for found in in_flight(tx, id) if "~" in found[0]]


def segment_id(tx: Transaction, campaign_id: str) -> str:
    """A fresh workflow id for this campaign: the campaign's, with a running number."""
    return f"{campaign_id}#{tx.next_number(f'segment of {campaign_id}')}"
