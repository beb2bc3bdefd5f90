"""What an earlier campaign saves: experiments until a top-1 % result, with and without it.

Tasks: "oer": plate 3496 after plate 3851 (components that overlap); all its rows or 200 of
them. "alloy5", "alloy8": 60 earlier measurements of the same alloy with its peak moved by
0.05, 40 spread and 20 near its best; a result is in the top 1 % when so few of random
compositions are as good. Kinds: "none", "related", "misleading" (values negated); for the
plate also "few". Protocols: a, random start given; b, own start.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.optimizer import harness
from benchmarks.optimizer.adapters import Labctl, LabctlSimplex, compositions, weighed
from benchmarks.optimizer.adapters import wanted as objective
from benchmarks.optimizer.results import Run
from campaigns.optimizer import Earlier, Observation
from campaigns.space import Space

Array = np.ndarray[Any, Any]

BUDGET = 50
FEW, SPREAD, NEAR, SHIFT, NOISE = 200, 40, 20, 0.05, 0.02
GIVEN = {"a": 8, "b": 0}
PLATES = {
    "oer_3496": ("Ni", "Fe", "Co", "Mn", "Ce", "La"),
    "oer_3851": ("Ni", "Fe", "Co", "Ta", "Mn", "Cu"),
}
KINDS = {"oer": ("none", "related", "few", "misleading"), "alloy5": ("none", "related", "misleading")}
KINDS["alloy8"] = KINDS["alloy5"]
PROBLEMS = tuple(f"{task} {kind} {p}" for p in "ab" for task, kinds in KINDS.items() for kind in kinds)
PEERS = DEFAULT = ("labctl",)


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [Run(figure, peer, p, s) for peer in peers if peer in PEERS for s in seeds for p in PROBLEMS]


def measure(run: Run) -> dict[str, Any]:
    """Experiments until the first result in the top 1 %; one more than the budget when there was none."""
    task, kind, protocol = run.problem.split()
    good = plate(kind, run.seed, GIVEN[protocol]) if task == "oer" else alloy(task, kind, run.seed, GIVEN[protocol])
    return {"reached": int(np.argmax(good)) + 1 if any(good) else BUDGET + 1}


def history(space: Space, names: Sequence[str], shares: Array, values: Array) -> Earlier:
    """Measured compositions as an earlier campaign."""
    steps = space.composition.steps
    made = [
        Observation(number=i, candidate=weighed(names, x, steps), value=float(v))
        for i, (x, v) in enumerate(zip(shares, values, strict=True), start=1)
    ]
    return Earlier(name="earlier", space=space, objective=objective(), history=made)


# -- plates -------------------------------------------------------------------------------


def plate(kind: str, seed: int, given: int) -> list[bool]:
    """For each experiment on plate 3496, whether it was in the top 1 %."""
    pool = harness.module("datasets").load("oer_3496", str(harness.DATA))
    earlier = () if kind == "none" else (old_plate(kind, seed),)
    peer = type("Plate", (Labctl,), {"names": PLATES["oer_3496"], "arguments": arguments(earlier)})
    rng = np.random.default_rng([zlib.crc32(pool.name.encode()), seed])
    made, picks = peer(pool, seed), [int(i) for i in rng.choice(len(pool.y), given, replace=False)]
    for i in picks:
        made.tell(i, pool.y[i])
    while len(picks) < BUDGET:
        picks.append(made.ask())
        made.tell(picks[-1], pool.y[picks[-1]])
    best = set(np.argsort(-pool.y, kind="stable")[: int(np.ceil(0.01 * len(pool.y)))].tolist())
    return [i in best for i in picks]


def old_plate(kind: str, seed: int) -> Earlier:
    """Plate 3851, larger is better as in the harness."""
    table = np.loadtxt(harness.DATA / "oer_3851.csv", delimiter=",")
    if kind == "few":
        table = table[np.random.default_rng([13, seed]).choice(len(table), FEW, replace=False)]
    names = PLATES["oer_3851"]
    space = Space(composition=compositions(names, 1000))
    return history(space, names, table[:, :-1], table[:, -1] if kind == "misleading" else -table[:, -1])


def arguments(earlier: tuple[Earlier, ...]) -> dict[str, Any]:
    """What the optimizer is made with."""
    return {"budget": BUDGET, **({"earlier": earlier} if earlier else {})}


# -- alloys -------------------------------------------------------------------------------


def alloy(task: str, kind: str, seed: int, given: int) -> list[bool]:
    """For each experiment on an alloy, whether it was as good as one in a hundred random ones."""
    made = harness.module("run_simplex").Problem(task, seed)
    earlier = () if kind == "none" else (old_alloy(made, kind, seed),)
    peer = type("Alloy", (LabctlSimplex,), {"arguments": arguments(earlier)})(made.d, seed)
    rng = np.random.default_rng([7, zlib.crc32(task.encode()), seed])
    noise = NOISE * np.random.default_rng([8, seed]).standard_normal(BUDGET)
    points = list(rng.dirichlet(np.ones(made.d), given))
    peer.tell(points, [float(made.f(x)[0]) + noise[i] for i, x in enumerate(points)])
    while len(points) < BUDGET:
        (x,) = peer.ask(1)
        peer.tell([x], [float(made.f(x)[0]) + noise[len(points)]])
        points.append(x)
    level = np.quantile(made.f(np.random.default_rng(0).dirichlet(np.ones(made.d), 100_000)), 0.99)
    return [bool(v >= level) for v in made.f(np.array(points))]


def old_alloy(made: Any, kind: str, seed: int) -> Earlier:
    """An earlier campaign on the alloy with its peak moved."""
    rng = np.random.default_rng([17, made.d, seed])
    old = copy.deepcopy(made)
    old.c[0] = moved(made.c[0], rng)
    near = old.c[0] + 0.05 * rng.standard_normal((NEAR, made.d))
    points = np.vstack([rng.dirichlet(np.ones(made.d), SPREAD), np.clip(near, 0, None)])
    points /= points.sum(1, keepdims=True)
    values = old.f(points) + NOISE * rng.standard_normal(len(points))
    names = [f"x{i}" for i in range(made.d)]
    space = Space(composition=compositions(names, 1000))
    return history(space, names, points, -values if kind == "misleading" else values)


def moved(peak: Array, rng: Any) -> Array:
    """A composition at the distance of the shift, in a random direction that stays on the simplex."""
    while True:
        way = rng.standard_normal(len(peak))
        way -= way.mean()
        found = peak + SHIFT * way / np.linalg.norm(way)
        if found.min() >= 0:
            return found
