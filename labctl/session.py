"""One terminal's part in a campaign: it is started, resumed, paused or watched from here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labctl import campaigning, fleet, registration, wiring
from labctl.labfile import MAIN
from labctl.locks import host_lock
from labctl.wiring import Lab
from labctl.worker import LOOK_S, Worker


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
        lock = host_lock(self.lab)
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

    def see_to_it(self) -> None:
        """Work until nothing is left to do, if we are the worker."""
        if self.worker is None:
            return
        self.worker.join()
        if self.worker.error is not None:
            raise self.worker.error

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
    TakenError
        This labctl, or this machine, must not work for the lab now; nothing was written.
    """
    lab = wiring.open_lab(folder)
    campaigning.validate(lab, campaign_file)
    if host_lock(lab).is_free():
        fleet.refuse_misfit(lab, fleet.introduce(lab, MAIN))
        asyncio.run(preflight(lab))
    session = Session(lab, campaigning.create_or_find(lab, campaign_file, fresh=fresh))
    if on_ready is not None:
        on_ready(session.campaign_id)
    session.attend()
    return session


async def preflight(lab: Lab) -> None:
    """See that every instrument that is needed answers, before anything is written down."""
    hosts = lab.hosts(lab.clock())
    try:
        identities, silent = await registration.ask_all(hosts)
        with lab.store.transaction() as tx:
            registration.spared(tx, lab, silent)
            registration.check_identities(tx, lab.file, identities)
    finally:
        for host in hosts.values():
            await host.close()


def request(folder: Path, campaign_id: str, wanted: str) -> Session:
    """Ask that it goes on ("run"), or for a pause or a stop at the next safe point.

    Without a worker there is nobody to carry it on or wind it down, so this process becomes
    the worker until that is done.
    """
    lab = wiring.open_lab(folder)
    campaigning.wish(lab, campaign_id, wanted)
    session = Session(lab, campaign_id)
    session.attend()
    return session
