"""What may be called best, and what lies on the front."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from materials_db.merit import Merit

KAPPA = {"quantity": "kappa", "unit": "mS/cm", "direction": "maximize", "target": None}
THICK = {"quantity": "viscosity", "unit": "mPa*s", "direction": "minimize"}
VALUES = st.fixed_dictionaries({"kappa": st.integers(0, 5), "viscosity": st.integers(0, 5)})


def merit(**more: Any) -> Merit:
    return Merit.of({"objective": KAPPA, **more})


def test_a_campaign_from_before_there_were_goals_wants_the_best() -> None:
    old = merit()
    assert (old.goal, old.words, old.limits) == ("best", "maximize kappa", ())
    assert old.counts({"kappa": 3.0})
    assert old.front([{"kappa": 3.0}]) == [False]


def test_what_breaks_a_limit_or_was_not_measured_for_it_is_not_best() -> None:
    m = merit(limits=[{"quantity": "viscosity", "unit": "mPa*s", "min": None, "max": 4.0}])
    assert m.broken({"kappa": 9.0, "viscosity": 5.0}) == ["viscosity 5 above 4 mPa*s"]
    assert not m.counts({"kappa": 9.0, "viscosity": 5.0})
    assert not m.counts({"kappa": 9.0})
    assert m.counts({"kappa": 9.0, "viscosity": 4.0})
    assert m.limits[0].words == "viscosity <= 4 mPa*s"


def test_a_band_is_as_near_as_its_nearest_edge() -> None:
    m = Merit.of({"objective": {**KAPPA, "goal": "target", "direction": None, "band": [12.0, 14.0]}})
    assert [m.distance(v) for v in (11.0, 12.0, 13.0, 15.5)] == [1.0, 0.0, 0.0, 1.5]
    assert m.worth(13.0) > m.worth(15.5) > m.worth(0.0)
    assert m.words == "hit kappa = 12 to 14 mS/cm"


@given(st.lists(VALUES, max_size=12))
def test_no_row_is_on_the_front_while_another_is_better_in_everything(rows: list[dict[str, float]]) -> None:
    def better(a: dict[str, float], b: dict[str, float]) -> bool:
        none_worse = a["kappa"] >= b["kappa"] and a["viscosity"] <= b["viscosity"]
        return none_worse and a != b

    expected = [not any(better(a, b) for a in rows) for b in rows]
    assert merit(objectives=[THICK]).front(rows) == expected


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_the_order_of_rows_does_not_matter_for_the_front(rows: list[dict[str, float]]) -> None:
    m = merit(objectives=[THICK])
    first = {tuple(r.items()): on for r, on in zip(rows, m.front(rows), strict=True)}
    for other in itertools.islice(itertools.permutations(rows), 24):
        assert {tuple(r.items()): on for r, on in zip(other, m.front(other), strict=True)} == first
