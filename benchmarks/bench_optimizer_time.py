"""(b) Time per proposal at 20, 100 and 500 observations, five components, beside the plain library.

Method: a five-component space with a dispenser's step of 0.5 %, observations drawn at
random with 1 % noise. Ours: one optimizer that is told of one more result each time, as in a
campaign; and a fresh one that has nothing but the history, as after a restart. Plain:
bayesian-optimization as its README uses it, on the box of the first four fractions. CPU time
of one process, median of several calls, first call left out.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import random
import statistics
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from itertools import islice

from campaigns.observations import Observations
from campaigns.optimizer import Objective, Observation
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.space import Component, CompositionSpace, Space

NAMES = "ABCDE"
GOAL = {"A": 0.3, "B": 0.25, "C": 0.2, "D": 0.15, "E": 0.1}
HIGH = Objective(quantity="y", unit="1", direction="maximize")
SPACE = Space(
    composition=CompositionSpace(
        components=tuple(Component(name=n, formula="C", high=Fraction(8, 10)) for n in NAMES), step=Fraction(1, 200)
    )
)


def observations(n: int) -> list[Observation]:
    """Random compositions with a noisy peak."""
    rng = random.Random(n)
    drawn = [c for _ in range(n) if (c := SPACE.draw(rng)) is not None]
    values = [
        1 - sum((float(c.fractions.get(k, 0)) - g) ** 2 for k, g in GOAL.items()) + rng.gauss(0, 0.01) for c in drawn
    ]
    return [
        Observation(number=i, candidate=c, value=v, u=0.01) for i, (c, v) in enumerate(zip(drawn, values, strict=True))
    ]


def going_on(n: int) -> Callable[[], object]:
    """One proposal of labctl in a campaign that goes on."""
    told, optimizer = iter(observations(n + 20)), BayesianOptimizer()
    history = Observations.of(SPACE, HIGH, islice(told, n - 1))

    def one() -> object:
        history.append(next(told))
        return optimizer.propose(SPACE, HIGH, history, [], 1, seed=1)

    return one


def restarted(history: list[Observation]) -> Callable[[], object]:
    """One proposal of labctl after a restart."""
    return lambda: BayesianOptimizer().propose(SPACE, HIGH, history, [], 1, seed=1)


def plain(history: list[Observation]) -> Callable[[], object]:
    """One proposal of the library alone."""
    from bayes_opt import BayesianOptimization

    bounds = dict.fromkeys(NAMES[:4], (0.0, 0.8))
    library = BayesianOptimization(None, bounds, random_state=1, verbose=0, allow_duplicate_points=True)
    for o in history:
        library.register({n: float(o.candidate.fractions.get(n, 0)) for n in NAMES[:4]}, o.value or 0.0)
    return library.suggest


def cpu_ms(work: Callable[[], object], calls: int) -> float:
    """Median CPU milliseconds of a call."""
    work()
    found = []
    for _ in range(calls):
        begin = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begin))
    return statistics.median(found)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("CPU ms per proposal, five components, one thread")
    print(f"{'observations':>12} {'labctl':>8} {'restarted':>10} {'plain library':>14}")
    for n, calls in ((20, 7), (100, 7), (500, 3)):
        history = observations(n)
        told = cpu_ms(going_on(n), 9), cpu_ms(restarted(history), calls), cpu_ms(plain(history), calls)
        print(f"{n:>12} {told[0]:>8.0f} {told[1]:>10.0f} {told[2]:>14.0f}")


if __name__ == "__main__":
    main()
