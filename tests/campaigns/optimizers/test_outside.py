"""Optimizers of other libraries keep the promises of the seam, where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from campaigns.campaign_faults import optimizer_faults
from campaigns.candidate import Candidate
from campaigns.optimizer import Measured, Objective, Optimizer
from campaigns.optimizers import drawn
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from campaigns.plan import Plan
from campaigns.space import Space
from labctl import optimizers
from labctl.errors import UsageError
from tests.campaigns.optimizers.test_every_optimizer import GOAL, HIGH, MIX, MIXED, observations, quality
from tests.virtual_lab import campaign

OUTSIDE = {"botorch": "BoTorchOptimizer", "baybe": "BayBEOptimizer"}


@pytest.fixture(params=list(OUTSIDE))
def outside(request: pytest.FixtureRequest) -> Callable[..., Optimizer]:
    pytest.importorskip(request.param)
    made: Callable[..., Optimizer] = getattr(
        importlib.import_module(f"campaigns.optimizers.{request.param}"), OUTSIDE[request.param]
    )
    return made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("space", [MIX, MIXED], ids=["composition", "with process settings"])
def test_every_proposal_can_be_made_and_is_new_and_the_same_in_any_order(
    outside: Callable[..., Optimizer], space: Space
) -> None:
    history, pending = observations(space, 12), [o.candidate for o in observations(space, 2, seed=9)]
    found = outside(initial=5).propose(space, HIGH, history, pending, 2, seed=1)
    assert outside(initial=5).propose(space, HIGH, history[::-1], pending[::-1], 2, seed=1) == found
    candidates = [p.candidate for p in found]
    assert len(set(candidates)) == 2
    assert all(space.problems(c) == [] for c in candidates)
    assert not set(candidates) & ({o.candidate for o in history} | set(pending))
    assert all(quality(c) > 0.5 for c in candidates)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("combine", ["pareto", "weighted"])
def test_several_objectives_are_served(outside: Callable[..., Optimizer], combine: Any) -> None:
    """Much C is wanted beside quality, which is best at C = 0.2: no candidate that something known beats."""
    wanted = replace(HIGH, others=(Objective(quantity="C", unit="1", direction="maximize"),), combine=combine)

    def values(c: Candidate) -> tuple[float, float]:
        return quality(c), float(c.fractions.get("C", 0))

    history = [replace(o, others={"C": Measured(values(o.candidate)[1])}) for o in observations(MIX, 16)]
    incomplete = replace(history[3], others={})
    history[3] = incomplete
    found = outside(initial=5).propose(MIX, wanted, history, [], 2, seed=1)
    assert outside(initial=5).propose(MIX, wanted, history[::-1], [], 2, seed=1) == found
    known = [values(o.candidate) for o in history if o is not incomplete]
    candidates = [p.candidate for p in found]
    assert len(set(candidates)) == 2
    for q, c in map(values, candidates):
        assert not any(q < a - 0.05 and c < b - 0.05 for a, b in known)


@pytest.mark.parametrize("name", list(OUTSIDE))
def test_a_library_that_is_not_installed_is_one_clear_error(name: str) -> None:
    if find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(UsageError) as caught:
        optimizers.optimizer(Plan.from_spec(campaign(optimizer={"name": name})))
    assert caught.value.message == f"the optimizer '{name}' needs the package {name}, which is not installed"
    assert caught.value.hint == f"pip install 'labctl[{name}]', or write name = \"bayesian\""


def test_the_candidates_that_others_choose_from_are_feasible_and_open() -> None:
    taken = [o.candidate for o in observations(MIXED, 4)]
    found = drawn.choices(MIXED, taken, 1, 2)
    assert len(found) > 1000
    assert all(MIXED.problems(c) == [] for c in found[:50])
    assert not set(found) & set(taken)
    assert drawn.choices(MIXED, taken, 1, 2) == found
    assert drawn.coordinates(MIXED, found[:3]).shape == (3, 4 + 2 + 3)


def test_what_was_weighed_replaces_what_was_asked_for() -> None:
    candidate = observations(MIX, 1)[0].candidate
    (row,) = drawn.coordinates(MIX, [candidate], [GOAL])
    assert list(row) == list(GOAL.values())


def test_a_distance_is_a_merit_too() -> None:
    aim = Objective(quantity="y", unit="1", direction="maximize", goal="target", band=(0.4, 0.5))
    (o,) = observations(MIX, 1)
    worth = drawn.merit(aim, o)
    assert worth == pytest.approx(-max(0.4 - quality(o.candidate), quality(o.candidate) - 0.5, 0.0))


def pool() -> Space:
    rows = [
        Candidate(c.fractions, {"temperature": t, "cycles": 1, "gas": "Ar"})
        for c in (o.candidate for o in observations(MIX, 6))
        for t in (20.0, 30.0)
    ]
    return Space(composition=MIXED.composition, process=MIXED.process, pool=tuple(rows))


@pytest.mark.parametrize(("space", "size"), [(MIXED, 8), (pool(), 6)], ids=["drawn", "of a list"])
def test_any_optimizer_fills_a_tray_that_shares_its_settings(space: Space, size: int) -> None:
    tray = OnTrays(RandomSearch(), ["temperature", "gas"])
    found: list[Any] = [p.candidate for p in tray.propose(space, HIGH, [], [], size, seed=3)]
    assert len(set(found)) == size
    assert len({(c.process["temperature"], c.process["gas"]) for c in found}) == 1
    assert all(space.problems(c) == [] for c in found)
    again = tray.propose(space, HIGH, [], found, size, seed=3)
    assert not {p.candidate for p in again} & set(found)


WATER = {"quantity": "water", "unit": "", "min": None, "max": 0.3}
CHEAP = {"quantity": "price", "unit": "", "direction": "minimize"}


@pytest.mark.parametrize("name", list(OUTSIDE))
def test_what_other_libraries_are_not_asked_is_refused_and_several_objectives_are_not(name: str) -> None:
    assert optimizer_faults(campaign(optimizer={"name": name}, objectives=[CHEAP])) == []
    asked = campaign(optimizer={"name": name}, objectives=[CHEAP], limits=[WATER], cost={"aware": True})
    (fault,) = optimizer_faults(asked)
    assert fault.message == f"{name!r} knows nothing of limits or cost.aware"
    assert (fault.key, fault.hint) == ("optimizer.name", 'write name = "bayesian"')
