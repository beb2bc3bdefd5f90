"""The simulated tray furnace TF-8: a controller that is a table of registers, and eight places of unlike warmth.

Its manual is docs/devices/alloy-lab.md. It knows nothing of labctl: once started it heats, holds
and quenches whatever becomes of whoever started it.
"""

from __future__ import annotations

import json
import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from instruments.sim.machine import Machine
from instruments.sim.memory_of_machines import PastRun
from instruments.sim.world import World

ROOM_C = 22.0
COOLS_S = 3600.0  #: time in which an idle furnace comes e-fold nearer to the room
KNOB_K_PER_S = 10.0 / 60.0  #: how fast it follows a set-point from the front panel
UNLOAD_S = 300.0
HOTTEST_C = 700.0
LONGEST_DWELL_MIN = 900.0
SERIALS = 0xF0000000  #: serial numbers of simulated furnaces begin here
SEGMENTS, PLACES, LABEL, TAG, LOGGED = 14, 8, 12, 32, 121  #: sizes, in segments, places, registers and PVs
PROGRAM, COUNTER, TRAY, LOG = 8192, 20480, 20528, 20640  #: where the longer blocks begin
RESET, RUN, COMPLETE = 1, 2, 16
END, RAMP, DWELL = 0, 1, 3
NOT_THERE, NOT_ALLOWED, BUSY = 2, 3, 6  #: exception codes
BROKEN = 0x7FFF  #: a temperature while the thermocouple is broken
EDGES = {1, PLACES}
Registers = list[int]


class IllegalRequest(Exception):
    """The controller answers with an exception response."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


@dataclass(frozen=True)
class Block:
    """Neighbouring registers, how they are read, and how they are written if they can be."""

    start: int
    count: int
    read: Callable[[], Registers]
    write: Callable[[int, Registers], None] | None = None

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.start + self.count


class Piece(NamedTuple):
    """One stretch of a program: from one temperature to another in so many seconds."""

    kind: int
    start: float
    end: float
    seconds: float
    segment: int


class TrayFurnace(Machine):
    """See module."""

    model = "TF-8"
    scheme: ClassVar[str] = "modbus"

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        super().__init__(name, world, neighbours)
        self.decimals = 1  #: of temperatures; the manual tells nobody to rely on it
        self.time_decimals = 1
        self.alarms: Registers = [6000, 100]
        self.table: Registers = [0] * (8 + 8 * SEGMENTS)  #: the program: 8 registers in general, 8 for each segment
        self.tag: Registers = [0] * TAG
        self.sum = 0
        self.labels: Registers = [0] * (PLACES * LABEL)
        self._restore()
        self.blocks = [
            Block(1, 5, self._process, self._turn_knob),
            Block(13, 2, lambda: self.alarms, self._writer("alarms")),
            Block(23, 1, lambda: [self.status()], self._command),
            Block(56, 1, lambda: [self._segment()]),
            Block(122, 3, lambda: [0x2480, *two(SERIALS | zlib.crc32(self.name.encode()))]),
            Block(133, 3, self._statistics),
            Block(258, 1, lambda: [int(self._broken())]),
            Block(273, 1, lambda: [int(self.mode_override == "LOCAL")]),
            Block(525, 2, lambda: [self.decimals, self.time_decimals]),
            Block(PROGRAM, 8 + 8 * SEGMENTS, lambda: self.table, self._writer("table")),
            Block(COUNTER, 2, lambda: two(self.count())),
            Block(COUNTER + 2, TAG, lambda: self.tag, self._writer("tag")),
            Block(COUNTER + 34, 1, lambda: [self.sum], self._note_sum),
            Block(COUNTER + 35, 4, lambda: [self._end(), *two(self._left()), int(self.mode_override == "INTERLOCKED")]),
            Block(TRAY, PLACES * LABEL, lambda: self.labels, self._writer("labels")),
            Block(TRAY + PLACES * LABEL, 1, lambda: [self._came_out()]),
            Block(LOG, 2 + LOGGED, self._logged),
        ]

    # -- registers ------------------------------------------------------------------------

    def read(self, address: int, count: int) -> Registers:
        """Registers from this address on."""
        wanted = range(address, address + count)
        found: dict[int, int] = {}
        for block in self.blocks:
            if block.start < wanted.stop and block.start + block.count > wanted.start:
                found.update(zip(range(block.start, block.start + block.count), block.read(), strict=True))
        if not 0 < count <= 125 or any(a not in found for a in wanted):
            raise IllegalRequest(NOT_THERE)
        return [found[a] for a in wanted]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Set registers, all of one block; nothing is set when one cannot be."""
        block = next((b for b in self.blocks if address in b and address + len(values) - 1 in b), None)
        if block is None or block.write is None:
            raise IllegalRequest(NOT_THERE)
        if self.status() == RUN and block.start not in (1, 23):
            raise IllegalRequest(BUSY)
        block.write(address - block.start, list(values))

    def _writer(self, name: str) -> Callable[[int, Registers], None]:
        def write(offset: int, values: Registers) -> None:
            kept = list(getattr(self, name))
            kept[offset : offset + len(values)] = values
            setattr(self, name, kept)

        return write

    def _note_sum(self, offset: int, values: Registers) -> None:
        self.sum = values[0]

    def _command(self, offset: int, values: Registers) -> None:
        if values == [RUN]:
            self.start()
        elif values == [RESET]:
            self.stop()
            self.world.memory.note(f"reset {self.name}", str(self.count()))
        else:
            raise IllegalRequest(NOT_ALLOWED)

    def _turn_knob(self, offset: int, values: Registers) -> None:
        """The target set-point, by the bus or at the front panel; it overrides a running program."""
        celsius = self.celsius(values[0])
        if offset != 1 or len(values) != 1 or not 0 <= celsius <= HOTTEST_C:
            raise IllegalRequest(NOT_ALLOWED)
        now = self.world.clock.now().isoformat()
        turned = {"run": self.count(), "while": self.status(), "at": now, "to": celsius, "from": self.pv()}
        self.world.memory.note(f"knob {self.name}", json.dumps(turned))

    def _process(self) -> Registers:
        """PV, target set-point, output, nothing, working set-point."""
        pv = BROKEN if self._broken() else self.raw(self.pv())
        target, working = self._set_points()
        return [pv, self.raw(target), 500 if self.mode() == "BUSY" else 0, 0, self.raw(working)]

    def raw(self, celsius: float) -> int:
        """A temperature as it stands in a register."""
        scaled: int = round(celsius * 10**self.decimals)
        return scaled & 0xFFFF

    def celsius(self, raw: int) -> float:
        """A register as a temperature."""
        return float((raw - 0x10000 if raw & 0x8000 else raw) / 10**self.decimals)

    # -- what runs ------------------------------------------------------------------------

    def newest(self) -> PastRun | None:
        """The newest run."""
        return self.world.memory.last(self.name)

    def status(self) -> int:
        """Of the programmer."""
        run = self.newest()
        if run is None or run.aborted or self.world.memory.noted(f"reset {self.name}") == str(run.number):
            return RESET
        if not self.world.over(run):
            return RUN
        return RESET if run.code else COMPLETE

    def _end(self) -> int:
        """How the newest run ended: 0 it has not, 1 complete, 2 reset, 10 and a fault code."""
        run = self.newest()
        if run is None or (not run.aborted and not self.world.over(run)):
            return 0
        return 2 if run.aborted else 10 + run.code if run.code else 1

    def _broken(self) -> bool:
        """The thermocouple: broken from the end of its run until the next day, or as set from outside."""
        run = self.newest()
        broke = run is not None and run.code == 6 and self.world.over(run)
        late = run is not None and self.world.since(run.started) > run.duration_s + 86400.0
        return self.mode_override == "FAULT" or (broke and not late)

    def mode(self) -> str:
        """Whether a program may start."""
        return "FAULT" if self._broken() else super().mode()

    def _elapsed(self, run: PastRun) -> float:
        """Seconds of the program that have passed, as its clock would count them undisturbed."""
        whole = sum(p.seconds for p in pieces(run))
        full = float(run.program["full_s"])
        end = run.aborted or self.world.clock.now()
        passed = min((end - run.started).total_seconds(), run.duration_s)
        return whole * passed / full if full > 0 else whole

    def _left(self) -> int:
        """Seconds until the newest run ends."""
        run = self.newest()
        over = run is None or self.world.over(run)
        return 0 if run is None or over else math.ceil(run.duration_s - self.world.since(run.started))

    def _segment(self) -> int:
        """Which segment runs, counted from 1; 0 when none does."""
        run = self.newest()
        return at(pieces(run), self._elapsed(run))[0].segment if run and self.status() == RUN else 0

    def _knob(self) -> dict[str, Any] | None:
        """A set-point that overrode the newest program."""
        noted = self.world.memory.noted(f"knob {self.name}")
        turned: dict[str, Any] = json.loads(noted) if noted else {}
        return turned if turned.get("run") == self.count() and turned["while"] == RUN else None

    def _set_points(self) -> tuple[float, float]:
        """Target and working set-point."""
        run = self.newest()
        if run is None or self.status() != RUN:
            return ROOM_C, ROOM_C
        if (turned := self._knob()) is not None:
            return turned["to"], turned["to"]
        piece, passed = at(pieces(run), self._elapsed(run))
        return piece.end, along(piece, passed)

    def pv(self) -> float:
        """Temperature at the control thermocouple, degC."""
        run = self.newest()
        if run is None:
            return ROOM_C
        temperature = along(*at(pieces(run), self._elapsed(run)))
        if self.status() == RUN:
            return self._followed(temperature)
        ended = self.world.since(run.aborted) if run.aborted else self.world.since(run.started) - run.duration_s
        return ROOM_C + (temperature - ROOM_C) * math.exp(-max(0.0, ended) / COOLS_S)

    def _followed(self, planned: float) -> float:
        """Where the knob has led it, if someone turned it."""
        if (turned := self._knob()) is None:
            return planned
        seconds = (self.world.clock.now() - type(self.world.clock.now()).fromisoformat(turned["at"])).total_seconds()
        way = turned["to"] - turned["from"]
        return float(turned["from"] + math.copysign(min(abs(way), KNOB_K_PER_S * seconds), way))

    # -- a run ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: from here on matter changes. A frame that comes twice starts nothing twice: its tag is spent."""
        run = self.newest()
        if self.mode() != "READY":
            raise IllegalRequest(BUSY)
        tray, label = self._tray(), text(self.tag)
        twice = len(set(tray.values())) < len(tray)
        if not tray or twice or not label or (run is not None and run.label == label):
            raise IllegalRequest(NOT_ALLOWED)
        plan, quench = self._plan()
        attempts = {s: len(self.world.memory.of_sample(s, self.name)) for s in tray.values()}
        first = next(iter(tray.values()))
        rng = self.world.rng(self.name, first, attempts[first])
        handling_s = self.world.duration(UNLOAD_S, rng)
        code, message, share = self._trouble(rng)
        full_s = self.world.durations * sum(p.seconds for p in plan) + handling_s
        self.world.memory.add(
            PastRun(
                device=self.name, number=self.count() + 1, label=label, sample=first,
                program={
                    "kind": "solution" if quench else "age", "plan": plan, "full_s": full_s, "tray": tray,
                    "seen": self._seen(plan, tray, attempts), "lost": self._lost(tray, attempts),
                    "registers": {n: getattr(self, n) for n in ("alarms", "table", "tag", "sum", "labels")},
                },
                started=self.world.clock.now(), duration_s=share * full_s, attempt=attempts[first], code=code,
                message=message, aborted=None, pieces=tuple(tray.values()),
            )
        )  # fmt: skip

    def _restore(self) -> None:
        """After a power cut the registers are those of the newest run."""
        if (run := self.newest()) is not None:
            for name, value in run.program["registers"].items():
                setattr(self, name, value)

    def _tray(self) -> dict[int, str]:
        """Place -> sample, of the labels that are written."""
        labels = {p: text(self.labels[(p - 1) * LABEL : p * LABEL]) for p in range(1, PLACES + 1)}
        return {place: label for place, label in labels.items() if label}

    def _plan(self) -> tuple[list[Piece], bool]:
        """The program as stretches, and whether it ends in the water."""
        unit = {0: 1.0, 1: 60.0, 2: 3600.0}
        scale = 10**self.time_decimals
        ramp_unit, dwell_unit = unit.get(self.table[2]), unit.get(self.table[3])
        here, plan = self.pv(), list[Piece]()
        if ramp_unit is None or dwell_unit is None:
            raise IllegalRequest(NOT_ALLOWED)
        for i in range(SEGMENTS):
            kind, target, value, events = self.table[8 + 8 * i : 12 + 8 * i]
            goal, seconds = self.celsius(target), value / scale * dwell_unit
            if kind == END and plan:
                return plan, bool(events & 1)
            if kind == RAMP and 0 <= goal <= min(HOTTEST_C, self.celsius(self.alarms[0])) and value:
                plan.append(Piece(RAMP, here, goal, abs(goal - here) / (value / scale) * ramp_unit, i + 1))
                here = goal
            elif kind == DWELL and seconds <= LONGEST_DWELL_MIN * 60:
                plan.append(Piece(DWELL, here, here, seconds, i + 1))
            else:
                break
        raise IllegalRequest(NOT_ALLOWED)

    def _trouble(self, rng: random.Random) -> tuple[int, str, float]:
        """With which fault the run will end, and after which share of its time."""
        if self.world.happens("jam", self.name, rng):
            return 1, "tray jammed", 0.0
        if self.world.happens("interlock", self.name, rng):
            return 5, "door opened", rng.uniform(0.1, 0.9)
        if self.world.happens("break", self.name, rng):
            return 6, "thermocouple broke", rng.uniform(0.1, 0.9)
        return 0, "", 1.0

    def _seen(self, plan: list[Piece], tray: dict[int, str], attempts: dict[str, int]) -> dict[str, list[float]]:
        """What each piece really goes through: temperature, degC, and how long, s."""
        hold_s = sum(p.seconds for p in plan if p.kind == DWELL)
        asked = plan[-1].end
        walk = self.world.rng("drift", self.name)
        drift = sum(walk.gauss(0.0, 0.05) for _ in range(min(self.count(), 2000)))  # of the thermocouple, run by run
        common = self.world.rng("furnace", self.name).gauss(0.0, 1.5) + drift
        block = self.world.rng("tray", self.name, *next(iter(attempts.items()))).gauss(0.0, 2.0)
        return {
            sample: [asked + common + block + self.offset(place) + self._own(sample, attempts[sample]), hold_s]
            for place, sample in tray.items()
        }

    def _own(self, sample: str, attempt: int) -> float:
        return self.world.rng("place", self.name, sample, attempt).gauss(0.0, 0.5)

    def offset(self, place: int) -> float:
        """How much warmer than the thermocouple a place is, K: the edges are 5 to 15 K colder."""
        rng = self.world.rng("position", self.name, place)
        if place in EDGES:
            return -rng.uniform(5.0, 15.0)
        return -rng.uniform(1.0, 4.0) if place in (2, PLACES - 1) else rng.gauss(0.0, 0.7)

    def _lost(self, tray: dict[int, str], attempts: dict[str, int]) -> list[str]:
        """Pieces that fall off the tray on the way out."""
        luck = {s: self.world.rng("piece", self.name, s, attempts[s]) for s in tray.values()}
        return [s for s, rng in luck.items() if self.world.happens("piece", self.name, rng)]

    # -- what it tells of its newest run ----------------------------------------------------

    def _came_out(self) -> int:
        """Bit i is set when a piece came out of place i + 1."""
        run = self.newest()
        if run is None or self._end() != 1:
            return 0
        lost = run.program["lost"]
        return sum(1 << (int(place) - 1) for place, sample in run.program["tray"].items() if sample not in lost)

    def _statistics(self) -> Registers:
        """Peak, low and average of the PV over the dwells of the newest program."""
        run = self.newest()
        held = [p.end for p in pieces(run) if p.kind == DWELL] if run else []
        if run is None or not held:
            return [self.raw(ROOM_C)] * 3
        rng = self.world.rng("statistics", self.name, run.sample, run.attempt)
        middle = held[-1]
        spread = abs(rng.gauss(1.0, 0.2))
        found = [middle + spread, middle - spread, middle + rng.gauss(0.0, 0.1)]
        if (turned := self._knob()) is not None:
            found = [max(found[0], turned["to"]), min(found[1], turned["to"]), found[2]]
        return [self.raw(c) for c in found]

    def _logged(self) -> Registers:
        """Seconds between two logged PVs (2 registers), and the PVs of the newest run at equal distances.

        Places that a run did not come to hold no temperature.
        """
        run = self.newest()
        if run is None:
            return [0, 0, *[self.raw(ROOM_C)] * LOGGED]
        plan, rng = pieces(run), self.world.rng("log", self.name, run.sample, run.attempt)
        whole = sum(p.seconds for p in plan)
        reached = whole if self._end() == 1 else self._elapsed(run)
        logged = [along(*at(plan, whole * i / (LOGGED - 1))) + rng.gauss(0.0, 0.3) for i in range(LOGGED)]
        places = [self.raw(c) if whole * i <= reached * (LOGGED - 1) else BROKEN for i, c in enumerate(logged)]
        return [*two(round(whole / (LOGGED - 1))), *places]


def pieces(run: PastRun) -> list[Piece]:
    """The stretches of a run's program."""
    return [Piece(*piece) for piece in run.program["plan"]]


def at(plan: list[Piece], elapsed: float) -> tuple[Piece, float]:
    """The stretch that runs after so many seconds, and how long it has."""
    for piece in plan:
        if elapsed < piece.seconds:
            return piece, elapsed
        elapsed -= piece.seconds
    return plan[-1], plan[-1].seconds


def along(piece: Piece, passed: float) -> float:
    """Temperature on a stretch, degC."""
    return piece.start + (piece.end - piece.start) * (passed / piece.seconds if piece.seconds > 0 else 1.0)


def two(value: int) -> Registers:
    """A number of 32 bits, high word first."""
    return [value >> 16 & 0xFFFF, value & 0xFFFF]


def text(registers: Registers) -> str:
    """ASCII of two characters a register, filled up with zeros."""
    content = b"".join(r.to_bytes(2, "big") for r in registers).rstrip(b"\0")
    return content.decode("ascii") if content.isascii() and content.decode("ascii").isprintable() else ""
