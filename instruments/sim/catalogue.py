"""Simulated labs by name, from the entry points ``labctl.simulators``: ours and third parties'."""

from __future__ import annotations

from importlib.metadata import entry_points

from instruments.sim.machine import Machine

GROUP = "labctl.simulators"


def names() -> list[str]:
    """Simulated labs that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def machines(name: str) -> dict[str, type[Machine]]:
    """Driver -> the simulated machine that stands behind it. Raises KeyError for an unknown lab."""
    found: dict[str, type[Machine]] = entry_points(group=GROUP)[name].load()
    return found
