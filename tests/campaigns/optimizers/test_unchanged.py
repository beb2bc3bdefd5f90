"""What the default optimizer proposes for one objective without limits: the figures of the benchmarks rest on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.candidate import Candidate
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.space import Space
from tests.campaigns.optimizers.test_every_optimizer import HIGH, LOW, MIX, MIXED, observations

LISTED = replace(MIX, pool=tuple(dict.fromkeys(o.candidate for o in observations(MIX, 200, seed=5))))
CASES = {"space": (MIX, HIGH, 1.0), "settings": (MIXED, LOW, -1.0), "list": (LISTED, HIGH, 1.0)}

#: A, B, C and D in dispenser steps, and what choice and whole number go with them: after 0, 12 and 30 results
PROPOSED = {
    ("space", 0): [(17, 6, 19, 8), (9, 18, 4, 19), (5, 10, 27, 8)],
    ("space", 12): [(31, 19, 0, 0), (10, 36, 2, 2), (40, 5, 0, 5)],
    ("space", 30): [(22, 16, 12, 0), (28, 14, 8, 0), (30, 0, 13, 7)],
    ("settings", 0): [(11, 21, 8, 10, 5, "Ar"), (8, 10, 12, 20, 5, "air"), (11, 21, 7, 11, 4, "N2")],
    ("settings", 12): [(22, 14, 12, 2, 5, "Ar"), (23, 13, 12, 2, 7, "Ar"), (25, 10, 12, 3, 2, "Ar")],
    ("settings", 30): [(18, 17, 12, 3, 5, "Ar"), (25, 17, 7, 1, 1, "N2"), (1, 18, 0, 31, 1, "air")],
    ("list", 0): [(10, 10, 23, 7), (9, 7, 8, 26), (23, 7, 7, 13)],
    ("list", 12): [(28, 18, 1, 3), (12, 38, 0, 0), (17, 23, 6, 4)],
    ("list", 30): [(31, 12, 6, 1), (25, 14, 7, 4), (22, 17, 10, 1)],
}


@pytest.mark.parametrize(("case", "known"), list(PROPOSED))
def test_its_proposals_are_those_that_were_measured(case: str, known: int) -> None:
    space, objective, sign = CASES[case]
    history = observations(space if space.pool is None else MIX, known, sign=sign)
    found = BayesianOptimizer(budget=60).propose(space, objective, history, [], 3, 7)
    assert [in_steps(space, p.candidate) for p in found] == PROPOSED[case, known]


def in_steps(space: Space, candidate: Candidate) -> tuple[int | str, ...]:
    """Whole steps of each component; temperature, which has no steps, is left aside."""
    told = (candidate.process[p.name] for p in space.process if p.name != "temperature")
    return (*(int(50 * candidate.fractions.get(n, 0)) for n in "ABCD"), *told)  # type: ignore[arg-type]
