"""`labctl optimizer explain`: why a candidate, from a lab or from a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labctl import explaining
from labctl.errors import UsageError
from tests.labctl.test_cli import labctl
from tests.virtual_lab import VirtualLab

CAMPAIGN = """
[campaign]
name = "mix"
[objective]
quantity = "strength"
unit = "MPa"
direction = "maximize"
[composition.components.A]
[composition.components.B]
[composition.components.C]
max = 0.5
"""
TABLE = ["A,B,C,strength"] + [
    f"{a / 10},{b / 10},{(10 - a - b) / 10:.1f},{100 - (a - 3) ** 2 - (b - 4) ** 2}"
    for a, b in [(1, 5), (5, 1), (3, 3), (2, 6), (6, 3), (4, 4), (5, 5), (3, 6)]
]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "d.csv").write_text("\n".join(TABLE))
    return tmp_path


def test_the_next_proposal_is_explained_in_words(table: Path) -> None:
    out, _ = labctl("optimizer", "explain", "c.toml", "--history", "d.csv")
    words = [line.split("  ")[0] for line in out.splitlines()]
    assert words[0].startswith("next proposal: A ")
    assert words[1:] == ["why", "predicted", "gain", "nearest", "limits", "matters"]


def test_a_row_is_explained_from_all_the_others_with_a_figure(table: Path) -> None:
    out, _ = labctl(
        "optimizer", "explain", "c.toml", "--history", "d.csv", "--row", "6", "-o", "json", "--plot", "s.png"
    )
    (item,) = json.loads(out)["items"]
    assert item["subject"] == "row 6"
    assert item["measured"] == 99.0
    assert item["known"] == 7
    assert [s["name"] for s in item["slices"]] == ["A", "B", "C"]
    assert sum(item["importance"].values()) == pytest.approx(1.0)
    assert (table / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--row", "44"], 2, "there is no result in row 44 of d.csv; results stand in rows 1 to 8"),
        (["--plot", "s.doc"], 2, "a figure cannot be written as '.doc'"),
    ],
)
def test_what_cannot_be_explained_is_said(table: Path, more: list[str], code: int, said: str) -> None:
    _, err = labctl("optimizer", "explain", "c.toml", "--history", "d.csv", *more, code=code)
    assert said in err


def test_random_search_gives_no_reasons(table: Path) -> None:
    (table / "c.toml").write_text(CAMPAIGN + '[optimizer]\nname = "random"\n')
    _, err = labctl("optimizer", "explain", "c.toml", "--history", "d.csv", code=2)
    assert "the optimizer 'random' gives no reasons" in err


def test_a_sample_that_is_not_there(small_lab: Path) -> None:
    _, err = labctl("optimizer", "explain", "last", "S-99", code=3)
    assert "there is no sample 'S-99'" in err


class Opened:
    """A lab whose store is at hand."""

    def __init__(self, lab: VirtualLab) -> None:
        self.store = lab.store


def samples(lab: VirtualLab, id: str) -> Mapping[int, str]:
    with lab.store.transaction() as tx:
        return explaining.sample_names(tx, id)


def test_a_sample_is_explained_from_what_was_known_when_it_was_proposed(finished: tuple[VirtualLab, str]) -> None:
    lab, id = finished
    opened: Any = Opened(lab)
    told = explaining.of_sample(opened, id, samples(lab, id)[18])
    assert told.same_history
    assert 10 <= len(told.known) < 18
    assert 18 not in {o.number for o in told.known}
    row = explaining.as_row(told)
    assert row["unit"] == "mS/cm"
    assert any(line.startswith("matters") for line in explaining.in_words(told))


def test_the_first_sample_had_no_model_behind_it(finished: tuple[VirtualLab, str]) -> None:
    lab, id = finished
    opened: Any = Opened(lab)
    with pytest.raises(UsageError, match="chosen before anything was known"):
        explaining.of_sample(opened, id, samples(lab, id)[1])


def test_what_may_still_be_gained_is_told(finished: tuple[VirtualLab, str]) -> None:
    lab, id = finished
    opened: Any = Opened(lab)
    first = explaining.what_the_model_says(opened, id, samples(lab, id))[0]
    assert first.startswith("left        the next experiment promises ")
    assert "with 80 % probability the best possible is within " in first
