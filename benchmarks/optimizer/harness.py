"""The harness and the laboratories' data that lie beside the checkout, used as they are."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("LABCTL_OPTIMIZER_BENCH", CHECKOUT.parent / "shared" / "optimizer-bench")).resolve()
DATA = FOLDER.parent / "data"


def missing() -> str | None:
    """What to say when harness or data are not there."""
    if (FOLDER / "run_pool.py").exists() and DATA.exists():
        return None
    return (
        f"The optimizer is measured with the harness in {FOLDER} and the data in {DATA}; they are not there.\n"
        "Set LABCTL_OPTIMIZER_BENCH to the harness' folder (its data lie in ../data beside it). Nothing was measured."
    )


def module(name: str) -> ModuleType:
    """A module of the harness: datasets, peers, run_pool, run_simplex, run_timing, report."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    return importlib.import_module(name)
