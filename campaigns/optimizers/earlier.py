"""What earlier campaigns say about this one: predictions as features, whose weights are learned.

An earlier campaign's own model is asked at this campaign's candidates, by the components and
settings that both know. Its answer, standardised, enters this campaign's processes as one more
input with a linear weight of its own: where it helps, the weight grows; where it misleads, the
new data shrink it or turn its sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from campaigns.likeness import amounts, matched
from campaigns.observations import Observations
from campaigns.optimizer import Earlier, Objective
from campaigns.optimizers.mixture import picked
from campaigns.parameters import CategoricalParameter, Parameter
from campaigns.space import Space

Array = np.ndarray[Any, Any]
Feature = Callable[[Array], Array]

ROWS = 400  #: of an earlier campaign at most: the best half and a random rest


def features(
    space: Space, objective: Objective, earlier: Sequence[Earlier], study: Callable[[Space], Any]
) -> list[Feature]:
    """One function of raw rows for each earlier campaign that shares something and measured enough."""
    found = [feature(space, objective, e, study) for e in earlier]
    return [f for f in found if f is not None]


def feature(space: Space, objective: Objective, earlier: Earlier, study: Callable[[Space], Any]) -> Feature | None:
    """What one earlier campaign predicts; None when it shares no component or setting, or measured too little."""
    translate = translation(space, earlier.space)
    measured = [o for o in sorted(earlier.history, key=lambda o: o.number) if not o.failed]
    told = [(o, m) for o in measured if (m := o.measured(objective.quantity, earlier.objective.quantity)) is not None]
    if translate is None or len(told) < 5:
        return None
    sign = -1.0 if objective.direction == "minimize" else 1.0
    values = sign * np.array([m.value for _, m in told])
    rows = picked(values, ROWS, "earlier", earlier.name)
    own = study(earlier.space)
    model = own.bare_model("earlier")
    made = Observations.of(earlier.space, earlier.objective, [o for o, _ in told]).made(rows)
    model.fit(made, values[rows], np.array([(told[i][1].u or 0.0) ** 2 for i in rows]))

    def ask(raw: Array) -> Array:
        mean: Array = model.standardised(translate(raw))[0]
        return mean

    return ask


def translation(space: Space, other: Space) -> Callable[[Array], Array] | None:
    """Raw rows of one space as those of another: by name, in its units and basis.

    A component that the other has not is taken away, one that only the other has is absent; a setting that only the
    other has is in the middle. None when they share nothing.
    """
    settings = [setting(space, p) for p in other.process]
    if not shared(space, other) and not any(settings):
        return None
    fractions = shares(space, other)

    def translate(raw: Array) -> Array:
        columns = [
            np.full(len(raw), middle(p)) if s is None else s(raw) for s, p in zip(settings, other.process, strict=True)
        ]
        return np.column_stack([fractions(raw), *columns])

    return translate


def shared(space: Space, other: Space) -> set[str]:
    """Components that both have."""
    return set(space.composition.names if space.composition else ()) & set(
        other.composition.names if other.composition else ()
    )


def shares(space: Space, other: Space) -> Callable[[Array], Array]:
    """The other's fractions, from raw rows of this space."""
    here, there = space.composition, other.composition
    if there is None:
        return lambda raw: np.zeros((len(raw), 0))
    if here is None or not shared(space, other):
        return lambda raw: np.zeros((len(raw), len(there.names)))
    taken = np.zeros((len(here.names), len(there.names)))
    for i, factor in enumerate(amounts(here, there)):
        if factor:
            taken[i, there.names.index(here.names[i])] = factor
    whole = here.basis == there.basis and set(here.names) <= set(there.names)

    def take(raw: Array) -> Array:
        found: Array = raw[:, : len(here.names)] @ taken
        total = 1.0 if whole else found.sum(axis=1, keepdims=True)  # what the other has not leaves less than the whole
        return found / np.where(total > 0, total, 1.0)

    return take


def setting(space: Space, old: Parameter) -> Callable[[Array], Array] | None:
    """The other's setting, from raw rows of this space; None where this has none that means the same."""
    names = [p.name for p in space.process]
    how = matched(space.process[names.index(old.name)], old) if old.name in names else None
    if how is None:
        return None
    place = len(space.names) - len(names) + names.index(old.name)
    if isinstance(old, CategoricalParameter):
        return lambda raw: np.array(how, dtype=float)[raw[:, place].astype(int)]
    offset, factor = how
    return lambda raw: offset + factor * raw[:, place]


def middle(parameter: Parameter) -> float:
    """A setting that says nothing."""
    return 0.0 if isinstance(parameter, CategoricalParameter) else (parameter.low + parameter.high) / 2
