"""Part of the space cannot be made: 30 % of the rows of each public set fail when tried.

The region is a half-space (even seeds) or a ball (odd seeds) in the scaled inputs, drawn
with the seed. A row in it uses up an experiment and tells only that it failed. Three kinds
of run: "fails"; "free": nothing fails, scored on the same top set; "known": the region was
left out from the beginning, which no optimizer can know. The top set is the best 5 % of the
rows that can be made. Protocols: a, eight rows given; b, own start.
"""

from __future__ import annotations

import dataclasses
import time
import zlib
from typing import Any

import numpy as np

from benchmarks.optimizer import harness
from benchmarks.optimizer.pool import BUDGET, SETS
from benchmarks.optimizer.pool import PEERS as POOL_PEERS
from benchmarks.optimizer.results import Run

Array = np.ndarray[Any, Any]

SHARE, AFTER = 0.3, 20
GIVEN = {"a": 8, "b": 0}
KINDS = ("fails", "free", "known")
PROBLEMS = tuple(f"{name} {kind} {p}" for p in "ab" for kind in KINDS for name in SETS)
PEERS = ("labctl", "labctl-many", "random")
DEFAULT = PEERS


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [Run(figure, peer, p, s) for peer in peers if peer in PEERS for s in seeds for p in PROBLEMS]


def region(pool: Any, seed: int) -> Array:
    """Which rows cannot be made."""
    rng = np.random.default_rng([5, zlib.crc32(pool.name.encode()), seed])
    scaled = (pool.X - pool.X.mean(0)) / np.maximum(pool.X.std(0), 1e-12)
    towards = scaled @ rng.standard_normal(scaled.shape[1])
    middle = scaled[rng.integers(len(scaled))]
    reach = -np.linalg.norm(scaled - middle, axis=1) if seed % 2 else towards
    bad = np.zeros(len(scaled), bool)
    bad[np.argsort(-reach, kind="stable")[: round(SHARE * len(scaled))]] = True
    return bad


def top(pool: Any, bad: Array) -> Array:
    """The best 5 % of the rows that can be made."""
    order = [i for i in np.argsort(-pool.y, kind="stable") if not bad[i]]
    return np.array(order[: int(np.ceil(0.05 * len(order)))])


def without(pool: Any, bad: Array) -> Any:
    """The pool of the rows that can be made."""
    return dataclasses.replace(pool, X=pool.X[~bad], y=pool.y[~bad])


def measure(run: Run) -> dict[str, Any]:
    """Share of the top set found, and how often the region was tried."""
    name, kind, protocol = run.problem.split()
    pool = harness.module("datasets").load(name, str(harness.DATA))
    bad = region(pool, run.seed)
    rows, fails = np.arange(len(bad)), bad & (kind == "fails")
    if kind == "known":
        rows, fails, pool, bad = rows[~bad], fails[~bad], without(pool, bad), bad[~bad]
    best = set(top(pool, bad).tolist())
    picks, spent = carry_out(run, pool, fails, given(pool, run.seed, GIVEN[protocol]))
    return {
        "picks": [int(rows[i]) for i in picks],
        "cpu_ms": spent,
        "top": len(best & set(picks)) / min(len(best), BUDGET),
        "tried": float(np.mean(bad[picks[AFTER:]])),
    }


def given(pool: Any, seed: int, n: int) -> list[int]:
    """Random rows that all peers share, as in the harness."""
    rng = np.random.default_rng([zlib.crc32(pool.name.encode()), seed])
    return [int(i) for i in rng.choice(len(pool.y), n, replace=False)]


def carry_out(run: Run, pool: Any, fails: Array, picks: list[int]) -> tuple[list[int], list[float]]:
    """All picks of one run, the given ones first."""
    peer = harness.module("peers").get(POOL_PEERS[run.peer])(pool, run.seed)
    told, spent = 0, []
    while len(picks) < BUDGET:
        begin = time.process_time()
        for i in picks[told:]:
            tell(peer, i, None if fails[i] else float(pool.y[i]))
        told = len(picks)
        picks.append(int(peer.ask()))
        spent.append(round(1e3 * (time.process_time() - begin), 2))
    if len(set(picks)) < BUDGET:
        raise ValueError("a row was picked twice")
    return picks, spent


def tell(peer: Any, i: int, y: float | None) -> None:
    """A value, or that there is none: random search only needs to know what it tried."""
    peer.tell(i, float("nan") if y is None and not hasattr(peer, "history") else y)
