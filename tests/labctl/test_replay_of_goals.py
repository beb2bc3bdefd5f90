"""Replays of targets, maps, many good ones and limits: every method gets the same wish, and what is counted is said."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from campaigns.optimizers.plain import PlainLibrary
from campaigns.replay import first_rows
from campaigns.scores import merit
from labctl.columns import MANY_REPLAYS, replay_columns
from labctl.display import censored
from labctl.replaying import Asked, Replayed, read_known, replay_table
from tests.labctl.test_cli import labctl, on_terminal

CAMPAIGN = """
[campaign]
name = "alloy"
[objective]
quantity = "hard"
unit = ""
{wish}
[process.x]
type = "float"
min = 0
max = 1
[process.y]
type = "float"
min = 0
max = 1
{limit}
"""
TARGET = 'goal = "target"\ntarget = 0.35'
BAND = 'goal = "target"\nband = [0.3, 0.4]'
MAP = 'goal = "map"\ndirection = "maximize"'
MANY = 'goal = "many"\ndirection = "maximize"'
BEST = 'direction = "maximize"'
#: highest in the corner (1, 1); 0.35 lies on a line through the middle
ROWS = [(x / 8, y / 8, (x / 8) ** 2 * (1 + y / 8) / 2) for x, y in itertools.product(range(9), range(9))]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.csv"
    path.write_text("x,y,hard\n" + "".join(f"{x},{y},{h}\n" for x, y, h in ROWS))
    return path


def campaign(table: Path, wish: str, limit: str = "") -> Path:
    path = table.with_name("c.toml")
    path.write_text(CAMPAIGN.format(wish=wish, limit=limit))
    return path


def replayed(table: Path, wish: str, *against: str, figure: Path | None = None) -> tuple[Replayed, list[str]]:
    said: list[str] = []
    asked = Asked(budget=12, seeds=range(2), designed=True, initial=4, batch=1, against=against, figure=figure)
    return replay_table(table, campaign(table, wish), asked, quality=False, say=said.extend), said


@pytest.mark.parametrize("wish", [TARGET, BAND])
def test_the_plain_library_goes_for_the_target_too(table: Path, wish: str) -> None:
    _, known = read_known(table, campaign(table, wish))
    told = [known.observation(i, row) for i, row in enumerate(first_rows(known, 0, 30), start=1)]
    guess = PlainLibrary().predicted(known.space, known.objective, told, [o.candidate for o in told], 0)
    away = np.array([max(0.0, abs((o.value or 0.0) - 0.35) - (0.05 if wish == BAND else 0.0)) for o in told])
    assert -guess == pytest.approx(away, abs=0.02)


def distance(value: float) -> float:
    return abs(value - 0.35)


def test_a_target_is_counted_by_hits_and_by_distance(table: Path) -> None:
    found, said = replayed(table, BAND, "random", "plain", figure=table.with_suffix(".png"))
    ours = found.rows[0]
    assert found.heading == "data.csv: 81 candidates, hard between 0.3 and 0.4"
    assert said[-1].startswith('goal "target": counted is the number of experiments to the first hit')
    assert (found.about["goal"], found.about["band"]) == ("target", [0.3, 0.4])
    assert (found.about["scored_by"], found.about["direction"]) == ("distance", None)
    assert ours["hit"] == 1.0
    assert ours["distance"] == 0.0
    assert ours["curve"] == sorted(ours["curve"], reverse=True)
    assert {c.key for c in replay_columns(found.about)} <= set(censored(ours))
    assert table.with_suffix(".png").stat().st_size > 1000


def test_a_single_value_is_hit_by_the_row_nearest_to_it(table: Path) -> None:
    found, _ = replayed(table, TARGET)
    nearest = min(distance(h) for _, _, h in ROWS)
    assert found.heading.endswith("hard near 0.35")
    assert found.rows[0]["distance_possible"] == pytest.approx(nearest)
    assert found.about["target"] == 0.35


def test_a_map_is_counted_by_the_error_over_all_rows(table: Path) -> None:
    found, said = replayed(table, MAP, "random", "plain", figure=table.with_suffix(".png"))
    ours, _random, plain = found.rows
    assert found.heading.endswith("map hard")
    assert said[-1].startswith('goal "map": counted is the error of the prediction over all rows')
    assert (found.about["goal"], found.about["scored_by"]) == ("map", "map error")
    assert ours["at"] == [3, 5, 8, 10, 12]
    assert ours["curve"][-1] == ours["error"] < ours["sd_of_values"] / 2
    assert plain["error"] < plain["sd_of_values"]
    assert {c.key for c in replay_columns(found.about)} <= set(censored(ours))


def test_the_plain_library_predicts_what_it_was_told(table: Path) -> None:
    _, known = read_known(table, campaign(table, 'goal = "map"\ndirection = "minimize"'))
    told = [known.observation(i, row) for i, row in enumerate(first_rows(known, 0, 30), start=1)]
    candidates = [o.candidate for o in told]
    guess = PlainLibrary().predicted(known.space, known.objective, told, candidates, 0)
    assert guess == pytest.approx(np.array([o.value for o in told]), abs=0.02)


def test_many_good_ones_are_counted_by_their_share(table: Path) -> None:
    found, said = replayed(table, MANY)
    assert found.heading.endswith("maximize hard, many good ones")
    assert said[-1] == 'goal "many": counted is the share of the good rows found, the best 5 % of all'
    assert found.about["goal"] == "many"
    assert replay_columns(found.about) == MANY_REPLAYS
    assert {"top", "acceleration"} <= set(found.rows[0])


def test_the_plain_library_is_told_what_breaks_a_limit(table: Path) -> None:
    limit = '[[limits]]\nquantity = "hard"\nunit = ""\nmax = 0.5\n'
    _, known = read_known(table, campaign(table, BEST, limit))
    told = [known.observation(i, row) for i, row in enumerate(first_rows(known, 1, 15), start=1)]
    found = PlainLibrary().propose(known.space, known.objective, told, [], 4, 0)
    assert max(merit(known)[known.pool.index(p.candidate)] for p in found) > 0.2


def test_while_nothing_keeps_the_limits_the_plain_library_still_proposes(table: Path) -> None:
    limit = '[[limits]]\nquantity = "hard"\nunit = ""\nmin = 1\nmax = 1\n'
    _, known = read_known(table, campaign(table, BEST, limit))
    told = [known.observation(i, i) for i in range(8)]
    assert len(PlainLibrary().propose(known.space, known.objective, told, [], 2, 0)) == 2


@pytest.mark.parametrize(("wish", "said"), [(TARGET, "to hit"), (MAP, "over all rows"), (MANY, "many good ones")])
def test_a_terminal_says_what_is_counted(table: Path, wish: str, said: str) -> None:
    campaign(table, wish)
    words = ("optimizer", "replay", "data.csv", "--campaign", "c.toml", "--budget", "6", "--seeds", "1")
    seen = on_terminal(*words, "--against", "random", "--no-quality", columns=80)
    assert said in seen
    assert "top 1 %" not in seen


def test_the_goal_best_is_counted_as_ever(table: Path) -> None:
    found, said = replayed(table, BEST, "random")
    assert found.heading.endswith("candidates, maximize hard")
    assert (found.about["goal"], found.about["scored_by"], found.about["direction"]) == ("best", "top", "maximize")
    assert "until_best" in found.rows[0]
    assert said == []
    out, _ = labctl("optimizer", "replay", "data.csv", "--campaign", "c.toml", "--budget", "6", "--seeds", "1")
    assert out.startswith("labctl\t")
