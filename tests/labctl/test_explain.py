"""`labctl optimizer explain`: why a candidate, from a lab or from a table."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.hindsight import when_proposed
from campaigns.optimizer import Outlook
from labctl import explaining, optimizers, wiring
from labctl.app import main
from labctl.errors import UsageError
from labctl.initialise import initialise
from materials_db import records as db
from tests.labctl.test_cli import labctl, on_terminal
from tests.virtual_lab import VirtualLab, campaign, live

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


AIMS = [
    ('goal = "target"\ntarget = "91 MPa"', "row 7"),
    ('goal = "target"\nband = ["86.5 MPa", "87.5 MPa"]', "row 5"),
    ('goal = "target"\ntarget = "95 MPa"\ndirection = "minimize"', "row 1"),
]


@pytest.mark.parametrize(("aim", "nearest"), AIMS)
def test_of_a_target_the_nearest_known_is_named_with_its_distance(table: Path, aim: str, nearest: str) -> None:
    values = [95, 87.9, 99, 95.3, 87, 99.5, 91, 96]
    rows = [f"{row.rpartition(',')[0]},{v}" for row, v in zip(TABLE[1:], values, strict=True)]
    (table / "d.csv").write_text("\n".join([TABLE[0], *rows]))
    (table / "c.toml").write_text(CAMPAIGN.replace('direction = "maximize"', aim))
    out, _ = labctl("optimizer", "explain", "c.toml", "--history", "d.csv", "-o", "json")
    (item,) = json.loads(out)["items"]
    assert item["best_of"] == nearest
    assert item["best_distance"] < 0.5
    out, _ = labctl("optimizer", "explain", "c.toml", "--history", "d.csv")
    (line,) = [line for line in out.splitlines() if line.startswith("predicted")]
    assert f"({nearest}, by the model), " in line
    assert line.count("band" if "band" in aim else "from the target") == 2


@pytest.mark.parametrize(("wish", "best"), [('direction = "minimize"', "row 2"), ('goal = "map"', None)])
def test_the_best_known_is_the_lowest_where_that_is_wanted_and_nothing_of_a_map(
    table: Path, wish: str, best: str | None
) -> None:
    text = wish if best else f'{wish}\ndirection = "maximize"'
    (table / "c.toml").write_text(CAMPAIGN.replace('direction = "maximize"', text))
    out, _ = labctl("optimizer", "explain", "c.toml", "--history", "d.csv", "-o", "json")
    assert json.loads(out)["items"][0]["best_of"] == best
    out, _ = labctl("optimizer", "explain", "c.toml", "--history", "d.csv")
    assert ("the best known then was" in out) == (best is not None)


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


# -- a lab with its own database -----------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a campaign of 16 by the default optimizer, and one of 3 at random."""
    folder = tmp_path_factory.mktemp("explain") / "lab"
    initialise(folder)

    async def work() -> None:
        machines = VirtualLab(optimizer=optimizers.optimizer)
        store = wiring.open_lab(folder).store
        machines.store = store  # type: ignore[assignment]
        await machines.carry_out(campaign(budget={"experiments": 16}))
        await machines.carry_out(campaign(budget={"experiments": 3}, optimizer={"name": "random"}))
        machines.close()
        store.close()

    live(work())
    return folder


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Ask in that lab: code, output, errors."""

    def work(*words: str, lab: Path = folder) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labctl", "optimizer", "explain", *words, "--lab", str(lab)])
        code = main()
        seen = capsys.readouterr()
        assert "Traceback" not in seen.err
        return code, seen.out, seen.err

    return work


def only(answer: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = answer
    assert code == 0, err
    (item,) = json.loads(out)["items"]
    found: dict[str, Any] = item
    return found


def test_every_proposal_is_explained_by_exactly_what_was_known_then(folder: Path) -> None:
    store = wiring.open_lab(folder).store
    with store.transaction() as tx:
        plan = optimizers.plan_at_hand(tx, "C-0001")
        experiments = tx.find(db.Experiment, order="number", campaign_id="C-0001")
        found = [when_proposed(tx, plan, e) for e in experiments]
    store.close()
    assert all(knew.same for knew in found)
    for number, knew in enumerate(found, start=1):
        assert all(o.number < number for o in knew.known)
        assert len(knew.known) + len(knew.pending) == number - 1


def test_the_rebuilt_model_says_what_was_written_down_then(ask: Ask) -> None:
    told = only(ask("C-1", "S-14", "-o", "json"))
    assert told["same_history"]
    assert told["predicted"] == pytest.approx(told["recorded"]["value"], rel=1e-6)


def test_sample_experiment_and_candidate_name_the_same(ask: Ask) -> None:
    first, *others = (only(ask("1", id, "-o", "json")) for id in ("S-00014", "E-14", "x-14", "14"))
    assert all(other == first for other in others)


def test_what_would_come_next_is_the_same_when_asked_twice(ask: Ask) -> None:
    first, again = (only(ask("C-1", "-o", "json")) for _ in range(2))
    assert first == again
    assert first["subject"] == "next proposal"
    assert first["measured"] is None


def test_a_corrected_value_is_said_to_change_what_the_model_says(folder: Path, tmp_path: Path, ask: Ask) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    store = wiring.open_lab(tmp_path / "copy").store
    with store.transaction() as tx:
        old = tx.find(db.Measurement, sample_id="S-00002", quantity="ionic_conductivity")[0]
        later = old.taken_at + timedelta(seconds=1)
        tx.add(
            old.model_copy(update={"id": "M-99999", "value": old.value + 3, "taken_at": later}), at=later, actor="test"
        )
    store.close()
    _, out, _ = ask("C-1", "S-14", lab=tmp_path / "copy")
    assert "values were corrected since" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["C-1", "S-99999"], 3, "there is no sample 'S-99999'"),
        (["C-9"], 3, "there is no campaign 'C-9'"),
        (["C-1", "S-1"], 2, "there is no model to ask"),
        (["C-1", "S-17"], 2, "not for C-0001\n  try: labctl optimizer explain C-0002 S-00017"),
        (["C-2"], 2, "the optimizer 'random' gives no reasons"),
        (["C-2", "S-17"], 2, "the optimizer 'random' gives no reasons"),
        (["C-1", "--row", "3"], 2, "--history and --row go with a campaign file"),
        (["c.toml", "S-1"], 2, "a campaign file has no sample 'S-1'"),
        (["c.toml", "--row", "3"], 2, "--row needs a table"),
        (["nowhere.toml"], 2, "there is no such file"),
        (["C-1", "S-14", "--plot", "nowhere/a.png"], 2, "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_explained_in_a_lab_is_said(ask: Ask, words: list[str], code: int, said: str) -> None:
    found, out, err = ask(*words)
    assert (found, out) == (code, "")
    assert said in err


def test_on_a_terminal_the_slice_is_drawn_and_nothing_is_wider_than_it(folder: Path) -> None:
    seen = on_terminal("optimizer", "explain", "C-1", "S-14", "--lab", str(folder))
    assert "X: this candidate" in seen
    assert "[mass fraction]" in seen
    assert max(map(len, seen.splitlines())) <= 80


def test_a_value_without_a_unit_leaves_no_gap_where_it_would_stand() -> None:
    left = Outlook(best=0.8, best_number=1, gain=0.0024, left=(0.019,))
    assert explaining.sentence(left, "") == (
        "the next experiment promises 0.0024; with 80 % probability the best possible is within 0.019 of the best found"
    )
    assert "promises 0.0024 mS/cm; with" in explaining.sentence(left, "mS/cm")
