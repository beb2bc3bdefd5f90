"""The act itself, on an instrument whose cable we hold: asked for, waited for, and put on record.

A device that does not answer keeps its job, so an act is asked for again until it has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from campaigns import holds, results, tasks
from campaigns.experiment import seen_to
from campaigns.turns import Turns
from instruments.clock import Clock
from instruments.contract import Capability, Fault, Health, JobRequest, JobResult, JobState, JobStatus
from materials_db import records as db
from materials_db.store import Transaction

SILENT_TRIES = 2  #: looks in vain, each as long as a host is patient, after which an instrument is taken out


class Performer(Protocol):
    """The part of an instrument's host that a floor needs."""

    def describe(self) -> list[Capability]: ...

    async def perform(self, request: JobRequest, fence: int | None = None) -> tuple[JobStatus, JobResult | None]:
        """Submit (idempotent), wait, fetch. Expected faults are values."""

    async def status(self, job_id: str) -> JobStatus:
        """Where a job stands; begins nothing."""

    async def release(self, job_id: str) -> None: ...

    async def health(self) -> Health: ...

    async def abort(self, job_id: str, reason: str) -> JobStatus:
        """Break a running job off, in the way its capability declares."""


@dataclass(frozen=True, kw_only=True)
class Acts:
    """See module. Its parts are those of a `Floor`; `turns` gives the turns that hold now, which a new worker in control replaces."""

    transact: Callable[..., Awaitable[Any]]
    hosts: Mapping[str, Performer]
    clock: Clock
    registered: Mapping[str, str]
    turns: Callable[[], Turns]
    patience_s: float
    failures: Mapping[str, Any]
    site_of: Mapping[str, str]

    async def act(
        self, request: JobRequest, instrument: str, fence: int, jobs: Sequence[str]
    ) -> tuple[JobStatus, JobResult | None]:
        """The act itself. A device that cannot be reached keeps its job: we ask until it answers."""
        if await self._held_back(request.job_id, instrument):
            message = f"{instrument} was put on hold before it began"
            return JobStatus(job_id=request.job_id, state=JobState.NOT_STARTED, message=message), None
        status, result = await self.hosts[instrument].perform(request, fence)
        silent = 0
        while not status.state.final:
            for job_id in jobs:
                await self.transact(results.tell, job_id, f"{instrument}: {status.message}", self.clock.now())
            silent = silent + 1 if status.fault is not None and self.has_twin(instrument, request.capability) else 0
            if silent == SILENT_TRIES:
                reason = f"{holds.SILENT}: {status.message}"
                await self.transact(holds.place, instrument, reason, self.clock.now())
                self.turns().close({**self.turns().closed, instrument: False})
            if status.state is JobState.NEVER_SEEN and await self.transact(results.called_off, jobs):
                return status.model_copy(update={"state": JobState.ABORTED, "message": "campaign stopped"}), None
            if silent >= SILENT_TRIES and status.state is JobState.NEVER_SEEN:
                return status.model_copy(update={"state": JobState.NOT_STARTED}), None  # free to go elsewhere
            await asyncio.sleep(self.patience_s)
            status, result = await self.hosts[instrument].perform(request, fence)
        if silent >= SILENT_TRIES:
            await self.transact(holds.release_own, instrument, self.clock.now())
        return status, result

    async def _held_back(self, act: str, instrument: str) -> bool:
        """Whether a hold came between the lease and the act: on another machine a moment may lie there."""
        _, held = await self.transact(results.standing, instrument)
        return held and not await self.begun(act, instrument)

    async def begun(self, act: str, instrument: str) -> bool:
        """Whether an act has begun, as its machine knows; asked until that can say."""
        while (status := await self.hosts[instrument].status(act)).state is JobState.INTENT:
            await asyncio.sleep(self.patience_s)
        return status.state not in (JobState.NEVER_SEEN, JobState.NOT_STARTED)

    def finish(
        self, tx: Transaction, job_id: str, instrument: str, status: JobStatus, result: JobResult | None
    ) -> dict[str, Any]:
        """Put on record how an act ended for one job, and what follows from it for its instrument."""
        job, at = tx.get(db.Job, job_id), self.clock.now()
        capability = self.capability(instrument, job.capability)
        status = seen_to(status, result)
        answer: dict[str, Any] = results.finish(
            tx,
            job_id,
            instrument,
            status,
            result,
            physical=capability.physical,
            instrument_id=self.registered[instrument],
            at=at,
            lab_failures=self.failures,
        )
        if answer["verdict"] == "held" and status.state is JobState.IN_DOUBT:
            tasks.doubt(tx, job, instrument, status.message, at)
        spoilt = answer["verdict"] == "failed" and status.fault in holds.MACHINE_FAULTS
        answer["machine"] = {"name": instrument, "spoilt": spoilt}
        if status.fault in holds.MACHINE_FAULTS and self.has_twin(instrument, job.capability):
            holds.place_if_sick(tx, instrument, self.registered[instrument], at)
        if status.fault is Fault.DRIFT:
            holds.place_if_off(tx, instrument, self.registered[instrument], at)
        if answer["verdict"] == "parked":
            tasks.park(tx, job, instrument, status, at)
            if results.policy_of(tx, job, self.failures).action(status.fault) == "ask":
                holds.place(tx, instrument, f"{status.fault}: {status.message}", at)
        out = bool(tx.find(db.Hold, instrument=instrument, state="active", limit=1))
        if out:
            self.turns().closed.setdefault(instrument, False)  # at once: the next try must not come back here
        if answer["verdict"] == "again" and (out or "next" in tx.get(db.Job, job_id).as_run):
            answer["released"] = results.release(tx, [instrument], job.experiment_id)
        return answer

    def has_twin(self, instrument: str, capability: str) -> bool:
        """Whether another instrument at the same site can do the same, so that this one can be spared."""
        site = self.site_of.get(instrument)
        return any(
            name != instrument
            and name not in self.turns().closed
            and self.site_of.get(name) == site
            and any(c.name == capability for c in host.describe())
            for name, host in self.hosts.items()
        )

    def capability(self, instrument: str, name: str) -> Capability:
        """What an instrument says of one of the things that it can do."""
        return next(c for c in self.hosts[instrument].describe() if c.name == name)
