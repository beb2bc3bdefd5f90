"""Named places where a test may kill the process: one after each durable or physical step.

    LABCTL_CRASH="rows committed:2" labctl campaign run campaigns/conductivity.toml

kills the worker with SIGKILL when it passes "rows committed" for the second time. Only a
worker arms it; everywhere else, and without the variable, a point does nothing.
`tests/crash` finds all points in the sources, and fails where one is never struck.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "LABCTL_CRASH"


class Trap:
    """Kills this process at the Nth passage of one point."""

    def __init__(self, name: str, passages: int) -> None:
        self.name = name
        self.left = passages

    def passed(self, name: str) -> None:
        """Count down if it is ours."""
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_trap: Trap | None = None


def crashpoint(name: str) -> None:
    """Pass the point of that name. Each name stands at one place in the sources."""
    if _trap is not None:
        _trap.passed(name)


def arm(order: str | None) -> None:
    """Set the trap that `order` names as ``NAME:N``; none disarms.

    Raises
    ------
    ValueError
        It is no such order.
    """
    global _trap  # one process has one trap
    _trap = parse(order) if order else None


def parse(order: str) -> Trap:
    """``NAME:N`` as a trap. Raises ValueError."""
    name, _, passages = order.rpartition(":")
    if not name or not passages.isdecimal() or int(passages) < 1:
        raise ValueError(f"{VARIABLE} = {order!r} is no crash order; write NAME:N, for example 'rows committed:2'")
    return Trap(name, int(passages))
