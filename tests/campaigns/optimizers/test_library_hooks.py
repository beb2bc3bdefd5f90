"""Private parts of bayesian-optimization on which we lean: a new version that moves them fails here."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bayes_opt.acquisition import AcquisitionFunction
from bayes_opt.target_space import TargetSpace

import campaigns.optimizers.bayesian
from campaigns.optimizers.library import Store, UpperBound
from tests.campaigns.optimizers.test_every_optimizer import MIX

OURS = sorted(Path(campaigns.optimizers.bayesian.__file__).parent.glob("*.py"))


class Flat:
    """A surrogate that is asked and says nothing."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def predict(self, raw: Any, return_std: bool = False) -> Any:
        self.asked.append(raw)
        return np.zeros(len(raw)), np.ones(len(raw))


def test_the_library_asks_our_surrogate_and_takes_what_our_maximiser_finds() -> None:
    space, surrogate, ours = Store(MIX), Flat(), np.array([0.1, 0.2, 0.3, 0.4])
    space.hold(np.full((3, 4), 0.25), np.arange(3.0))
    scores: list[float] = []

    def maximise(score: Any) -> Any:
        scores.append(float(score(ours[None])[0]))
        return ours

    told = UpperBound(2.0, maximise).suggest(gp=surrogate, target_space=space, fit_gp=False, random_state=0)
    assert np.array_equal(told, ours)
    assert scores == [pytest.approx(2.0)]
    assert np.array_equal(surrogate.asked[-1], ours[None])


def test_the_store_of_the_library_holds_exactly_our_rows() -> None:
    space, raw, target = Store(MIX), np.full((3, 4), 0.25), np.arange(3.0)
    space.hold(raw, target)
    assert space.params is space._params is raw
    assert space.target is space._target is target
    assert len(space) == 3


@pytest.mark.parametrize(("owner", "hook"), [(AcquisitionFunction, "_acq_min"), (AcquisitionFunction, "_get_acq")])
def test_the_hooks_are_where_they_were(owner: type, hook: str) -> None:
    assert callable(getattr(owner, hook))
    assert {"params", "target"} <= set(vars(TargetSpace))


def test_none_of_its_three_traps_is_used() -> None:
    for file in OURS:
        used = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(ast.parse(file.read_text()))}
        used |= {
            a.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom) for a in n.names
        }
        assert not used & {"NonlinearConstraint", "save_state", "ConstantLiar"}, file.name
