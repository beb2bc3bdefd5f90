"""What program-running machines have in common: enter a program, read it back, start it, ask for its run.

See docs/devices. A machine keeps a label with each run, so that after a crash it can be
asked whether an act began.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from instruments.contract import Check, Fault, Found, JobRequest, Mode, NotStarted, RawFile, Run, RunState, Unknowable
from instruments.crashpoint import crashpoint
from instruments.errors import BadReply, DeviceRefused
from instruments.scpi import accepted, fields, number, quoted, whole
from instruments.transport import Transport

FAULTS = {
    1: Fault.JAM,
    2: Fault.CONSUMABLE,
    3: Fault.SAMPLE_LOST,
    4: Fault.MEASUREMENT_INVALID,
    5: Fault.INTERLOCK,
    6: Fault.UNKNOWN,
    7: Fault.SAMPLE_LOST,
}


class ProgramMachine:
    """Base of the three drivers of the electrolyte lab."""

    verified_on_hardware = False
    raw_name: ClassVar[str]  #: of the raw file of a run

    def __init__(self, transport: Transport) -> None:
        self.wire = transport

    async def identity(self) -> str:
        """Who answers."""
        return await self.wire.query("*IDN?")

    async def close(self) -> None:
        """Let go of the wire."""
        await self.wire.close()

    async def health(self) -> tuple[Mode, str, dict[str, float]]:
        """Mode, message, consumables."""
        answer = (await self.wire.query("STAT:MODE?")).strip().lower()
        try:
            return Mode(answer), "", {}
        except ValueError:
            raise BadReply(f"STAT:MODE? was answered with {answer[:40]!r}") from None

    async def mark(self) -> str:
        """The run counter before a START."""
        return str(await self.count())

    async def count(self) -> int:
        """Runs ever started."""
        return whole(await self.wire.query("RUN:COUN?"), "run counter")

    async def begin(self, request: JobRequest, program: Sequence[tuple[str, str]]) -> Run:
        """Enter a program, compare what the machine understood, start it.

        Parameters
        ----------
        program
            Pairs of the command and how `PROG?` writes it back.
        """
        sample, label = quoted(request.samples[0].sample_id), quoted(request.job_id)
        commands = [("PROG:CLE", ""), (f"PROG:SAMP {sample}", f"SAMP={sample}"), (f"PROG:LAB {label}", f"LAB={label}")]
        await self.wire.write(
            "*CLS"
        )  # what it refused before, a run that it has forgotten, is no fault of this program
        for command, _ in [*commands, *program]:
            await self.wire.write(command)
        await accepted(self.wire, "the program")
        expected = ";".join(echo for _, echo in [*commands[1:], *program])
        understood = await self.wire.query("PROG?")
        if understood != expected:
            raise DeviceRefused(f"the machine understood {understood!r} where {expected!r} was meant")
        await self.wire.write("PROG:STAR")
        crashpoint("start sent")
        await accepted(self.wire, "the start")
        run_id, last_label, last_sample = fields(await self.wire.query("RUN:LAST?"), 3, "last run")
        if (last_label, last_sample) != (request.job_id, request.samples[0].sample_id):
            raise BadReply(f"the newest run is of {last_label!r} for {last_sample!r}, not of {request.job_id!r}")
        return await self.poll(run_id)

    async def poll(self, run_id: str) -> Run:
        """Where the run stands."""
        return (await self.labelled(run_id))[1]

    async def labelled(self, run_id: str) -> tuple[str, Run]:
        """Label of a run, and where it stands."""
        answer = await self.wire.query(f"RUN:STAT? {run_id}")
        found, label, state, left, code, message = fields(answer, 6, "run state")
        if found != run_id:
            raise BadReply(f"asked for run {run_id}, answered for run {found}")
        try:
            known = RunState(state.lower())
        except ValueError:
            raise BadReply(f"run {run_id} is in an unknown state {state!r}") from None
        fault = FAULTS.get(whole(code, "fault code"), Fault.UNKNOWN) if known is RunState.FAILED else None
        left_s = number(left, "time left", 0, 1e8)
        return label, Run(run_id=run_id, state=known, remaining_s=left_s, fault=fault, message=message)

    async def result_fields(self, request: JobRequest, run_id: str, count: int | None = None) -> list[str]:
        """The result line without its first field, which must be the sample that was asked for.

        A result for another sample is refused, never attributed.
        """
        answer = await self.wire.query(f"RUN:RES? {run_id}")
        found = fields(answer, count, "result") if count else answer.split(";")
        sample = found[0].strip('"')
        if sample != request.samples[0].sample_id:
            raise BadReply(f"run {run_id} answers for sample {sample[:40]!r}, not {request.samples[0].sample_id!r}")
        return found[1:]

    async def salvage(self, request: JobRequest, run_id: str) -> tuple[RawFile, ...]:
        """The raw file of a run that was stopped, as far as it goes."""
        label, _ = await self.labelled(run_id)
        if label != request.job_id:
            raise BadReply(f"run {run_id} is of {label[:40]!r}, not of {request.job_id!r}")
        raw = await self.wire.query_block(f"RUN:DATA? {run_id}")
        rows = raw.count(b"\n") - 1
        return (RawFile(name=self.raw_name, media_type="text/csv", content=raw),) if rows > 0 else ()

    async def check(self, run_id: str, quantity: str, unit: str, scale: float = 0.0) -> Check:
        """What its reference material read beside a run.

        Parameters
        ----------
        scale
            Relative standard uncertainty of the scale as it was calibrated: within it no drift is an error.
        """
        name, *numbers = fields(await self.wire.query(f"RUN:CHEC? {run_id}"), 5, "reference")
        value, u_reading, certified, u_certified = (number(text, "reference", 0, 1e6) for text in numbers)
        if u_certified == 0:
            raise BadReply(f"reference: {name[:40]!r} is certified without uncertainty")
        u = math.hypot(u_reading, scale * value)
        return Check(
            reference=name, quantity=quantity, unit=unit, value=value, u=u, certified=certified, u_certified=u_certified
        )

    async def find(self, request: JobRequest, params: object, mark: str) -> Found | NotStarted | Unknowable:
        """After a crash: look at every run since the mark."""
        before, now = int(mark), await self.count()
        if now < before:
            return Unknowable(f"its run counter went back from {before} to {now}: it has lost its memory")
        for run_id in range(now, before, -1):
            label, run = await self.labelled(str(run_id))
            if label == request.job_id:
                return Found(run)
        return NotStarted()

    async def abort(self, run_id: str) -> None:
        """Stop the running program."""
        await self.wire.write("*CLS")
        await self.wire.write("ABOR")
        await accepted(self.wire, "the abort")
