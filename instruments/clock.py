"""The only place that reads time.

Everything else is handed a `Clock`, so that a test or a forecast can run a month of
laboratory work in a moment. Lab time is what durations, stamps and set-points mean;
wall time is what a socket time-out means.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Time as one process sees it."""

    def now(self) -> datetime:
        """Lab time, timezone-aware UTC. For labels and due times, never for deadlines on a wire."""

    def monotonic(self) -> float:
        """Wall seconds that never run backwards. For time-outs."""

    def elapsed(self) -> float:
        """Lab seconds that never run backwards. For waits, shares and ageing."""

    async def sleep(self, lab_seconds: float) -> None:
        """Wait until `lab_seconds` of lab time have passed."""


class WallClock:
    """Real time: lab time and wall time are one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic()

    async def sleep(self, lab_seconds: float) -> None:
        await asyncio.sleep(max(0.0, lab_seconds))


class ScaledClock:
    """Lab time that runs `speed` times faster than the wall, for a simulated lab.

    Parameters
    ----------
    origin
        Lab time at the moment of construction.
    speed
        Lab seconds per wall second, above 0.
    """

    def __init__(self, origin: datetime, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed!r}")
        self.speed = speed
        self._origin = origin
        self._started = time.monotonic()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=self.elapsed())

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        return self.speed * (time.monotonic() - self._started)

    async def sleep(self, lab_seconds: float) -> None:
        await asyncio.sleep(max(0.0, lab_seconds) / self.speed)


class LoopClock:
    """Lab time that is the running event loop's time.

    Under a virtual-time event loop (async-solipsism) the loop jumps to the next timer
    whenever nothing else is left to do, so a month passes as fast as its events can be
    handled, and always in the same order.
    """

    def __init__(self, origin: datetime) -> None:
        self._origin = origin

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def elapsed(self) -> float:
        return self.monotonic()

    async def sleep(self, lab_seconds: float) -> None:
        await asyncio.sleep(max(0.0, lab_seconds))
