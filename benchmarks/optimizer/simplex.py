"""Continuous compositions, noisy: the harness' problems, in batches of four and one at a time.

A problem is named "alloy5 q4 a": its name in the harness, the batch, and the protocol (a: ten
random compositions given; b: own start). Regret is a share of the true maximum, which the
harness knows for hart7 (3.32237; notes/optimizers-2.md speaks of an earlier normaliser).
"""

from __future__ import annotations

from typing import Any

from benchmarks.optimizer import harness
from benchmarks.optimizer.results import Run

BUDGET = 60
GIVEN = {"a": 10, "b": 0}
PROBLEMS = tuple(f"{name} q{q} {p}" for p in "ab" for q in (4, 1) for name in ("alloy5", "alloy8", "hart7"))

PEERS = {
    "labctl": "benchmarks.optimizer.adapters:LabctlSimplex",
    "labctl-many": "benchmarks.optimizer.adapters:LabctlSimplexMany",
    "random": "random",
    "optuna-tpe": "optuna-tpe",
    "bo-norm": "benchmarks.optimizer.starts:PlainSimplex",
    "baybe": "benchmarks.optimizer.starts:BayBESimplex",
    "ax": "benchmarks.optimizer.starts:AxSimplex",
}
DEFAULT = tuple(p for p in PEERS if p not in ("ax", "labctl-many"))
FEW = {"baybe": 5, "ax": 2}  #: peers too slow for all seeds
SEQUENTIAL = {"baybe": (), "ax": (), "bo-norm": ("hart7",)}  #: and what they do one at a time; others all


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [
        Run(figure, peer, problem, seed)
        for peer in peers
        if peer in PEERS
        for seed in seeds[: FEW.get(peer)]
        for problem in PROBLEMS
        if "q4" in problem or problem.split()[0] in SEQUENTIAL.get(peer, problem)
    ]


def measure(run: Run) -> dict[str, Any]:
    """The regret after each evaluation, and what each batch cost."""
    name, q, protocol = run.problem.split()
    found = harness.module("run_simplex").run(
        PEERS[run.peer], name, run.seed, int(q[1:]), n_init=GIVEN[protocol], budget=BUDGET
    )
    return {key: found[key] for key in ("regret", "cpu_ms", "infeasible")}
