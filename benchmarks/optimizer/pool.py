"""Public data sets, measured rows only: protocol A (eight rows given) and B (own start)."""

from __future__ import annotations

from typing import Any

from benchmarks.optimizer import harness
from benchmarks.optimizer.results import Run

SETS = ("p3ht", "agnp", "perovskite", "crossed_barrel", "oer_3496", "photo_pce10")
BUDGET = 50
GIVEN = {"pool-a": 8, "pool-b": 0}

#: peer: class in the harness, or one of ours around it
PEERS = {
    "labctl": "benchmarks.optimizer.adapters:Labctl",
    "labctl-many": "benchmarks.optimizer.adapters:LabctlMany",
    "random": "random",
    "bo-ucb": "benchmarks.optimizer.starts:BoUcb",
    "bo-ei": "benchmarks.optimizer.starts:BoEi",
    "bo-tuned-ei-pool": "benchmarks.optimizer.starts:BoTuned",
    "optuna-tpe": "optuna-tpe",
    "baybe": "benchmarks.optimizer.starts:BayBE",
    "botorch-pool": "benchmarks.optimizer.starts:BoTorchPool",
    "ax": "ax",
}
DEFAULT = tuple(p for p in PEERS if p != "bo-ei")
FEW = {"ax": 2}  #: peers too slow for all seeds


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [Run(figure, p, s, i) for p in peers if p in PEERS for i in seeds[: FEW.get(p)] for s in SETS]


def measure(run: Run) -> dict[str, Any]:
    """The rows that one peer picked, and what each pick cost."""
    pool = harness.module("datasets").load(run.problem, str(harness.DATA))
    picks, seconds = harness.module("run_pool").run(PEERS[run.peer], pool, run.seed, GIVEN[run.figure], BUDGET)
    return {"picks": picks, "cpu_ms": [round(1e3 * cpu, 2) for _, cpu in seconds]}
