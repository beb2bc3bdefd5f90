"""A proposal after 5,000 observations: seconds and peak memory of a process of its own.

Two spaces of five components: a dispenser's grid of 0.5 %, and a list of 20,000 candidates
on it. Peers are left out: the table of the issue names none.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.bench_optimizer_time import GOAL, HIGH, SPACE
from benchmarks.optimizer.results import Run
from campaigns.candidate import Candidate
from campaigns.optimizer import Observation
from campaigns.optimizers.bayesian import BayesianOptimizer, import_libraries
from campaigns.space import Space

OBSERVATIONS, LISTED = 5000, 20_000
REPEATS = 3
PROBLEMS = ("grid", "list")
PEERS = DEFAULT = ("labctl",)


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [Run(figure, peer, p, s) for peer in peers if peer in PEERS for p in PROBLEMS for s in seeds[:REPEATS]]


def measure(run: Run) -> dict[str, Any]:
    """Seconds and megabytes of one process."""
    command = [sys.executable, "-m", "benchmarks.optimizer.size", run.problem, str(run.seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_mb() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def history_of(drawn: list[Candidate], rng: random.Random) -> list[Observation]:
    """Each candidate measured once, with 1 % noise."""
    true = [1 - sum((float(c.fractions.get(k, 0)) - g) ** 2 for k, g in GOAL.items()) for c in drawn]
    return [
        Observation(number=i, candidate=c, value=v + rng.gauss(0, 0.01), u=0.01)
        for i, (c, v) in enumerate(zip(drawn, true, strict=True), start=1)
    ]


def main(kind: str, seed: int) -> None:
    """One process: print its figures."""
    import_libraries()
    rng = random.Random(seed)
    drawn = list(dict.fromkeys(SPACE.draw(rng) for _ in range(LISTED)))
    space = Space(composition=SPACE.composition, pool=tuple(drawn)) if kind == "list" else SPACE
    history = history_of(drawn[:OBSERVATIONS], rng)
    before, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
    BayesianOptimizer().propose(space, HIGH, history, [], 1, seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "before_mb": before, "n": len(history)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
