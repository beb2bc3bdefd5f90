"""What optimizers of other libraries are given: feasible candidates to choose among, as plain numbers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.parameters import CategoricalParameter
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST = 2000  #: candidates that are scored; a space of more is drawn from


def default_initial(space: Space) -> int:
    """How many experiments come before the model decides: twice the free dimensions and two, 6 to 40."""
    free = len(space.process) + (len(space.composition.components) - 1 if space.composition else 0)
    return min(40, max(6, 2 * (max(1, free) + 1)))


def choices(space: Space, taken: Iterable[Candidate], *of: object, most: int = MOST) -> list[Candidate]:
    """Candidates not yet taken: all of a small space, else some drawn at random, the same for the same words."""
    closed = set(taken)
    rng = random.Random("/".join(str(o) for o in of))
    whole = space.all(most)
    if whole is None and space.pool is not None:
        whole = rng.sample(list(space.pool), min(most, len(space.pool)))
    drawn = whole if whole is not None else [c for _ in range(most) if (c := space.draw(rng)) is not None]
    return [c for c in dict.fromkeys(drawn) if c not in closed]


def initial(space: Space, taken: Iterable[Candidate], n: int, *of: object) -> list[Proposal]:
    """Candidates at random, before there is a model."""
    rng = random.Random("/".join(["start", *(str(o) for o in of)]))
    found = choices(space, taken, *of)
    return [Proposal(candidate=c, reason="initial design") for c in rng.sample(found, min(n, len(found)))]


def coordinates(
    space: Space, candidates: Sequence[Candidate], made: Sequence[Mapping[str, float]] | None = None
) -> Array:
    """One row per candidate: fractions, settings from 0 to 1, one column for each choice.

    Parameters
    ----------
    made
        Weighed fractions of each, empty where they are not known: they replace what was asked for.
    """
    import numpy as np

    rows = []
    for i, c in enumerate(candidates):
        fractions: Mapping[str, Any] = (made[i] if made else None) or c.fractions
        row = [float(fractions.get(name, 0)) for name in (space.composition.names if space.composition else ())]
        for p in space.process:
            value = c.process[p.name]
            row += [float(value == x) for x in p.choices] if isinstance(p, CategoricalParameter) else [p.share(value)]
        rows.append(row)
    return np.array(rows, dtype=float)


def merit(objective: Objective, o: Observation) -> float:
    """What a measured value is worth: the more the better."""
    assert o.value is not None
    if objective.goal == "target":
        low, high = objective.band or (objective.target or 0.0, objective.target or 0.0)
        return -max(low - o.value, o.value - high, 0.0)
    return o.value if objective.direction == "maximize" else -o.value


def unscaled(objective: Objective, worth: float) -> float | None:
    """A predicted worth as a value of the property; None where it is a distance."""
    if objective.goal == "target":
        return None
    return worth if objective.direction == "maximize" else -worth
