"""Replays of several objectives: scored by the front's volume, or by the weighted sum."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from campaigns.pareto import volume
from campaigns.replay import Run
from campaigns.scores import Front, merit, volumes
from labctl.columns import FRONT_REPLAYS
from labctl.display import censored
from labctl.replaying import Asked, Replayed, read_known, replay_table

CAMPAIGN = """
[campaign]
name = "alloy"

[objective]
quantity = "hard"
direction = "maximize"
unit = ""
{first}
[[objectives]]
quantity = "dear"
direction = "minimize"
unit = ""
weight = 3
[process.x]
type = "float"
min = 0
max = 1
[process.y]
type = "float"
min = 0
max = 1
{more}
"""
#: hard is high at x = 1, dear is low at x = 0: everything with y = 0 is on the front
ROWS = [(x / 10, y / 4, x / 10 - y / 4, (x / 10) ** 2 + y / 4) for x, y in itertools.product(range(11), range(5))]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("x,y,hard,dear\n" + "".join(f"{x},{y},{h},{d}\n" for x, y, h, d in ROWS) + "0.5,0.55,0.1,\n")
    return path


def campaign(table: Path, first: str = "", more: str = "") -> Path:
    path = table.with_name("c.toml")
    path.write_text(CAMPAIGN.format(first=first, more=more))
    return path


def replayed(table: Path, path: Path, budget: int = 14, figure: Path | None = None) -> tuple[Replayed, list[str]]:
    said: list[str] = []
    asked = Asked(budget=budget, seeds=range(3), designed=True, initial=4, batch=1, against=("random",), figure=figure)
    return replay_table(table, path, asked, quality=False, say=said.extend), said


def test_a_front_is_scored_by_its_volume(table: Path) -> None:
    found, said = replayed(table, campaign(table), figure=table.with_suffix(".png"))
    ours, random = found.rows
    assert ours["volume"] > random["volume"]
    assert ours["scored_by"] == "hypervolume"
    assert ours["curve"] == sorted(ours["curve"])
    assert 0.9 < ours["volume"] <= 1.0
    assert found.about["objectives"][1] == {"quantity": "dear", "unit": "", "direction": "minimize"}
    assert found.about["reference"] == pytest.approx({"hard": -0.1, "dear": 1.1})
    assert said[-1].endswith("reference point: hard -0.1, dear 1.1")
    assert found.heading.endswith("maximize hard and minimize dear")
    assert table.with_suffix(".png").stat().st_size > 1000
    assert {c.key for c in FRONT_REPLAYS} <= set(censored(ours))


def test_the_whole_table_dominates_all_of_the_volume_and_a_stated_reference_is_taken(table: Path) -> None:
    _, known = read_known(table, campaign(table, "reference = 0"))
    front = Front.of(known)
    assert list(front.reference) == pytest.approx([0.0, -1.1])
    found = volumes(known, [Run(seed=0, picks=tuple(range(len(known))), cpu_s=())], len(known))
    assert found["volume"] == pytest.approx(1.0)
    values = front.values[:7]
    assert front.share_found(range(7), 7)[-1] == pytest.approx(volume(values, front.reference) / front.whole)


def test_what_breaks_a_limit_or_lacks_an_objective_adds_no_volume(table: Path) -> None:
    limit = '[[limits]]\nquantity = "dear"\nunit = ""\nmax = 0.3\n'
    _, known = read_known(table, campaign(table, more=limit))
    counts = ~np.isnan(Front.of(known).values).any(axis=1)
    assert list(counts) == [bool(d <= 0.3) for d in known.others["dear"]]
    assert not counts[[bool(np.isnan(d)) for d in known.others["dear"]]].any()


def test_a_weighted_sum_is_scored_like_a_single_objective(table: Path) -> None:
    path = campaign(table, more='[optimizer]\nmethod = "weighted"\n')
    _, known = read_known(table, path)
    hard, dear = known.values, known.others["dear"]
    best = int(np.nanargmax(hard / np.nanstd(hard) - 3 * dear / np.nanstd(dear)))
    assert int(np.argmax(merit(known))) == best
    found, said = replayed(table, path)
    assert found.rows[0]["found_best"] >= found.rows[1]["found_best"]
    assert found.about["weights"] == {"hard": 1.0, "dear": 3.0}
    assert "weighted sum" in said[-1]
