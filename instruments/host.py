"""Turns a driver into an instrument whose jobs survive any crash.

The order is what matters: write the intent, send START, write the run, fetch, write the
result. A crash between any two of them is answered by asking the device what it knows of
the job. An act that may have begun is never sent again on a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from instruments.clock import Clock
from instruments.contract import (
    Capability,
    Driver,
    Fault,
    Found,
    Health,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    Mode,
    NotStarted,
    Params,
    RawFile,
    Reading,
    Run,
    RunState,
    Salvages,
    Unknowable,
)
from instruments.crashpoint import crashpoint
from instruments.errors import Fenced, InstrumentError, InvalidMeasurement, OutOfLimits, TransportError
from instruments.guard import Guard
from instruments.journal import Entry, Journal

BACK_OFF_S = (0.05, 0.2, 0.5, 1.0, 2.0)  #: wall seconds between tries to reach a silent device
EASE = 1.3  #: how much longer each pause is than the one before, while a job is late or cannot say when it ends
LATE = 1 / 30  #: the longest of these pauses, in parts of the longest of all
READY = {Mode.READY}
WITH_RESULT = {JobState.DONE, JobState.ABORTED}  #: of the latter, what it had given
SALVAGE_S = 20.0  #: seconds that a device has to hand over what a run had given when it was broken off
PARTIAL = "partial-"  #: begins the names of such files
UNREADABLE = 30  #: times in a row that a finished run's result may make no sense; then a person must look


class Host:
    """One instrument: its driver, its journal, its one job at a time.

    Parameters
    ----------
    poll_s
        Shortest and longest pause between two looks at a running job, lab seconds. One that is late, or cannot say
        when it ends, is looked at less and less often, down to every `LATE` of the longest.
    patience_s
        Wall seconds for which `perform` keeps trying to reach a silent device.
    forbidden
        Asked before every start: who has stopped the lab, empty while nobody has.
    """

    def __init__(
        self,
        instrument_id: str,
        driver: Driver,
        journal: Journal,
        clock: Clock,
        *,
        limits: dict[str, Any] | None = None,
        simulated: bool = False,
        poll_s: tuple[float, float] = (1.0, 30.0),
        patience_s: float = 30.0,
        forbidden: Callable[[], str] = lambda: "",
    ) -> None:
        self.instrument_id = instrument_id
        self.driver = driver
        self.guarded: Any = Guard(driver)
        self.journal = journal
        self.clock = clock
        self.simulated = simulated
        self.poll_s, self.latest_s = poll_s, max(poll_s[0], poll_s[1] * LATE)
        self.patience_s = patience_s
        self.held_by: str | None = None
        self.forbidden = forbidden
        self._capabilities = {c.name: c for c in type(driver).capabilities(limits or {})}
        self._turn = asyncio.Lock()
        self._called_off: dict[str, str] = {}  #: jobs that were broken off before they came, and why
        self._unread: dict[str, int] = {}  #: times in a row that a job's result made no sense
        self._due: dict[str, datetime] = {}  #: when a run would be over, as the device said when it was last looked at

    def describe(self) -> list[Capability]:
        return list(self._capabilities.values())

    async def close(self) -> None:
        """Let go of the device and of the journal."""
        await self.driver.close()
        self.journal.close()

    async def health(self) -> Health:
        try:
            identity = await self.guarded.identity()
            mode, message, consumables = await self.guarded.health()
        except InstrumentError as error:
            return Health(mode=Mode.OFFLINE, at=self.clock.now(), message=str(error))
        if self.held_by is not None:
            mode, message = Mode.MAINTENANCE, f"held by {self.held_by}"
        return Health(mode=mode, at=self.clock.now(), identity=identity, message=message, consumables=dict(consumables))

    async def control(self, verb: str, who: str) -> Health:
        """Hold or release the instrument, or stop what runs."""
        if verb in ("hold", "enter_maintenance"):
            self.held_by = who
        elif verb in ("release_hold", "leave_maintenance"):
            self.held_by = None
        elif verb == "safe_stop":
            await self.guarded.abort("")
        else:
            raise ValueError(f"{verb!r} is none of hold, release_hold, enter_maintenance, leave_maintenance, safe_stop")
        return await self.health()

    # -- one job --------------------------------------------------------------------------

    async def submit(self, request: JobRequest, fence: int | None = None) -> JobStatus:
        """Begin the job unless it was begun before.

        Parameters
        ----------
        fence
            Number of the lease under which it is asked for; rises with every holder. None where there are no leases.

        Raises
        ------
        Fenced
            A higher fence has come: who asks was stopped or cut off, and another holds the instrument now.
        """
        async with self._turn:
            if fence is not None and (highest := self.journal.admit(fence)) > fence:
                raise Fenced(
                    f"{self.instrument_id}: job {request.job_id} comes with fence {fence}, but {highest} was here already"
                )
            known = self.journal.get(request.job_id)
            if known is not None and known.digest != request.digest:
                return refused(request, Fault.REJECTED, f"job {request.job_id} is on record with other parameters")
            if known is not None and known.state is JobState.INTENT:
                known = await self._reconcile(known)
            if known is not None and known.state is not JobState.NOT_STARTED:
                return known.status()
            if (why := self._called_off.pop(request.job_id, None)) is not None:
                return JobStatus(job_id=request.job_id, state=JobState.ABORTED, message=why)
            return await self._begin(request)

    def params(self, request: JobRequest) -> Params:
        """The request's parameters, checked against the hard limits.

        Raises
        ------
        OutOfLimits
            Naming the parameter, the value and the limit. Nothing was sent.
        """
        capability = self._capabilities.get(request.capability)
        if capability is None:
            raise OutOfLimits(f"{self.instrument_id} does not offer {request.capability!r}")
        low, high = capability.batch
        if not low <= len(request.samples) <= high:
            raise OutOfLimits(f"{request.capability} takes {low} to {high} samples, not {len(request.samples)}")
        try:
            return capability.params_model.model_validate(request.params)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(p) for p in first["loc"])
            raise OutOfLimits(f"{where} = {first.get('input')!r}: {first['msg']}") from None

    async def _begin(self, request: JobRequest) -> JobStatus:
        try:
            params = self.params(request)
        except OutOfLimits as error:
            return refused(request, Fault.OUT_OF_LIMITS, str(error))
        try:
            if waits := await self._not_ready():
                return JobStatus(job_id=request.job_id, state=JobState.NEVER_SEEN, message=waits)
            mark = await self.guarded.mark()
        except TransportError as error:
            return JobStatus(job_id=request.job_id, state=JobState.NEVER_SEEN, fault=error.fault, message=str(error))
        self.journal.intent(request, mark, self.clock.now())
        crashpoint("intent written")
        return await self._send(request, params)

    async def _not_ready(self) -> str:
        """Why the device takes no work at this moment; empty when it does."""
        if who := self.held_by or self.forbidden():
            return f"held by {who}"
        mode, message, _ = await self.guarded.health()
        return "" if mode in READY else f"{mode.value} {message}".strip()

    async def _send(self, request: JobRequest, params: Params) -> JobStatus:
        """START. An answer that was lost is looked for, not guessed."""
        try:
            run = await self.guarded.start(request, params)
        except TransportError as error:
            entry = self._entry(request.job_id)
            entry = await self._reconcile(entry, why=str(error), fault=error.fault)
            return entry.status()
        except (InstrumentError, ValueError) as error:
            fault = error.fault if isinstance(error, InstrumentError) else Fault.REJECTED
            self.journal.ended(request.job_id, JobState.REJECTED, self.clock.now(), fault=fault, message=str(error))
            crashpoint("refusal written")
            return self._entry(request.job_id).status()
        crashpoint("start confirmed")
        self.journal.running(request.job_id, run.run_id)
        crashpoint("run recorded")
        return await self._after(self._entry(request.job_id), run)

    async def _reconcile(self, entry: Entry, why: str = "", fault: Fault | None = None) -> Entry:
        """The intent is on record; did the act begin? Ask the device."""
        job_id = entry.request.job_id
        try:
            found = await self.guarded.find(entry.request, self.params(entry.request), entry.mark)
        except TransportError:
            return self._entry(job_id)  # still unknown; asked again at the next look
        if isinstance(found, Found):
            self.journal.running(job_id, found.run.run_id)
            crashpoint("run adopted")
        elif isinstance(found, NotStarted):
            message = f"never began ({why})" if why else "never began"
            self.journal.ended(job_id, JobState.NOT_STARTED, self.clock.now(), fault=fault, message=message)
            crashpoint("never began written")
        else:
            self.journal.ended(job_id, JobState.IN_DOUBT, self.clock.now(), message=found.reason)
            crashpoint("doubt written")
        return self._entry(job_id)

    def _entry(self, job_id: str) -> Entry:
        entry = self.journal.get(job_id)
        assert entry is not None
        return entry

    async def status(self, job_id: str) -> JobStatus:
        async with self._turn:
            entry = self.journal.get(job_id)
            if entry is None:
                return JobStatus(job_id=job_id, state=JobState.NEVER_SEEN)
            if entry.state is JobState.INTENT:
                entry = await self._reconcile(entry)
            if entry.state is not JobState.RUNNING:
                return entry.status()
            assert entry.run_id is not None
            try:
                run = await self.guarded.poll(entry.run_id)
            except TransportError as error:
                return await self._not_told(entry, error)
            return await self._after(entry, run)

    async def _not_told(self, entry: Entry, error: TransportError) -> JobStatus:
        """The device does not tell of a run that is on record. One that answers all else has lost its memory."""
        job_id = entry.request.job_id
        try:
            found = await self.guarded.find(entry.request, self.params(entry.request), entry.mark)
        except TransportError:
            return entry.status(message=str(error), fault=error.fault)
        if isinstance(found, Found):
            return await self._after(entry, found.run)
        reason = found.reason if isinstance(found, Unknowable) else "it knows nothing of a run that it had confirmed"
        self.journal.ended(job_id, JobState.IN_DOUBT, self.clock.now(), message=f"run {entry.run_id} began; {reason}")
        crashpoint("forgotten run written")
        return self._entry(job_id).status()

    async def _after(self, entry: Entry, run: Run) -> JobStatus:
        """What follows from where the run stands; a finished one is fetched at once."""
        job_id = entry.request.job_id
        if run.state in (RunState.RUNNING, RunState.WAITING_HUMAN):
            eta = self._due[job_id] = self.clock.now() + timedelta(seconds=run.remaining_s)
            return entry.status(message=run.message, eta=eta)
        if run.state is RunState.DONE:
            return await self._fetch(entry, run)
        if run.state is RunState.ABORTED:
            return await self._broken_off(entry, run, run.message or f"run {run.run_id} aborted", run.fault)
        message = run.message or f"run {run.run_id} failed"
        self.journal.ended(job_id, JobState.FAILED, self._end_of(entry, run), fault=run.fault, message=message)
        crashpoint("failure written")
        return self._entry(job_id).status()

    def _end_of(self, entry: Entry, run: Run) -> datetime:
        """When a run was over: by its own word or what was to be expected, as we may look long after; never later than now."""
        request = entry.request
        usual = entry.started_at + timedelta(seconds=self._capabilities[request.capability].expected_s(request.params))
        return min(self.clock.now(), run.ended_at or self._due.get(request.job_id, usual))

    async def _broken_off(self, entry: Entry, run: Run, why: str, fault: Fault | None) -> JobStatus:
        """Keep what the run had given. There are no readings in it: nothing half measured may pass as a value."""
        job_id = entry.request.job_id
        at = self._end_of(entry, run)
        files, said = await self._salvaged(entry.request, run.run_id)
        result = JobResult(job_id=job_id, raw_files=files, simulated=self.simulated) if files else None
        crashpoint("partial data fetched")
        self.journal.ended(job_id, JobState.ABORTED, at, fault=fault, message="; ".join([why, *said]), result=result)
        crashpoint("abort written")
        return self._entry(job_id).status()

    async def _salvaged(self, request: JobRequest, run_id: str) -> tuple[tuple[RawFile, ...], list[str]]:
        """Raw files of a run that was broken off, and what became of them in words. Asked once: nobody waits for them."""
        if not isinstance(self.driver, Salvages):
            return (), []
        try:
            found = await Guard(self.driver, SALVAGE_S).salvage(request, run_id)
        except (InstrumentError, ValueError) as error:
            return (), [f"what it had measured could not be fetched: {error}"]
        files = tuple(file.model_copy(update={"name": PARTIAL + file.name}) for file in found)
        return files, [f"partial: {file.name.removeprefix(PARTIAL)} is kept" for file in files]

    async def _fetch(self, entry: Entry, run: Run) -> JobStatus:
        job_id, at = entry.request.job_id, self._end_of(entry, run)
        try:
            result = await self.guarded.fetch(entry.request, self.params(entry.request), run.run_id)
        except TransportError as error:
            return self._not_read(entry, run, error)
        except InvalidMeasurement as error:
            self.journal.ended(job_id, JobState.FAILED, at, fault=error.fault, message=str(error))
            crashpoint("invalid result written")
            return self._entry(job_id).status()
        crashpoint("result fetched")
        readings = tuple(taken_by(reading, at) for reading in result.readings)
        result = result.model_copy(update={"simulated": self.simulated, "readings": readings})
        self.journal.ended(job_id, JobState.DONE, at, result=result)
        crashpoint("result written")
        return self._entry(job_id).status()

    def _not_read(self, entry: Entry, run: Run, error: TransportError) -> JobStatus:
        """The run has ended and its result is not to be had: asked again, unless it will never make sense."""
        job_id = entry.request.job_id
        self._unread[job_id] = self._unread.get(job_id, 0) + 1 if error.fault is Fault.BAD_REPLY else 0
        if self._unread[job_id] < UNREADABLE:
            return entry.status(message=str(error), fault=error.fault)
        message = f"run {run.run_id} has ended, and its result cannot be read ({UNREADABLE} tries): {error}"
        self.journal.ended(job_id, JobState.IN_DOUBT, self.clock.now(), message=message)
        crashpoint("unreadable result written")
        return self._entry(job_id).status()

    async def result(self, job_id: str) -> JobResult:
        found = self.journal.result(job_id)
        if found is None:
            raise InstrumentError(f"{self.instrument_id} keeps no result of job {job_id}")
        return found

    async def release(self, job_id: str) -> None:
        self._unread.pop(job_id, None)
        self._due.pop(job_id, None)
        self.journal.release(job_id)

    async def list_open(self) -> list[str]:
        return self.journal.open_jobs()

    async def abort(self, job_id: str, reason: str) -> JobStatus:
        async with self._turn:
            entry = self.journal.get(job_id)
            if entry is None:
                self._called_off[job_id] = reason  # it may be on its way still
                return JobStatus(job_id=job_id, state=JobState.NEVER_SEEN)
            if entry.state is not JobState.RUNNING or entry.run_id is None:
                return entry.status()
            try:
                await self.guarded.abort(entry.run_id)
                run = await self.guarded.poll(entry.run_id)
            except InstrumentError as error:
                return entry.status(message=f"not aborted: {error}", fault=error.fault)
            if run.state is RunState.ABORTED:
                return await self._broken_off(entry, run, reason, Fault.OPERATOR)
            return await self._after(entry, run)

    # -- submit, wait, fetch --------------------------------------------------------------

    async def perform(self, request: JobRequest, fence: int | None = None) -> tuple[JobStatus, JobResult | None]:
        """Have the job done, or say where it stands when the device has been silent for too long.

        What can be expected to go wrong is in the status. A status that is not final means:
        the device holds the job or cannot take it now; ask again later. May be called any
        number of times for one job, also after a crash.
        """
        status, silent_since, tries = await self.submit(request, fence), None, 0
        late_s = shortest_s = self.poll_s[0]
        while not status.state.final:
            trouble = status.fault is not None or status.state is not JobState.RUNNING
            if not trouble:
                silent_since, tries = None, 0
                left_s = (status.eta - self.clock.now()).total_seconds() if status.eta else 0.0
                late_s = shortest_s if left_s > 0 else min(late_s * EASE, self.latest_s)
                await self.clock.sleep(min(max(left_s, late_s), self.poll_s[1]))
                status = await self.status(request.job_id)
                continue
            silent_since = silent_since if silent_since is not None else self.clock.monotonic()
            if self.clock.monotonic() - silent_since > self.patience_s:
                return status, None
            await asyncio.sleep(BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)])
            tries += 1
            status = (
                await self.submit(request, fence)
                if status.state is not JobState.RUNNING
                else await self.status(request.job_id)
            )
        return status, self.journal.result(request.job_id) if status.state in WITH_RESULT else None


def taken_by(reading: Reading, end: datetime) -> Reading:
    """A reading, taken at the latest when its run was over: drivers stamp what they fetch, which may be days later."""
    return reading if reading.taken_at <= end else reading.model_copy(update={"taken_at": end})


def refused(request: JobRequest, fault: Fault, message: str) -> JobStatus:
    """A job that was turned down before anything physical happened."""
    return JobStatus(job_id=request.job_id, state=JobState.REJECTED, fault=fault, message=message)
