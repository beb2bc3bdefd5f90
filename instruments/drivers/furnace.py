"""Tray furnace behind a temperature programmer, model TF-8: heat treatment of up to eight samples at once.

The controller is a table of registers, laid out like those of the Eurotherm 2400 series
(docs/devices/alloy-lab.md). Temperatures and times are whole numbers whose scale is read from
the controller, never assumed. Everything that is written is read back before the program is
started. A tag in spare registers and the controller's own count of starts tell after a crash
whether an act began; each look at a run also sees whether a hand has changed the set-point.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar

from instruments.clock import Clock
from instruments.contract import (
    Capability,
    Fault,
    Found,
    InstrumentConfig,
    JobRequest,
    JobResult,
    Mode,
    NotStarted,
    Params,
    RawFile,
    Reading,
    Run,
    RunState,
    SampleAt,
    SampleFailure,
    Unknowable,
)
from instruments.drivers.furnace_program import (
    ALARM_ABOVE_K,
    DWELL,
    INVALID,
    SEGMENTS,
    Age,
    HeatTreatment,
    Scale,
    SolutionTreat,
    alarms,
    checksum,
    double,
    ending,
    goal_of,
    held,
    programmed,
    registers,
    rows_of,
    segments,
    signed,
    text,
)
from instruments.drivers.program_machine import FAULTS
from instruments.errors import BadReply, DeviceRefused, TransportError
from instruments.limits import narrowed
from instruments.transport import Registers

PROCESS, ALARMS, STATUS, SEGMENT, IDENTITY, STATISTICS, BREAK, MANUAL, SCALES = 1, 13, 23, 56, 122, 133, 258, 273, 525
PROGRAM, COUNTER, TAG, SUM, TRAY, LOG = 8192, 20480, 20482, 20514, 20528, 20640
SIMULATED = 0xF000  #: high word of the serial numbers that are left to simulated furnaces, and above
PLACES, TAG_REGISTERS, LABEL_REGISTERS, LOGGED = 8, 32, 12, 121
RESET, RUNNING, HOLD, HOLDBACK, COMPLETE = 1, 2, 4, 8, 16
FROM_THE_MIDDLE = (4, 5, 3, 6, 2, 7, 1, 8)  #: places in the order in which they are filled: the edges are coldest
BAND_K = 10.0  #: what we still call "held"
UNIFORMITY_K = 10.0 / math.sqrt(3.0)  #: the tray is within +-10 K (AMS 2750, class 4 is 10 K), taken as rectangular
ENDED_WELL, ENDED_WITH_FAULT = 1, 10  #: how a run ended; a fault's code is added to the latter


@dataclass(frozen=True)
class Seen:
    """The controller at one moment."""

    scale: Scale
    pv: int
    target: int
    working: int
    status: int
    segment: int
    broken: bool
    manual: bool
    count: int
    tag: str
    sum: int
    ended: int
    left_s: int
    door: bool


class Furnace:
    """See module."""

    verified_on_hardware = False
    scheme: ClassVar[str] = "modbus"

    def __init__(self, wire: Registers, clock: Clock) -> None:
        self.wire = wire
        self.clock = clock
        wire.pin(IDENTITY, 3)

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What it can do. Heating again changes the samples, so no run is repeated on a guess."""
        return narrowed(
            [
                treatment(
                    "solution_treat", SolutionTreat, "heat to dissolve, then quench in water", "solution", 12000.0
                ),
                treatment("age", Age, "hold warm to let precipitate", "ageing", 40000.0),
            ],
            limits,
        )

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite: nothing changes much at 120 degC within ten minutes."""
        return JobRequest(
            job_id=job_id,
            capability="age",
            params={"temperature_c": 120.0, "hold_s": 600.0},
            samples=(SampleAt(sample_id=sample_id),),
        )

    async def identity(self) -> str:
        """Who answers."""
        model, high, low = await self._read(IDENTITY, 3)
        maker = "labctl simulation" if high >= SIMULATED else "tray furnace"
        return f"{maker},TF-8 (controller {model:04X}),{(high << 16) + low}"

    async def close(self) -> None:
        """Let go of the wire."""
        await self.wire.close()

    async def health(self) -> tuple[Mode, str, dict[str, float]]:
        """Mode, message, consumables."""
        seen = await self.look()
        if seen.broken:
            return Mode.FAULT, "sensor break: the thermocouple must be replaced", {}
        if seen.door:
            return Mode.INTERLOCKED, "the door is open", {}
        if seen.manual:
            return Mode.LOCAL, "in manual mode at the front panel", {}
        return (Mode.READY if seen.status in (RESET, COMPLETE) else Mode.BUSY), "", {}

    async def look(self) -> Seen:
        """Everything that tells where the controller stands."""
        temperature, time = await self._read(SCALES, 2)
        if temperature > 3 or time > 3:
            raise BadReply(f"the controller says it has {temperature} and {time} decimals; expected 0 to 3")
        pv, target, _, _, working = await self._read(PROCESS, 5)
        (status,), (segment,) = await self._read(STATUS, 1), await self._read(SEGMENT, 1)
        (broken,), (manual,) = await self._read(BREAK, 1), await self._read(MANUAL, 1)
        rest = await self._read(COUNTER, 39)
        return Seen(
            Scale(temperature, time), pv, target, working, status, segment, bool(broken), bool(manual),
            double(rest[0:2]), text(rest[2:34]), rest[34], rest[35], double(rest[36:38]), bool(rest[38]),
        )  # fmt: skip

    # -- starting -------------------------------------------------------------------------

    async def mark(self) -> str:
        """Starts so far, and the tag of the newest: both change with the next start."""
        head = await self._read(COUNTER, 2 + TAG_REGISTERS)
        return f"{double(head[0:2])} {text(head[2:])}"

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Write program, alarms, tray and tag; read them back; start."""
        assert isinstance(params, HeatTreatment)
        seen = await self.look()
        if seen.status == COMPLETE:
            await self.wire.write(STATUS, [RESET])
        program = programmed(params, seen.scale, quench=request.capability == "solution_treat")
        await self._set(PROGRAM, program, "the program")
        await self._set(ALARMS, alarms(params, seen.scale), "the alarm set-points")
        await self._set(TRAY, labels(request.samples), "the tray's labels")
        await self._set(SUM, [checksum(program)], "the program's checksum")
        await self._set(TAG, registers(request.job_id, TAG_REGISTERS), "the tag")
        await self.wire.write(STATUS, [RUNNING])
        after = await self.look()
        if (after.count, after.tag) != (seen.count + 1, request.job_id):
            raise BadReply(
                f"start {after.count} is of {after.tag[:40]!r}, not start {seen.count + 1} of {request.job_id!r}"
            )
        return await self.judged(after)

    async def _set(self, address: int, values: Sequence[int], what: str) -> None:
        """Write registers and read them back: a controller clips in silence. Set-points may be written twice."""
        for i in range(0, len(values), 120):
            part = (address + i, values[i : i + 120])
            try:
                await self.wire.write(*part)
            except TransportError:
                await self.wire.write(*part)
        if await self._get(address, len(values)) != list(values):
            raise DeviceRefused(f"{what} read back differs from what was written; nothing was started")

    async def _get(self, address: int, count: int) -> list[int]:
        """Registers of a block that may be longer than a frame."""
        found: list[int] = []
        while len(found) < count:
            found += await self._read(address + len(found), min(120, count - len(found)))
        return found

    async def _read(self, address: int, count: int) -> list[int]:
        """Asking again is harmless: a line that stutters once must not cost a tray."""
        try:
            return await self.wire.read(address, count)
        except TransportError:
            return await self.wire.read(address, count)

    async def find(self, request: JobRequest, params: object, mark: str) -> Found | NotStarted | Unknowable:
        """After a crash: the tag is written before a start, and the count goes up with it."""
        seen = await self.look()
        before, _, tag_before = mark.partition(" ")
        if seen.count < int(before):
            return Unknowable(f"its count of starts went back from {before} to {seen.count}: it has lost its memory")
        if seen.count == int(before):
            return NotStarted()
        if seen.tag == request.job_id and seen.count == int(before) + 1:
            return Found(await self.judged(seen))
        if seen.tag == tag_before:
            return NotStarted()  # someone started a program by hand; ours would have left its tag
        return Unknowable(f"{seen.count - int(before)} programs were started since, the newest of {seen.tag[:40]!r}")

    # -- a run ----------------------------------------------------------------------------

    async def poll(self, run_id: str) -> Run:
        """Where the run stands, and whether anyone has interfered with it."""
        seen = await self.look()
        if str(seen.count) != run_id:
            message = (
                f"another program was started (start {seen.count} after {run_id}): what the samples saw is not known"
            )
            return Run(run_id=run_id, state=RunState.FAILED, fault=Fault.OPERATOR, message=message)
        return await self.judged(seen)

    async def judged(self, seen: Seen) -> Run:
        """The newest run, by all that can be seen of it."""
        run_id = str(seen.count)
        program = await self._get(PROGRAM, 8 + 8 * SEGMENTS)
        if seen.ended >= ENDED_WITH_FAULT:
            code = seen.ended - ENDED_WITH_FAULT
            fault, message = FAULTS.get(code, Fault.UNKNOWN), FAULT_WORDS.get(code, f"fault {code}")
            return Run(run_id=run_id, state=RunState.FAILED, fault=fault, message=message)
        if why := interfered(seen, program):
            return Run(run_id=run_id, state=RunState.FAILED, fault=Fault.OPERATOR, message=why)
        if seen.ended == ENDED_WELL:
            return await self.completed(seen, program)
        if seen.status == RESET:
            message = "the program was reset"
            return Run(run_id=run_id, state=RunState.ABORTED, fault=Fault.OPERATOR, message=message)
        return Run(
            run_id=run_id, state=RunState.RUNNING, remaining_s=float(seen.left_s), message=strayed(seen, program)
        )

    async def completed(self, seen: Seen, program: Sequence[int]) -> Run:
        """A finished run is done when the temperature was held and something came out."""
        peak, low, _ = [seen.scale.celsius(raw, "logged PV") for raw in await self._read(STATISTICS, 3)]
        goal = held(program, seen.scale)[0]
        came_out = (await self._read(TRAY + PLACES * LABEL_REGISTERS, 1))[0]
        run_id = str(seen.count)
        if peak > goal + BAND_K or low < goal - BAND_K:
            message = f"PV went from {low:g} to {peak:g} degC during the hold at {goal:g} degC"
            return Run(run_id=run_id, state=RunState.FAILED, fault=Fault.DRIFT, message=message)
        if not came_out:
            return Run(
                run_id=run_id, state=RunState.FAILED, fault=Fault.SAMPLE_LOST, message="nothing came out of the tray"
            )
        return Run(run_id=run_id, state=RunState.DONE)

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """What each sample that came out has gone through, as the controller tells it."""
        seen = await self.look()
        tray = await self._get(TRAY, PLACES * LABEL_REGISTERS + 1)
        if (str(seen.count), seen.tag) != (run_id, request.job_id) or tray[:-1] != labels(request.samples):
            raise BadReply(f"the controller holds start {seen.count} of {seen.tag[:40]!r}, not run {run_id}")
        program = await self._get(PROGRAM, 8 + 8 * SEGMENTS)
        celsius, hold_s = held(program, seen.scale)
        average = seen.scale.celsius((await self._read(STATISTICS, 3))[2], "average PV")
        places = {s.sample_id: place for s, place in zip(request.samples, placed(request.samples), strict=True)}
        lost = {s: place for s, place in places.items() if not tray[-1] >> (place - 1) & 1}
        stage = "solution" if request.capability == "solution_treat" else "ageing"
        return JobResult(
            job_id=request.job_id,
            readings=tuple(r for s in places if s not in lost for r in self._readings(s, stage, average, hold_s)),
            raw_files=(RawFile(name="temperature.csv", media_type="text/csv", content=await self._trace(seen.scale)),),
            failures={
                s: SampleFailure(fault=Fault.SAMPLE_LOST, message=f"did not come out of place {place} of the tray")
                for s, place in lost.items()
            },
            as_run={
                "run": run_id, "set_point_c": celsius, "hold_s": hold_s, "average_c": average, "places": places,
                "alarms_c": [seen.scale.celsius(raw, "alarm") for raw in await self._read(ALARMS, 2)],
                "program": segments(program, seen.scale), "quench": bool(ending(program)[3] & 1),
            },
        )  # fmt: skip

    def _readings(self, sample: str, stage: str, celsius: float, hold_s: float) -> tuple[Reading, Reading]:
        at = self.clock.now()
        return (
            Reading(
                sample_id=sample, quantity=f"{stage}_temperature", value=celsius, unit="degC", u=UNIFORMITY_K,
                method="control thermocouple, mean over the dwells; u is the tray's uniformity", taken_at=at,
            ),
            Reading(
                sample_id=sample, quantity=f"{stage}_time", value=hold_s, unit="s", u=1.0,
                method="dwells of the program, read back", taken_at=at,
            ),
        )  # fmt: skip

    async def salvage(self, request: JobRequest, run_id: str) -> tuple[RawFile, ...]:
        """The log of a run that was reset, as far as it goes."""
        seen = await self.look()
        if (str(seen.count), seen.tag) != (run_id, request.job_id):
            raise BadReply(f"the controller holds start {seen.count} of {seen.tag[:40]!r}, not run {run_id}")
        raw = await self._trace(seen.scale, broken_off=True)
        return (RawFile(name="temperature.csv", media_type="text/csv", content=raw),)

    async def _trace(self, scale: Scale, *, broken_off: bool = False) -> bytes:
        """The controller's log of the run; of one that was broken off, until the first place that holds no temperature."""
        logged = await self._get(LOG, 2 + LOGGED)
        pvs = takewhile(lambda raw: raw not in INVALID, logged[2:]) if broken_off else logged[2:]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["time_s", "pv_degC"])
        every_s = double(logged[0:2])
        writer.writerows([i * every_s, scale.celsius(raw, "logged PV")] for i, raw in enumerate(pvs))
        return out.getvalue().encode("ascii")

    async def abort(self, run_id: str) -> None:
        """Reset the program; the tray cools where it stands."""
        await self.wire.write(STATUS, [RESET])


FAULT_WORDS = {1: "the tray jammed", 5: "the door was opened", 6: "the thermocouple broke during the run"}


def treatment(name: str, model: type[HeatTreatment], summary: str, stage: str, typical_s: float) -> Capability:
    """One capability of the furnace."""
    return Capability(
        name=name,
        params_model=model,
        summary=f"{summary}; a tray of up to {PLACES}",
        batch=(1, PLACES),
        produces=(f"{stage}_temperature", f"{stage}_time"),
        units={f"{stage}_temperature": "degC", f"{stage}_time": "s"},
        physical=True,
        recover="counter",
        typical_s=typical_s,
    )


def interfered(seen: Seen, program: Sequence[int]) -> str:
    """Whose hand was on it, if any; empty when the controller does what it was told."""
    if checksum(program) != seen.sum:
        return "the program in the controller is not the one that was started: someone has changed it"
    if seen.status not in (RUNNING, HOLDBACK) or not 1 <= seen.segment <= SEGMENTS:
        return ""
    if seen.manual:
        return "the furnace was switched to manual at the front panel"
    goal = goal_of(program, seen.segment)
    if abs(signed(seen.target) - signed(goal)) > 1:
        wanted, found = seen.scale.celsius(goal, "set-point"), seen.scale.celsius(seen.target, "set-point")
        return (
            f"the set-point was changed to {found:g} degC by another hand; the program says {wanted:g} degC."
            " Look after the samples in the furnace, then reset it"
        )
    return ""


def strayed(seen: Seen, program: Sequence[int]) -> str:
    """What a person should look at while it runs; whether it was held is judged at the end."""
    if seen.status == HOLD:
        return "on hold at the front panel"
    dwells = 1 <= seen.segment <= SEGMENTS and rows_of(program)[seen.segment - 1][0] == DWELL
    if (
        not dwells
        or seen.pv in INVALID
        or abs(signed(seen.pv) - signed(seen.working)) * seen.scale.step <= ALARM_ABOVE_K
    ):
        return ""
    pv, working = (seen.scale.celsius(raw, "temperature") for raw in (seen.pv, seen.working))
    return f"PV is {pv:g} degC at a set-point of {working:g} degC"


def placed(samples: Sequence[SampleAt]) -> list[int]:
    """Which place each sample has: its own, or the next free one from the middle.

    Raises
    ------
    DeviceRefused
        A place that there is not, or one that two samples claim.
    """
    own = [int(s.position) if s.position.isdigit() else 0 for s in samples]
    if any(s.position and not 1 <= place <= PLACES for s, place in zip(samples, own, strict=True)):
        raise DeviceRefused(f"positions are {[s.position for s in samples]}; the tray has places 1 to {PLACES}")
    free = iter(p for p in FROM_THE_MIDDLE if p not in own)
    places = [place or next(free, 0) for place in own]
    if len(set(places)) != len(places) or 0 in places:
        raise DeviceRefused(f"positions are {[s.position for s in samples]}; each place of the tray takes one sample")
    return places


def labels(samples: Sequence[SampleAt]) -> list[int]:
    """The tray's labels: which sample stands at which place."""
    by_place = dict(zip(placed(samples), (s.sample_id for s in samples), strict=True))
    return [r for place in range(1, PLACES + 1) for r in registers(by_place.get(place, ""), LABEL_REGISTERS)]


def make(config: InstrumentConfig, transport: Registers, clock: Clock) -> Furnace:
    """Entry point ``furnace``."""
    return Furnace(transport, clock)
