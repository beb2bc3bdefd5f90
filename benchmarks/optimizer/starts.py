"""Peers of the harness with the start that is their own, for protocol B.

Told of earlier rows first (protocol A), each is the harness' own class: what is added here
only answers while nothing, or too little, is known. BayBE draws from numpy's and torch's
global state, which is set to the seed here; the harness leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.optimizer import harness

peers: Any = harness.module("peers")
simplex: Any = harness.module("run_simplex")

INIT_POINTS = 5  #: random points with which the plain library begins (`maximize`, its default)
ROWS = 8  #: random rows for peers that bring no start of their own, as in protocol A
Array = np.ndarray[Any, Any]


def seed_baybe(seed: int) -> None:
    """BayBE's own way to be repeatable."""
    from baybe.utils.random import set_random_seed

    set_random_seed(seed)


class PlainLibrary(peers.Base):
    """As shipped: a few random points in its box, the nearest row measured, then `suggest`."""

    def ask(self) -> int:
        if len(self.idx) < INIT_POINTS:
            low, high = self.p.lo[: self.k], self.p.hi[: self.k]
            return int(self.nearest(self.rng.uniform(low, high)))
        return int(super().ask())


class BoUcb(PlainLibrary, peers.PEERS["bo-ucb"]):
    """Its README."""


class BoEi(PlainLibrary, peers.PEERS["bo-ei"]):
    """Its README, expected improvement."""


class RandomRows(peers.Base):
    """Some random rows, for peers without a start."""

    def ask(self) -> int:
        return int(self.rng.choice(self.free)) if len(self.idx) < ROWS else int(super().ask())


class BoTuned(RandomRows, peers.PEERS["bo-tuned-ei-pool"]):
    """The library at its best."""


class BoTorchPool(RandomRows, peers.BoTorchPool):
    """BoTorch's default model over the pool."""


class BayBE(peers.BayBE):
    """Its default recommender, which begins with a random row."""

    def start(self) -> None:
        seed_baybe(self.seed)
        super().start()

    def ask(self) -> int:
        if self.idx:
            return int(super().ask())
        return int(self.lookup[tuple(self.c.recommend(1).to_numpy()[0])])


class PlainSimplex(simplex.BoNorm):
    """The library on a box, normalised; its first points are random in the box."""

    def __init__(self, d: int, seed: int) -> None:
        super().__init__(d, seed)
        self.rng, self.known = np.random.default_rng(seed), 0

    def tell(self, xs: Sequence[Array], ys: Sequence[float]) -> None:
        self.known += len(xs)
        super().tell(xs, ys)

    def ask(self, q: int) -> list[Array]:
        drawn = [self.rng.uniform(1e-9, 1, len(self.n)) for _ in range(q)]
        return [x / x.sum() for x in drawn] if self.known < INIT_POINTS else list(super().ask(q))


class BayBESimplex(simplex.BayBES):
    """A sum constraint and a joint batch; begins with random compositions."""

    def tell(self, xs: Sequence[Array], ys: Sequence[float]) -> None:
        if len(xs):
            super().tell(xs, ys)


class AxSimplex(simplex.AxS):
    """A sum constraint; while it designs its start it hands out one composition at a time."""

    def __init__(self, d: int, seed: int) -> None:
        super().__init__(d, seed)
        self.known = 0

    def tell(self, xs: Sequence[Array], ys: Sequence[float]) -> None:
        self.known += len(xs)
        super().tell(xs, ys)

    def ask(self, q: int) -> list[Array]:
        if self.known >= INIT_POINTS:
            return list(super().ask(q))
        out, opened = [], []
        for _ in range(q):
            out += super().ask(1)
            opened += self.open
        self.open = opened
        return out
