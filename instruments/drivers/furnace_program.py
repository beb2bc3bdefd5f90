"""What a furnace is asked for, and the program of its controller that does it, as registers.

The layout is that of the Eurotherm 2400 series (docs/devices/alloy-lab.md).
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instruments.contract import Params, quantity
from instruments.errors import BadReply, DeviceRefused

SEGMENTS = 14  #: of a program
END, RAMP, DWELL = 0, 1, 3
PER_MINUTE = 1  #: code of the unit of ramps (K/min) and dwells (min)
LONGEST_DWELL_MIN = 900.0  #: of one segment; longer holds are several
INVALID = {0x7FFF, 0x8000}  #: what a register holds when there is no measurement
ALARM_ABOVE_K = 15.0  #: the controller's own trip above the set-point


class HeatTreatment(Params):
    """A temperature and how long it is held, after a ramp. The limits stand in each treatment."""

    temperature_c: float
    hold_s: float
    ramp_k_per_min: float = quantity("K/min", 1, 20, key="ramp", default=10.0)


class SolutionTreat(HeatTreatment):
    """Dissolve, then quench in water.

    Below 450 degC too little dissolves to be worth a run. At 660 degC aluminium melts, and
    many of its alloys from 507 degC on; up to 560 degC a melted sample does not leave its place.
    """

    temperature_c: float = quantity("degC", 450, 560, key="temperature")
    hold_s: float = quantity("s", 0, 172800, key="hold", default=7200.0)


class Age(HeatTreatment):
    """Let precipitate, then cool in the furnace.

    Below 100 degC nothing happens within a run; above 250 degC the alloy is annealed, not aged.
    """

    temperature_c: float = quantity("degC", 100, 250, key="temperature")
    hold_s: float = quantity("s", 0, 604800, key="hold")


@dataclass(frozen=True)
class Scale:
    """How numbers stand in registers: decimals of temperatures, and of times and rates."""

    temperature: int
    time: int

    def raw(self, celsius: float) -> int:
        """A temperature as a register. Raises DeviceRefused when it cannot be told so finely or does not fit."""
        return word(round(celsius * 10**self.temperature), f"{celsius:g} degC")

    def raw_time(self, minutes: float) -> int:
        """Minutes, or K/min, as a register."""
        return word(round(minutes * 10**self.time), f"{minutes:g} min")

    def celsius(self, raw: int, what: str) -> float:
        """A register as a temperature. Raises BadReply where there is none."""
        if raw in INVALID:
            raise BadReply(f"{what}: no reading (sensor break)")
        return float(signed(raw) / 10**self.temperature)

    @property
    def step(self) -> float:
        """Smallest difference of temperatures, K."""
        return float(10.0**-self.temperature)


def programmed(params: HeatTreatment, scale: Scale, *, quench: bool) -> list[int]:
    """The program as registers: a ramp, dwells of at most 900 min, and the end."""
    minutes, dwells = params.hold_s / 60.0, list[float]()
    while minutes > 0:
        dwells.append(min(minutes, LONGEST_DWELL_MIN))
        minutes -= dwells[-1]
    goal = scale.raw(params.temperature_c)
    rows = [[RAMP, goal, scale.raw_time(params.ramp_k_per_min), 0]]
    rows += [[DWELL, 0, scale.raw_time(m), 0] for m in dwells or [0.0]]
    rows.append([END, 0, 0, int(quench)])
    if len(rows) > SEGMENTS:
        raise DeviceRefused(f"a hold of {params.hold_s:g} s needs {len(rows)} segments; a program has {SEGMENTS}")
    rows += [[END, 0, 0, 0]] * (SEGMENTS - len(rows))
    return [0, 0, PER_MINUTE, PER_MINUTE, 1, 0, 0, 0, *(n for row in rows for n in [*row, 0, 0, 0, 0])]


def alarms(params: HeatTreatment, scale: Scale) -> list[int]:
    """The controller's own trips: too hot in all, and too far from the set-point."""
    return [scale.raw(params.temperature_c + ALARM_ABOVE_K), scale.raw(ALARM_ABOVE_K)]


def rows_of(program: Sequence[int]) -> list[Sequence[int]]:
    """Type, target, rate or duration, and events of each segment."""
    return [program[8 + 8 * i : 12 + 8 * i] for i in range(SEGMENTS)]


def ending(program: Sequence[int]) -> Sequence[int]:
    """The segment that ends the program."""
    return next((row for row in rows_of(program) if row[0] == END), (END, 0, 0, 0))


def goal_of(program: Sequence[int], segment: int) -> int:
    """The set-point register of a segment: a dwell keeps that of the ramp before it."""
    return next((row[1] for row in reversed(rows_of(program)[:segment]) if row[0] == RAMP), 0)


def held(program: Sequence[int], scale: Scale) -> tuple[float, float]:
    """Set-point, degC, and seconds of all dwells, as the program in the controller has them."""
    dwells = sum(row[2] for row in rows_of(program) if row[0] == DWELL)
    return scale.celsius(goal_of(program, SEGMENTS), "set-point"), round(60.0 * dwells / 10**scale.time, 6)


def segments(program: Sequence[int], scale: Scale) -> list[dict[str, Any]]:
    """The program in words, up to its end."""
    found: list[dict[str, Any]] = []
    for kind, target, value, _ in rows_of(program):
        number = value / 10**scale.time
        if kind == RAMP:
            found.append({"ramp_k_per_min": number, "to_c": scale.celsius(target, "set-point")})
        elif kind == DWELL:
            found.append({"dwell_min": number})
        else:
            break
    return found


def checksum(program: Sequence[int]) -> int:
    """CRC-16 (CCITT) of the program's registers."""
    return binascii.crc_hqx(struct.pack(f">{len(program)}H", *program), 0)


def registers(content: str, count: int) -> list[int]:
    """Text as registers, two characters each. Raises ValueError when it does not fit."""
    if not content.isascii() or (content and not content.isprintable()) or len(content) > 2 * count:
        raise ValueError(f"{content[:70]!r} cannot be kept by the furnace: printable ASCII, at most {2 * count}")
    return list(struct.unpack(f">{count}H", content.encode("ascii").ljust(2 * count, b"\0")))


def text(values: Sequence[int]) -> str:
    """Registers as text; what is no text is told as question marks."""
    return struct.pack(f">{len(values)}H", *values).rstrip(b"\0").decode("ascii", "replace").replace("�", "?")


def double(values: Sequence[int]) -> int:
    """Two registers as a number, high word first."""
    return (values[0] << 16) + values[1]


def signed(raw: int) -> int:
    """A register as a number of both signs."""
    return raw - 0x10000 if raw & 0x8000 else raw


def word(value: int, what: str) -> int:
    """A number as a register; one that would be taken for "no measurement" is refused like one that is too large."""
    if not -0x8000 < value < 0x7FFF:
        raise DeviceRefused(f"{what} does not fit into a register of the controller")
    return value & 0xFFFF
