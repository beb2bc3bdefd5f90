"""The workers of a lab: who drives which host, whether it lives, and who may begin."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labctl import clocks, journals, wiring
from labctl.errors import LabError, UsageError
from labctl.labfile import MAIN
from labctl.locks import Locks, control_lock, host_lock, is_worked
from materials_db.records import Worker

if TYPE_CHECKING:
    from campaigns.acts import Performer
    from instruments.contract import Capability, Health, JobRequest, JobResult, JobStatus
    from labctl.wiring import Lab
    from materials_db.store import Transaction

Row = dict[str, Any]


class TakenError(LabError):
    """Another process does this work, or must not be joined by this one."""

    code = "LAB-0603"
    exit_status = 6


def take(lab: Lab, host: str) -> Locks:
    """The lock of a host, ours. Raises TakenError naming who has it, UsageError for a host that has nothing to drive."""
    known = lab.file.hosts
    if host not in known:
        raise UsageError(
            f"no instrument of labctl.toml belongs to host {host!r}",
            hint=f'hosts are {", ".join(known)}; or write into a table [instruments.NAME]:  host = "{host}"',
        )
    lock = host_lock(lab, host)
    if not lock.take():
        raise TakenError(
            f"host {host} has a worker: {holder(lab, host)}", hint="labctl worker list; stop that one first"
        )
    return lock


def holder(lab: Lab, host: str) -> str:
    """Who works as this host, as it said itself."""
    with lab.store.transaction() as tx:
        said = [w for w in tx.workers() if w.host == host]
    return f"pid {said[0].pid} on {said[0].machine}, labctl {said[0].version}" if said else "it has said nothing yet"


def introduce(lab: Lab, host: str) -> Worker:
    """What this process says of itself; the beat is the wall's time, on simulated labs too."""
    now = clocks.now()
    return Worker(
        host=host,
        machine=socket.gethostname(),
        pid=os.getpid(),
        version=wiring.versions()["labctl"],
        journal=journals.identity(lab),
        control=False,
        since=now,
        beat_at=now,
        instruments=lab.file.hosts.get(host, []),
    )


def here(lab: Lab) -> list[str]:
    """Hosts whose instruments hang on this machine, as far as is on record; the main one where nothing is."""
    path = lab.state / "journal" / "identity"
    if not (lab.on_server and path.exists()):
        return [MAIN]
    with lab.store.transaction() as tx:
        return [worker.host for worker in tx.workers() if worker.journal == path.read_text().strip()] or [MAIN]


def enlist(lab: Lab, me: Worker, *, journal_lost: bool = False) -> None:
    """Say that we work from now on. The host's lock is ours already.

    Raises as `refuse_misfit`, and as `journals.replace_lost` where somebody says that this host's journals are lost.
    """
    refuse_misfit(lab, me, journal_lost=journal_lost)
    if journal_lost:
        for job in journals.replace_lost(lab, me):
            print(f"{job}: nobody knows what became of it; labctl task list", file=sys.stderr, flush=True)
    with lab.store.transaction() as tx:
        if fault := clocks.against_record(tx):
            print(f"warning: {fault}; what is stamped from now on may be, too", file=sys.stderr, flush=True)
        tx.beat(me.model_copy(update={"beat_at": tx.now()}))


def refuse_misfit(lab: Lab, me: Worker, *, journal_lost: bool = False) -> None:
    """See whether this process may work for the lab; changes nothing. What a lost journal would know is no obstacle.

    Raises
    ------
    TakenError
        A worker of another labctl lives, one drives our instruments by another lab file, or jobs are under way that
        only another machine's journal knows, or on an instrument that the lab file has no more.
    OtherDatabaseError
        Our journals go with another database.
    ClockError
        Its clock is not the database server's.
    """
    with lab.store.transaction() as tx:
        journals.refuse_other_database(lab, tx)
        refuse_missing(lab, tx)
        clocks.refuse_wrong(tx)
        said = tx.workers()
    alive = [other for other in said if other.host != me.host and is_worked(lab, other.host)]
    with lab.store.transaction() as tx:
        for other in said:
            if other in alive and other.version != me.version:
                raise TakenError(
                    f"host {other.host} is worked by labctl {other.version}, this is labctl {me.version};"
                    " nothing was started",
                    hint="give all machines the same version",
                )
            both = [name for name in me.instruments if name in other.instruments]
            if both and other in alive:
                raise TakenError(
                    f"{', '.join(both)}: host {me.host}'s here, but driven by host {other.host} ({other.machine}), whose"
                    " labctl.toml says so; nothing was started",
                    hint="give all machines the same labctl.toml",
                )
            if other.host != me.host:
                refuse_unknown_jobs(lab, tx, both, me, other)
            elif not journal_lost:
                refuse_unknown_jobs(lab, tx, me.instruments, me, other)


def refuse_missing(lab: Lab, tx: Transaction) -> None:
    """Raise TakenError if an instrument has work in it that labctl.toml does not know: nobody could ask what became of it."""
    gone = [
        f"{le.instrument} ({le.holder})"
        for le in tx.leases()
        if le.holder and le.instrument not in lab.file.instruments
    ]
    if gone:
        raise TakenError(
            f"work is under way on {', '.join(gone)}, of which labctl.toml says nothing; nothing was started",
            hint="put its section back until the work on it is over; labctl instrument hold NAME keeps new work away",
        )


def refuse_unknown_jobs(lab: Lab, tx: Transaction, instruments: list[str], me: Worker, before: Worker) -> None:
    """Raise TakenError if something is under way on these instruments by a journal that we do not have."""
    unknown = [name for name in instruments if before.journal != me.journal or not lab.journal(name).exists()]
    under_way = [
        f"{lease.instrument} ({lease.holder})" for lease in tx.leases() if lease.holder and lease.instrument in unknown
    ]
    if under_way:
        raise TakenError(
            f"host {before.host} was driven from {before.machine}, whose journal knows what runs on"
            f" {', '.join(under_way)}; this machine's does not, and might do it again. Nothing was started",
            hint=f"on {before.machine}: labctl worker run --host {before.host}; is its disk gone for good, here:"
            f" labctl worker run --host {before.host} --journal-lost makes questions to people of it",
        )


@dataclass(frozen=True)
class Far:
    """An instrument on another host: what it can do is known, what it does is asked of that host."""

    abilities: list[Capability]

    def describe(self) -> list[Capability]:
        return self.abilities

    async def perform(self, request: JobRequest, fence: int | None = None) -> tuple[JobStatus, JobResult | None]:
        raise AssertionError("jobs of another host are asked of that host")

    async def status(self, job_id: str) -> JobStatus:
        raise AssertionError("jobs of another host are known to that host")

    async def release(self, job_id: str) -> None:
        raise AssertionError("jobs of another host are released by that host")

    async def health(self) -> Health:
        raise AssertionError("instruments of another host are asked by that host")

    async def abort(self, job_id: str, reason: str) -> JobStatus:
        raise AssertionError("jobs of another host are broken off by that host")


def elsewhere(lab: Lab, host: str) -> dict[str, str]:
    """The host of every instrument that is not this host's."""
    return {name: section.host for name, section in lab.file.instruments.items() if section.host != host}


def far(lab: Lab, host: str) -> dict[str, Performer]:
    """Stand-ins for the instruments of other hosts."""
    abilities = lab.capabilities()
    return {name: Far(abilities[name]) for name in elsewhere(lab, host)}


def rows(lab: Lab) -> list[Row]:
    """Every host of the lab file: who drives it, whether it lives, what it holds."""
    hosts = lab.file.hosts
    with lab.store.transaction() as tx:
        now = tx.now()
        said = {worker.host: worker for worker in tx.workers()}
        held = {lease.instrument: lease.holder for lease in tx.leases() if lease.holder}
    in_control = not lab.on_server or not control_lock(lab).is_free()
    return [
        row(host, said.get(host), hosts.get(host, []), held, is_worked(lab, host), in_control, now)
        for host in sorted({*hosts, *said})
    ]


def row(
    host: str, said: Worker | None, names: list[str], held: dict[str, str], alive: bool, in_control: bool, now: Any
) -> Row:
    """One line of the list."""
    return {
        "host": host,
        "state": "working" if alive else "not running",
        "control": bool(said and said.control and alive and in_control),
        "machine": said and said.machine,
        "pid": said and said.pid,
        "version": said and said.version,
        "beat_s": said and round((now - said.beat_at).total_seconds(), 1),
        "instruments": names,
        "holds": [f"{name}: {held[name]}" for name in names if name in held],
    }
