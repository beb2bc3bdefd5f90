"""Whether "with 80 % probability the best possible is within X" is true 80 % of the time.

Method: 200 simulated campaigns in compositions of three to eight components, one narrow peak
and four broad decoys that move with the seed, 2 % noise, batches of four. At 20, 32 and 48
results the optimizer is asked for its outlook (`Outlook.distance`); the truth is the peak
minus the true value of the sample that it takes for the best. Arguments: campaigns, first seed.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.space import Component, CompositionSpace, Space

WIDTHS = {3: 0.12, 4: 0.14, 5: 0.16, 6: 0.18, 8: 0.20}
STATED, AT, NOISE, SIZE = (0.5, 0.8, 0.95), (20, 32, 48), 0.02, 4
HIGH = Objective(quantity="y", unit="1", direction="maximize")


def landscape(d: int, seed: int):
    """A function of fractions whose highest value is 1."""
    rng = np.random.default_rng([d, seed])
    centres = np.vstack([rng.dirichlet(np.full(d, 0.8)) * 0.85 + 0.15 / d, rng.dirichlet(np.full(d, 0.8), 4)])
    heights = np.concatenate([[1.0], rng.uniform(0.35, 0.75, 4)])
    widths = np.concatenate([[WIDTHS[d]], rng.uniform(0.25, 0.45, 4)])

    def f(x):
        square = ((np.atleast_2d(x)[:, None] - centres[None]) ** 2).sum(-1)
        return (heights * np.exp(-square / (2 * widths**2))).sum(1)

    z = np.vstack([rng.dirichlet(np.ones(d), 4000), centres])
    for size in (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005):
        best = z[np.argsort(-f(z))[:20]]
        near = np.abs(np.repeat(best, 40, axis=0) + size * rng.standard_normal((800, d)))
        z = np.vstack([best, near / near.sum(1, keepdims=True)])
    top = f(z).max()
    return lambda x: f(x) / top


def campaign(d: int, seed: int) -> dict[int, list[bool]]:
    """One campaign: at each number of results, which stated intervals held the truth."""
    f, names = landscape(d, seed), [f"x{i}" for i in range(d)]
    parts = tuple(Component(name=n, formula="C") for n in names)
    space = Space(composition=CompositionSpace(components=parts, step=Fraction(1, 500)))
    optimizer, noise = BayesianOptimizer(budget=60), np.random.default_rng([seed, 1])
    history: list[Observation] = []
    held = {}
    while len(history) <= max(AT):
        if len(history) in AT:
            outlook = optimizer.outlook(space, HIGH, history, seed)
            best = next(o.candidate for o in history if o.number == outlook.best_number)
            left = 1.0 - float(f(fractions(best, names))[0])
            held[len(history)] = [left <= outlook.distance(p) for p in STATED]
        for p in optimizer.propose(space, HIGH, history, [], SIZE, seed):
            value = float(f(fractions(p.candidate, names))[0]) + NOISE * noise.standard_normal()
            history.append(Observation(number=len(history) + 1, candidate=p.candidate, value=value))
    return held


def fractions(candidate: Candidate, names: list[str]) -> np.ndarray:
    """All fractions in order."""
    return np.array([float(candidate.fractions.get(n, 0)) for n in names])


def main(campaigns: int = 200, first: int = 1000) -> None:
    """Print the table."""
    sizes = list(WIDTHS)
    found = [campaign(sizes[i % len(sizes)], first + i) for i in range(campaigns)]
    print(
        f"{campaigns} campaigns, seeds from {first}; share of them in which the best possible was within the stated distance"
    )
    print(f"{'results':>8} " + " ".join(f"stated {p:.0%}".rjust(11) for p in STATED))
    for n in AT:
        held = np.array([f[n] for f in found], dtype=float)
        print(f"{n:>8} " + " ".join(f"{v:11.2f}" for v in held.mean(0)))
    every = np.array([row for f in found for row in f.values()], dtype=float)
    print(f"{'all':>8} " + " ".join(f"{v:11.2f}" for v in every.mean(0)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
