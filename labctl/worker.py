"""The process that does a lab's work: one per host, held by a lock; everyone else watches.

A campaign is a row in the database. Of all workers one is in control: it adopts every
campaign whose state is ``running``, so that a campaign started in a second terminal, or
left behind by a worker that was killed, goes on without anybody being told. The others
drive the instruments of their hosts. On a SQLite file there is one worker, in control.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.errors import trouble
from instruments import crashpoint
from labctl import clocks, fleet, journals, memory, optimizers, registration, stopping, wiring
from labctl.errors import DamagedJournalError
from labctl.labfile import MAIN
from labctl.locks import Locks, control_lock
from labctl.wiring import ACTOR, Lab
from materials_db.errors import DamagedDatabaseError, UnreachableError
from materials_db.looking import is_damage

if TYPE_CHECKING:
    from datetime import datetime

    from campaigns.bench import Bench
    from campaigns.engine import Engine
    from campaigns.turns import Turns
    from instruments.clock import Clock
    from instruments.host import Host
    from materials_db import records as db
    from materials_db.store import Transaction

LOOK_S = 0.5  #: wall seconds between looks for campaigns to adopt
SERVER_LOOK_S = 1.0  #: where each look asks a server; holds and stops do not wait for it (`results.lease`, `stopping`)
BEAT_S = 3.0  #: wall seconds between two signs of life
BEATS = 4  #: of them between returns of free memory, and looks through the engine's record while nothing is missing (it may hold thousands)
AGAIN_S = 2.0  #: wall seconds of rest after disk or database failed
log = logging.getLogger(__name__)


@dataclass
class Worker:
    """Serves a lab in a thread of its own until no campaign is running, or until it is stopped."""

    lab: Lab
    lock: Locks
    host: str = MAIN
    standing: bool = False  #: goes on when no campaign runs
    journal_lost: bool = False  #: somebody says that the journals of the host are gone for good
    ready: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _control: Locks = field(default_factory=Locks)
    _in_control: bool = False
    _beats: int = 0  #: signs of life since the engine's record was last gone through
    _missing: bool = False  #: whether it told of work that this process does not carry
    _clock_off: bool = False
    _said: str = ""  #: the newest warning
    _sent_on: set[str] = field(default_factory=set)  #: workflows of samples that a person has freed
    _begun: dict[str, str] = field(default_factory=dict)  #: campaign -> the segment this process began

    def start(self) -> None:
        """Begin to serve."""
        self._thread = threading.Thread(target=self._run, name="labctl worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop as soon as possible; what is under way goes on at the next start."""
        self._stop.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it has stopped."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether it is serving."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        log_to(self.lab)
        memory.return_large_blocks()
        crashpoint.arm(os.environ.get(crashpoint.VARIABLE))
        try:
            asyncio.run(self._serve_on())
        except Exception as error:  # noqa: BLE001 - carried to the terminal's thread, which raises it there
            self.error = named(self.lab, error)
        finally:
            self.ready.set()
            self.lock.release()

    async def _serve_on(self) -> None:
        """Serve; where disk or database fail, let go of everything, wait, and begin again as after a crash."""
        while True:
            try:
                found = await self._serve()
            except trouble() as error:
                if not self.ready.is_set():
                    raise
                found = error
            if found is None or self._stop.is_set():
                return
            if is_damage(found):
                raise found  # no waiting mends a file
            self._announce(found)
            await asyncio.sleep(AGAIN_S)

    def _announce(self, found: Exception) -> None:
        """Say once what the trouble is."""
        words = f"disk or database fail: {getattr(found, 'orig', None) or found}"
        log.error(words)
        if words != self._said:
            warn(f"{words}; nothing is lost, trying again every {AGAIN_S:g} s")
        self._said = words

    def _compare_clocks(self, fault: str) -> None:
        """Say once that our clock and the server's have come apart."""
        if fault and not self._clock_off:
            log.error(fault)
            warn(f"{fault}; what is stamped here is off by as much until it is set")
        self._clock_off = bool(fault)

    async def _serve(self) -> Exception | None:
        """Serve until no campaign is running or somebody says stop; what disk or database said if they failed."""
        lab, host = self.lab, self.host
        me = await asyncio.to_thread(fleet.introduce, lab, host)
        await asyncio.to_thread(fleet.enlist, lab, me, journal_lost=self.journal_lost)
        self.journal_lost = False  # begun anew after a failing disk, it has journals
        clock = await asyncio.to_thread(lab.clock)
        hosts = await asyncio.to_thread(lab.hosts, clock, host)
        try:
            registered = await register(lab, hosts, clock)
            await asyncio.to_thread(journals.bind, lab)
            crashpoint.crashpoint("floor registered")
            bench = make_bench(lab, hosts, clock, registered, host)
            await bench.look()  # before anything goes on: holds and priorities
            engine = wiring.engine(lab, bench, host)
            watch = asyncio.create_task(stopping.watch(lab, hosts))
            try:
                await engine.open()
                memory.look_for_garbage_less()
                self.ready.set()
                if await bench.transact(any_model):
                    threading.Thread(target=optimizers.warm_up, name="labctl warm-up", daemon=True).start()
                await self._work(engine, bench, me)
            finally:
                watch.cancel()
                await bench.floor.errands.rest()
                await engine.close()
            return engine.trouble
        finally:
            self._control.release()
            for driven in hosts.values():
                await driven.close()

    async def _work(self, engine: Engine, bench: Bench, me: db.Worker) -> None:
        """Serve until there is nothing to do, or somebody says stop, or another has our place."""
        self._control, due = control_lock(self.lab), 0.0
        look_s = SERVER_LOOK_S if self.lab.on_server else LOOK_S
        self._in_control = not self.lab.on_server
        while not (self._stop.is_set() or engine.trouble) and await self._still_ours():
            running = await bench.look()
            await self._seek_control(engine, bench)
            if self._in_control:
                await self._adopt(engine, bench, running)
            if not (running or self.standing):
                return
            await asyncio.to_thread(self.lab.keep_machines)
            if (due := due - look_s) <= 0:
                await self._beat(engine, bench, me)
                due = BEAT_S
            await asyncio.sleep(look_s)

    async def _beat(self, engine: Engine, bench: Bench, me: db.Worker) -> None:
        """A sign of life, and what a server that went away has cost; in control, what a worker that just died has left.

        Asked once more, whether we are: a process may have been stopped since it looked.
        """
        self._compare_clocks(
            await bench.transact(beat, me, self._in_control, bench.registered.values(), bench.clock.now())
        )
        if self._in_control:
            await self._send_on(engine, bench)
        self._beats = (self._beats + 1) % BEATS
        if not self._beats:
            await asyncio.to_thread(memory.return_free_pages)
        if not self.lab.on_server or (self._beats and not self._missing):
            return
        self._missing = await engine.find_lost()
        if self._in_control and await asyncio.to_thread(self._control.keep):
            await engine.take_over()

    async def _send_on(self, engine: Engine, bench: Bench) -> None:
        """Samples go on as soon as a person has answered, not when their campaign has its next turn to plan."""
        from campaigns.bench import answered

        for workflow, jobs in await bench.transact(answered):
            if workflow not in self._sent_on:
                await engine.submit("experiment", workflow, workflow.split("~")[0], jobs)
                self._sent_on.add(workflow)

    async def _still_ours(self) -> bool:
        """Whether the host is ours still; another may have got it while the server was away."""
        ours = await asyncio.to_thread(self.lock.keep)
        if not ours:
            log.error("another process became the worker of host %s; this one stops", self.host)
        return ours

    async def _seek_control(self, engine: Engine, bench: Bench) -> None:
        """Be in control if nobody is: the lock of one that died can be taken, and only then."""
        if self._in_control:
            self._in_control = await asyncio.to_thread(self._control.keep)
            return
        try:
            self._in_control = await asyncio.to_thread(self._control.take)
        except UnreachableError:
            return
        if self._in_control:
            bench.floor.begin_with(await bench.transact(turns_taken))
            await engine.take_over()

    async def _adopt(self, engine: Engine, bench: Bench, running: list[str]) -> None:
        """See that every running campaign has a workflow."""
        carried = {id.split("#")[0] for id in await engine.under_way("C-")}
        for id in running:
            if id not in carried and not await engine.under_way(f"{id}#"):
                await self._begin(engine, bench, id)

    async def _begin(self, engine: Engine, bench: Bench, id: str) -> None:
        """Start the campaign's workflow, or end the campaign if its workflow broke down in this process.

        Asked once more, whether we are in control: the record may have been waited for, and another have begun it.
        """
        known = self._begun.get(id)
        ended = await engine.ended(known) if known else None
        if ended is not None and ended.error is not None:
            await bench.transact(fail, id, ended.error, bench.clock.now())
            return
        found = await bench.transact(next_segment, id)
        if found is None or not await asyncio.to_thread(self._control.keep):
            return
        segment, flying = found
        crashpoint.crashpoint("segment numbered")
        self._begun[id] = segment
        for workflow, jobs in flying:
            await engine.submit("experiment", workflow, workflow.split("~")[0], jobs)
            crashpoint.crashpoint("experiment adopted")
        await engine.submit("campaign", segment, id, [workflow for workflow, _ in flying])
        crashpoint.crashpoint("campaign adopted")


async def register(lab: Lab, hosts: Mapping[str, Host], clock: Clock) -> dict[str, str]:
    """The row of each instrument, by name. A silent one that can be spared is taken out until it answers."""
    from campaigns import calibrations, holds

    identities, silent = await registration.ask_all(hosts)
    with lab.store.transaction() as tx:
        rows = registration.spared(tx, lab, silent)
        registered = registration.register(tx, lab.file, identities, at=clock.now())
        calibrations.hold_if_due(tx, registered.values(), clock.now())
        for name, why in silent.items():
            holds.place(tx, name, f"{holds.SILENT}: {why}", clock.now())
    for name, why in silent.items():
        others = ", ".join(registration.twins(lab, name, silent))
        warn(f"{name} does not answer ({why}); its work goes to {others}")
    return {**registered, **rows}


def named(lab: Lab, error: Exception) -> Exception:
    """The error, with the name of the file where one is damaged: SQLite does not tell it.

    The durable engine asks the lab's file by way of a library that wraps what SQLite says, the journals ask theirs straight.
    """
    if isinstance(error, DamagedDatabaseError) or not is_damage(error):
        return error
    orig = getattr(error, "orig", None)
    return DamagedDatabaseError(lab.glance_path, orig) if orig else DamagedJournalError(lab.state / "journal", error)


def warn(words: str) -> None:
    """Say it on the terminal, beside the table."""
    print(f"warning: {words}", file=sys.stderr, flush=True)


def log_to(lab: Lab) -> None:
    """Write what happens beside the screen into the lab's log."""
    handler = logging.FileHandler(lab.state / "labctl.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.setLevel(logging.WARNING)
    handler.handleError = lambda record: None  # type: ignore[method-assign] # a full disk must not fill the terminal
    for name in ("dbos", "labctl", "campaigns", "instruments", "materials_db"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False


def any_model(tx: Transaction) -> bool:
    """Whether a running campaign will need the optimizer's libraries."""
    from materials_db import records as db

    return any(c.spec["optimizer"]["name"] == "bayesian" for c in tx.find(db.Campaign, state="running"))


def next_segment(tx: Transaction, id: str) -> tuple[str, list[tuple[str, list[str]]]] | None:
    """A fresh workflow id, and the experiments that it must adopt with their jobs in order; None once it has ended."""
    from campaigns.bench import in_flight, segment_id
    from materials_db import records as db

    if tx.get(db.Campaign, id).state != "running":
        return None
    return segment_id(tx, id), in_flight(tx, id)


def fail(tx: Transaction, id: str, error: str, at: Any) -> None:
    """The campaign's workflow broke down: say so, keep everything."""
    from materials_db import records as db

    log.error("campaign %s broke down: %s", id, error)
    tx.move(db.Campaign, id, at=at, actor=ACTOR, was=["running"], state="failed", reason=error, ended_at=at)


def beat(tx: Transaction, me: db.Worker, in_control: bool, instrument_ids: Collection[str], now: datetime) -> str:
    """Write down that we live, and take out what needs to be calibrated; how our clock is wrong, if it is."""
    from campaigns import calibrations

    tx.beat(me.model_copy(update={"beat_at": tx.now(), "control": in_control}))
    calibrations.hold_if_due(tx, instrument_ids, now)
    return clocks.against_server(tx)


def turns_taken(tx: Transaction) -> Turns:
    """Whose turn it is at which instrument: leases that an earlier worker left, what each campaign has had, what to avoid."""
    from campaigns import holds
    from campaigns.instrument_time import shares_s
    from campaigns.turns import Turns

    held = {lease.instrument: lease.holder for lease in tx.leases() if lease.holder}
    return Turns(held, used_s=shares_s(tx), doubted=holds.doubted(tx))


def make_bench(lab: Lab, hosts: Any, clock: Clock, registered: dict[str, str], host: str) -> Bench:
    """The lab at hand, with the leases that an earlier worker left."""
    from campaigns.bench import Bench

    with lab.store.transaction() as tx:
        turns = turns_taken(tx)
    return Bench(
        store=lab.store,
        hosts={**fleet.far(lab, host), **hosts},
        clock=clock,
        site=lab.file.lab.site,
        simulated=lab.file.lab.simulated,
        optimizer=optimizers.optimizer,
        registered=registered,
        turns=turns,
        elsewhere=fleet.elsewhere(lab, host),
        site_of=lab.file.site_of,
        host_of={name: section.host for name, section in lab.file.instruments.items()},
        failures=lab.file.failures.model_dump(exclude_none=True),
        look_s=max(60.0, LOOK_S * lab.speed),
        tray_wait_s={n: s.tray_wait for n, s in lab.file.instruments.items() if s.tray_wait is not None},
    )


def serve(folder: Path, host: str, on_ready: Callable[[list[str]], None], *, journal_lost: bool = False) -> None:
    """Drive the instruments of a host until SIGINT or SIGTERM. Journals that are lost: see `journals.replace_lost`.

    Raises
    ------
    TakenError
        Somebody does that already, or this labctl or machine must not.
    UsageError
        No instrument belongs to that host, or its journals are not lost.
    NoContactError
        Instruments do not answer.
    """
    lab = wiring.open_lab(folder)
    worker = Worker(lab, fleet.take(lab, host), host, standing=True, journal_lost=journal_lost)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.start()
    worker.ready.wait()
    if worker.error is None:
        on_ready(lab.file.hosts[host])
    worker.join()
    if worker.error is not None:
        raise worker.error
