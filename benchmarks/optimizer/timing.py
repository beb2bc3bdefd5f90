"""CPU time per proposal at 20, 100 and 500 observations, and after a restart.

The harness' problem: a pool of 2,000 candidates, five settings. Each run is a process of its
own with one thread. "restart": the libraries are imported (timed apart), then a new object is
told of 500 observations and asked once; nothing was proposed in that process before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.optimizer import harness
from benchmarks.optimizer.pool import PEERS as POOL_PEERS
from benchmarks.optimizer.results import Run

REPEATS = 3
PROBLEMS = ("n=20", "n=100", "n=500", "restart at n=500")
PEERS = tuple(p for p in POOL_PEERS if p != "random")  # which takes no time
DEFAULT = ("labctl", "bo-ucb", "optuna-tpe", "baybe", "botorch-pool")

#: what a peer's first proposal loads
LIBRARIES = {
    "bo": ("bayes_opt",),
    "optuna": ("optuna",),
    "baybe": ("baybe", "baybe.campaign", "baybe.recommenders", "botorch"),
    "botorch": ("botorch", "botorch.acquisition", "botorch.models", "gpytorch.mlls"),
    "ax": ("ax.api.client",),
    "labctl": ("campaigns.optimizers.bayesian",),
}


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure; the times are of one problem, repeated."""
    return [
        Run(figure, peer, problem, seed)
        for peer in peers
        if peer in PEERS
        for seed in seeds[:REPEATS]
        for problem in PROBLEMS
    ]


def measure(run: Run) -> dict[str, Any]:
    """The times of one process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.optimizer.timing", run.peer, run.problem]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing = "ModuleNotFoundError" in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        raise ModuleNotFoundError(last, name=last.split("'")[-2]) if missing else RuntimeError(last)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def proposals(peer: str, n: int) -> dict[str, float]:
    """The harness' own measurement: told of n observations, asked some times."""
    found: dict[str, float] = harness.module("run_timing").one(POOL_PEERS[peer], [n])[n]
    return found


def restart(peer: str, n: int) -> dict[str, float]:
    """CPU milliseconds to know everything again and propose once."""
    import_ms = imported(peer)
    pool, make = problem(), harness.module("peers").get(POOL_PEERS[peer])
    begin = time.process_time()
    made = make(pool, 0)
    for i in range(n):
        made.tell(i, pool.y[i])
    made.ask()
    return {"cpu_ms": 1e3 * (time.process_time() - begin), "import_ms": import_ms}


def imported(peer: str) -> float:
    """CPU milliseconds that the imports take."""
    import importlib

    begin = time.process_time()
    for name in LIBRARIES[max((key for key in LIBRARIES if peer.startswith(key)), key=len)]:
        importlib.import_module(name)
    if peer.startswith("labctl"):
        from campaigns.optimizers.bayesian import import_libraries

        import_libraries()
    return 1e3 * (time.process_time() - begin)


def problem() -> Any:
    """The pool of the harness' `run_timing`, which has no name of its own there."""
    import numpy as np

    rng = np.random.default_rng(0)
    points = np.round(rng.random((2000, 5)) * 20) / 20
    values = -((points - 0.3) ** 2 * np.array([1, 2, 4, 0.5, 0.1])).sum(1) + 0.05 * rng.standard_normal(2000)
    return harness.module("datasets").Pool("timing", points, values, points.min(0), points.max(0), None, "public")


def main(peer: str, named: str) -> None:
    """One process: print its times."""
    n = int(named.split("=")[1])
    print(json.dumps(restart(peer, n) if named.startswith("restart") else proposals(peer, n)))


if __name__ == "__main__":
    main(*sys.argv[1:])
