"""What every simulated machine is, whatever wire it speaks on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from instruments.sim.world import World


class Machine:
    """One machine over a world that it shares with others.

    Parameters
    ----------
    neighbours
        Names of the machines of each driver in this lab.
    """

    model = "X"
    scheme: ClassVar[str] = "tcp"  #: how its address begins

    def __init__(self, name: str, world: World, neighbours: dict[str, list[str]]) -> None:
        self.name = name
        self.world = world
        self.neighbours = neighbours
        self.mode_override: str | None = None  #: LOCAL, INTERLOCKED or FAULT, set from outside

    def mode(self) -> str:
        """Whether a program may start."""
        if self.mode_override:
            return self.mode_override
        last = self.world.memory.last(self.name)
        return "BUSY" if last is not None and not self.world.over(last) else "READY"

    def count(self) -> int:
        """Runs ever started."""
        last = self.world.memory.last(self.name)
        return last.number if last else 0

    def stop(self) -> None:
        """Stop what runs, if anything does."""
        last = self.world.memory.last(self.name)
        if last is not None and not self.world.over(last):
            self.world.memory.abort(self.name, last.number, self.world.clock.now())

    def truth(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What it would find without noise, for the judge of a test."""
        return {}
