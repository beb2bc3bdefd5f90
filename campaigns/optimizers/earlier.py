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

from campaigns.observations import Observations
from campaigns.optimizer import Earlier, Objective
from campaigns.optimizers.mixture import picked
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
    """Raw rows of one space as those of another: by name, unknown components absent, unknown settings in the middle."""
    names, parameters = list(space.names), {p.name: p for p in space.process}
    components = other.composition.names if other.composition else ()
    columns: list[int | float] = [names.index(name) if name in names else 0.0 for name in components]
    columns += [names.index(p.name) if alike(p, parameters.get(p.name)) else middle(p) for p in other.process]
    if not any(isinstance(c, int) for c in columns):
        return None

    def translate(raw: Array) -> Array:
        parts = [raw[:, c] if isinstance(c, int) else np.full(len(raw), c) for c in columns]
        return np.column_stack(parts)

    return translate


def alike(one: Any, other: Any) -> bool:
    """Whether two settings mean the same."""
    return type(one) is type(other) and getattr(one, "choices", None) == getattr(other, "choices", None)


def middle(parameter: Any) -> float:
    """A setting that says nothing."""
    return 0.0 if hasattr(parameter, "choices") else (parameter.low + parameter.high) / 2
