"""The figures, and which file measures each."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.optimizer.results import Run

FIGURES = {
    "pool-a": "pool",
    "pool-b": "pool",
    "simplex": "simplex",
    "timing": "timing",
    "size": "size",
    "pareto": "pareto",
    "failing": "failing",
    "transfer": "transfer",
}


def module(figure: str) -> Any:
    """The file behind a figure."""
    return importlib.import_module(f"benchmarks.optimizer.{FIGURES[figure]}")


def measure(run: Run) -> dict[str, Any]:
    """One run, in a process of its own."""
    measured: dict[str, Any] = module(run.figure).measure(run)
    return measured
