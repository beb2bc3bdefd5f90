"""The process that does a lab's work: one per database, held by a lock; everyone else watches.

A campaign is a row in the database. Whoever holds the lock adopts every campaign whose
state is ``running``, so that a campaign started in a second terminal, or left behind by a
worker that was killed, goes on without anybody being told.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from campaigns.errors import trouble
from instruments import crashpoint
from labctl import registration, wiring
from labctl.wiring import ACTOR, Lab

if TYPE_CHECKING:
    from campaigns.bench import Bench
    from campaigns.engine import Engine
    from materials_db.store import Transaction

LOOK_S = 0.3  #: wall seconds between looks for campaigns to adopt
AGAIN_S = 2.0  #: wall seconds of rest after disk or database failed
log = logging.getLogger(__name__)


class WorkerLock:
    """At most one worker per lab. The operating system lets go of it when the process dies."""

    def __init__(self, lab: Lab) -> None:
        self.path = lab.glance_path.with_suffix(".worker.lock")
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Whether this process is the lab's worker now."""
        self.path.parent.mkdir(exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let another process be the worker."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_free(self) -> bool:
        """Whether nobody is the worker at this moment."""
        probe = WorkerLock.__new__(WorkerLock)
        probe.path, probe._file = self.path, None
        free = probe.take()
        probe.release()
        return free


@dataclass
class Worker:
    """Serves a lab in a thread of its own until no campaign is running, or until it is stopped."""

    lab: Lab
    lock: WorkerLock
    ready: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _said: str = ""  #: the newest warning
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
        crashpoint.arm(os.environ.get(crashpoint.VARIABLE))
        try:
            asyncio.run(self._serve_on())
        except Exception as error:  # noqa: BLE001 - carried to the terminal's thread, which raises it there
            self.error = error
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
            self._announce(found)
            await asyncio.sleep(AGAIN_S)

    def _announce(self, found: Exception) -> None:
        """Say once what the trouble is."""
        words = f"disk or database fail: {getattr(found, 'orig', None) or found}"
        log.error(words)
        if words != self._said:
            print(f"warning: {words}; nothing is lost, trying again every {AGAIN_S:g} s", file=sys.stderr, flush=True)
        self._said = words

    async def _serve(self) -> Exception | None:
        """Serve until no campaign is running or somebody says stop; what disk or database said if they failed."""
        lab = self.lab
        clock = await asyncio.to_thread(lab.clock)
        hosts = await asyncio.to_thread(lab.hosts, clock)
        try:
            identities = await registration.reach(hosts)
            with lab.store.transaction() as tx:
                registered = registration.register(tx, lab.file, identities, at=clock.now())
            crashpoint.crashpoint("floor registered")
            bench = make_bench(lab, hosts, clock, registered)
            engine = wiring.engine(lab, bench)
            try:
                await engine.open()
                self.ready.set()
                if await bench.transact(any_model):
                    threading.Thread(target=wiring.warm_up, name="labctl warm-up", daemon=True).start()
                while not (self._stop.is_set() or engine.trouble) and await self._adopt(engine, bench):
                    await asyncio.to_thread(lab.keep_machines)
                    await asyncio.sleep(LOOK_S)
            finally:
                await engine.close()
            return engine.trouble
        finally:
            for host in hosts.values():
                await host.close()

    async def _adopt(self, engine: Engine, bench: Bench) -> bool:
        """See that every running campaign has a workflow; whether there is any."""
        running = await bench.transact(running_campaigns)
        for id in running:
            if not await engine.under_way(f"{id}#"):
                await self._begin(engine, bench, id)
        return bool(running)

    async def _begin(self, engine: Engine, bench: Bench, id: str) -> None:
        """Start the campaign's workflow, or end the campaign if its workflow broke down in this process."""
        known = self._begun.get(id)
        ended = await engine.ended(known) if known else None
        if ended is not None and ended.error is not None:
            await bench.transact(fail, id, ended.error, bench.clock.now())
            return
        segment, flying = await bench.transact(next_segment, id)
        crashpoint.crashpoint("segment numbered")
        self._begun[id] = segment
        for experiment, jobs in flying:
            await engine.submit("experiment", experiment, experiment, jobs)
            crashpoint.crashpoint("experiment adopted")
        await engine.submit("campaign", segment, id, [experiment for experiment, _ in flying])
        crashpoint.crashpoint("campaign adopted")


def log_to(lab: Lab) -> None:
    """Write what happens beside the screen into the lab's log."""
    handler = logging.FileHandler(lab.state / "labctl.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.setLevel(logging.WARNING)
    handler.handleError = lambda record: None  # type: ignore[method-assign] # a full disk must not fill the terminal
    for name in ("dbos", "labctl"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False


def running_campaigns(tx: Transaction) -> list[str]:
    """Ids of the campaigns that somebody should be working on."""
    from materials_db import records as db

    return [campaign.id for campaign in tx.find(db.Campaign, state="running")]


def any_model(tx: Transaction) -> bool:
    """Whether a running campaign will need the optimizer's libraries."""
    from materials_db import records as db

    return any(c.spec["optimizer"]["name"] == "bayesian" for c in tx.find(db.Campaign, state="running"))


def next_segment(tx: Transaction, id: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """A fresh workflow id, and the experiments that it must adopt with their jobs in order."""
    from campaigns.bench import segment_id
    from materials_db import records as db

    open_ = tx.find(db.Experiment, order="number", campaign_id=id, state=("planned", "running"))
    flying = [(e.id, [f"{e.id}/{step['name']}" for step in e.plan["steps"]]) for e in open_]
    return segment_id(tx, id), flying


def fail(tx: Transaction, id: str, error: str, at: Any) -> None:
    """The campaign's workflow broke down: say so, keep everything."""
    from materials_db import records as db

    log.error("campaign %s broke down: %s", id, error)
    tx.move(db.Campaign, id, at=at, actor=ACTOR, was=["running"], state="failed", reason=error, ended_at=at)


def make_bench(lab: Lab, hosts: Any, clock: Any, registered: dict[str, str]) -> Bench:
    """The lab at hand, with the leases that an earlier worker left."""
    from campaigns.bench import Bench
    from campaigns.turns import Turns

    with lab.store.transaction() as tx:
        held = {lease.instrument: lease.holder for lease in tx.leases() if lease.holder}
    return Bench(
        store=lab.store,
        hosts=hosts,
        clock=clock,
        site=lab.file.lab.site,
        simulated=lab.file.lab.simulated,
        optimizer=wiring.optimizer,
        registered=registered,
        turns=Turns(held),
    )


@dataclass
class Session:
    """One terminal's part in a campaign: worker, or watcher of a worker elsewhere."""

    lab: Lab
    campaign_id: str
    worker: Worker | None = None

    def attend(self) -> bool:
        """Become the worker if nobody is; whether this process is the worker."""
        if self.worker is not None and self.worker.alive:
            return True
        if self.worker is not None and self.worker.error is not None:
            raise self.worker.error
        lock = WorkerLock(self.lab)
        if not lock.take():
            return False
        self.worker = Worker(self.lab, lock)
        self.worker.start()
        self.worker.ready.wait()
        if self.worker.error is not None:
            raise self.worker.error
        return True

    def wait(self, timeout_s: float) -> None:
        """Let time pass, less if our worker ends."""
        if self.worker is not None and self.worker.alive:
            self.worker.join(timeout_s)
        else:
            threading.Event().wait(timeout_s)

    def leave(self) -> None:
        """Stop working now; everything can be resumed."""
        if self.worker is not None:
            self.worker.stop()
            self.worker.join(timeout_s=10)

    def finish(self, *, quiet: bool = False) -> None:
        """Our campaign rests. Others may still need us: serve them until they rest too."""
        if self.worker is None:
            return
        self.worker.join(timeout_s=3 * LOOK_S)
        if self.worker.alive and not quiet:
            print("still serving campaigns that were started elsewhere; Ctrl-C stops, they can be resumed")
        try:
            self.worker.join()
        except KeyboardInterrupt:
            self.leave()
        if self.worker.error is not None:
            raise self.worker.error


def run_campaign(
    folder: Path, campaign_file: Path, *, fresh: bool = False, on_ready: Callable[[str], None] | None = None
) -> Session:
    """Start a campaign file, or go on with the unfinished campaign that was started from the same file.

    Raises
    ------
    FileFaults
        The lab file or the campaign file has faults; nothing was written.
    NoContactError
        Instruments do not answer; nothing was written.
    """
    from labctl import campaigning

    lab = wiring.open_lab(folder)
    campaigning.validate(lab, campaign_file)
    if WorkerLock(lab).is_free():
        asyncio.run(preflight(lab))
    session = Session(lab, campaigning.create_or_find(lab, campaign_file, fresh=fresh))
    if on_ready is not None:
        on_ready(session.campaign_id)
    session.attend()
    return session


async def preflight(lab: Lab) -> None:
    """See that every instrument answers, before anything is written down."""
    hosts = lab.hosts(lab.clock())
    try:
        identities = await registration.reach(hosts)
        with lab.store.transaction() as tx:
            registration.check_identities(tx, lab.file, identities)
    finally:
        for host in hosts.values():
            await host.close()


def resume(folder: Path, campaign_id: str) -> Session:
    """Go on with a campaign that was paused, or whose worker died."""
    from labctl import campaigning

    lab = wiring.open_lab(folder)
    campaigning.wish(lab, campaign_id, "run")
    session = Session(lab, campaign_id)
    session.attend()
    return session


def request(folder: Path, campaign_id: str, wanted: str) -> Session:
    """Ask for a pause or a stop at the next safe point.

    Without a worker there is nobody to wind the campaign down, so this process becomes
    the worker until that is done.
    """
    from labctl import campaigning

    lab = wiring.open_lab(folder)
    campaigning.wish(lab, campaign_id, wanted)
    session = Session(lab, campaign_id)
    session.attend()
    return session
