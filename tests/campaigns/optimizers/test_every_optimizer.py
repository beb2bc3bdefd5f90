"""The promises of an optimizer, kept by each of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Optimizer
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.optimizers.random_search import RandomSearch
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter
from campaigns.space import Component, CompositionSpace, Space

HIGH = Objective(quantity="y", unit="1", direction="maximize")
LOW = Objective(quantity="y", unit="1", direction="minimize")
MIX = Space(
    composition=CompositionSpace(
        components=tuple(Component(name=n, formula="C", low=Fraction(0), high=Fraction(8, 10)) for n in "ABCD"),
        step=Fraction(1, 50),
    )
)
MIXED = Space(
    composition=MIX.composition,
    process=(
        FloatParameter(name="temperature", low=20, high=80),
        IntegerParameter(name="cycles", low=1, high=9),
        CategoricalParameter(name="gas", choices=("Ar", "N2", "air")),
    ),
)
GOAL = {"A": 0.44, "B": 0.3, "C": 0.2, "D": 0.06}


def quality(candidate: Candidate) -> float:
    """A smooth peak inside the space."""
    return 1.0 - 3.0 * sum((float(candidate.fractions.get(n, 0)) - g) ** 2 for n, g in GOAL.items())


def observations(space: Space, n: int, *, sign: float = 1.0, seed: int = 0) -> list[Observation]:
    rng = random.Random(seed)
    drawn = [c for _ in range(n) if (c := space.draw(rng)) is not None]
    return [Observation(number=i, candidate=c, value=sign * quality(c), u=0.01) for i, c in enumerate(drawn, 1)]


@pytest.fixture(params=[RandomSearch, BayesianOptimizer], ids=["random", "bayesian"])
def optimizer(request: pytest.FixtureRequest) -> Optimizer:
    made: Optimizer = request.param()
    return made


@pytest.mark.parametrize("space", [MIX, MIXED], ids=["composition", "with process settings"])
@pytest.mark.parametrize("known", [0, 3, 25])
def test_every_proposal_can_be_made_and_is_new(optimizer: Optimizer, space: Space, known: int) -> None:
    history = observations(space, known)
    pending = [o.candidate for o in observations(space, 3, seed=9)]
    proposals = optimizer.propose(space, HIGH, history, pending, 4, seed=1)
    candidates = [p.candidate for p in proposals]
    assert len(candidates) == len(set(candidates)) == 4
    assert all(space.problems(c) == [] for c in candidates)
    assert all(sum(c.fractions.values()) == 1 for c in candidates)
    assert not set(candidates) & ({o.candidate for o in history} | set(pending))


@pytest.mark.parametrize("known", [2, 20])
def test_the_order_of_arrival_does_not_matter(optimizer: Optimizer, known: int) -> None:
    history = observations(MIX, known)
    pending = [o.candidate for o in observations(MIX, 3, seed=9)]
    first = optimizer.propose(MIX, HIGH, history, pending, 2, seed=1)
    assert optimizer.propose(MIX, HIGH, history[::-1], pending[::-1], 2, seed=1) == first


@pytest.mark.parametrize("told", [25, 24], ids=["all", "all but one that failed"])
def test_a_day_that_all_measurements_share_explains_nothing(optimizer: Optimizer, told: int) -> None:
    history = observations(MIX, 25)
    days = [replace(o, block="2026-01-05") for o in history[:told]]
    without, with_day = history[:told], days
    if told < 25:
        lost = replace(history[-1], value=None, u=None)
        without, with_day = [*without, lost], [*with_day, lost]
    expected = optimizer.propose(MIX, HIGH, without, [], 2, seed=1)
    assert optimizer.propose(MIX, HIGH, with_day, [], 2, seed=1) == expected


def test_another_seed_gives_another_proposal(optimizer: Optimizer) -> None:
    assert optimizer.propose(MIX, HIGH, [], [], 3, seed=1) != optimizer.propose(MIX, HIGH, [], [], 3, seed=2)


IN_ANOTHER_PROCESS = """
import json, sys
from tests.campaigns.optimizers.test_every_optimizer import *
made = {"RandomSearch": RandomSearch, "BayesianOptimizer": BayesianOptimizer}[sys.argv[1]]()
print(json.dumps(as_json(made.propose(MIX, HIGH, observations(MIX, 20), [], 2, seed=1))))
"""


def as_json(proposals: Any) -> Any:
    return [
        [{n: str(f) for n, f in p.candidate.fractions.items()}, p.predicted, p.predicted_u, p.gain] for p in proposals
    ]


def test_another_process_gives_the_same_proposal_bit_for_bit(optimizer: Optimizer) -> None:
    here = as_json(optimizer.propose(MIX, HIGH, observations(MIX, 20), [], 2, seed=1))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, type(optimizer).__name__]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(there) == json.loads(json.dumps(here))


def test_a_space_that_is_nearly_used_up_gives_what_is_left(optimizer: Optimizer) -> None:
    pool = tuple(Candidate({"A": Fraction(i, 10), "B": Fraction(10 - i, 10)}) for i in range(11))
    parts = tuple(Component(name=n, formula="C") for n in "AB")
    space = Space(composition=CompositionSpace(components=parts, step=Fraction(1, 10)), pool=pool)
    history = [Observation(number=i, candidate=c, value=float(i)) for i, c in enumerate(pool[:9])]
    assert {p.candidate for p in optimizer.propose(space, HIGH, history, [], 5, seed=1)} == set(pool[9:])
    everything = [Observation(number=i, candidate=c, value=float(i)) for i, c in enumerate(pool)]
    assert optimizer.propose(space, HIGH, everything, [], 5, seed=1) == []


def test_to_minimise_is_to_maximise_the_mirror_image() -> None:
    optimizer = BayesianOptimizer()
    up = optimizer.propose(MIX, HIGH, observations(MIX, 15), [], 2, seed=1)
    down = optimizer.propose(MIX, LOW, observations(MIX, 15, sign=-1.0), [], 2, seed=1)
    assert [p.candidate for p in up] == [p.candidate for p in down]
    assert up[0].predicted == pytest.approx(-(down[0].predicted or 0.0))


def run(
    optimizer: Optimizer, seed: int, fails: Callable[[Candidate], bool] = lambda c: False
) -> tuple[float, list[Observation]]:
    """Thirty experiments with a little noise: the true quality of the best one, and all of them."""
    noise, history = random.Random(seed), []
    for number in range(1, 31):
        (proposal,) = optimizer.propose(MIX, HIGH, history, [], 1, seed)
        value = None if fails(proposal.candidate) else quality(proposal.candidate) + noise.gauss(0, 0.01)
        history.append(Observation(number=number, candidate=proposal.candidate, value=value, u=0.01))
    return max(quality(o.candidate) for o in history if not o.failed), history


def test_it_finds_the_peak_where_random_search_does_not() -> None:
    ours = [run(BayesianOptimizer(), seed)[0] for seed in range(3)]
    by_chance = [run(RandomSearch(), seed)[0] for seed in range(3)]
    assert min(ours) > 0.985
    assert sum(ours) > sum(by_chance)


def test_it_learns_where_nothing_can_be_made() -> None:
    def fails(candidate: Candidate) -> bool:
        return candidate.fractions.get("D", Fraction(0)) > Fraction(1, 4)

    runs = [run(BayesianOptimizer(), seed, fails) for seed in range(4, 8)]
    assert min(best for best, _ in runs) > 0.97
    assert sum(o.failed for _, history in runs for o in history[15:]) <= 16  # of 60; at random 25


def test_what_was_weighed_is_learned_not_what_was_asked_for() -> None:
    shifted = [
        Observation(
            number=o.number,
            candidate=o.candidate,
            value=o.value,
            u=0.01,
            actual={"A": 0.25, "B": 0.25, "C": 0.25, "D": 0.25},
        )
        for o in observations(MIX, 12)
    ]
    (asked,) = BayesianOptimizer(initial=1).propose(MIX, HIGH, observations(MIX, 12), [], 1, seed=1)
    (made,) = BayesianOptimizer(initial=1).propose(MIX, HIGH, shifted, [], 1, seed=1)
    assert asked != made


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    history = observations(MIX, 12)
    again = [Observation(number=100 + o.number, candidate=o.candidate, value=o.value) for o in history]
    BayesianOptimizer().propose(MIX, HIGH, [*history, *again], [], 2, seed=1)
    assert capfd.readouterr() == ("", "")
