"""Tables of older results in `prior_campaigns`: read like a history, kept with the campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.campaign_file import read_campaign
from campaigns.plan import Plan
from campaigns.spec import Spec
from campaigns.toml_file import FileFaults
from labctl import campaigning, optimizers, wiring
from labctl.initialise import initialise
from labctl.replaying import Asked, replay_table
from labctl.suggesting import suggest
from materials_db import records as db
from tests import records

CAMPAIGN = """
[campaign]
name = "alloy"

[objective]
quantity = "hardness"
direction = "maximize"
unit = "GPa"

[composition.components.Fe]
[composition.components.Co]

[data.columns]
hardness = "H (MPa)"

[optimizer]
initial = 1
prior_campaigns = ["old.csv"]
"""
NEW = "Fe,Co,H (MPa)\n0.1,0.9,100\n0.9,0.1,110\n"


def old(best: float) -> str:
    """A table whose values are highest at that share of iron, one of them off the grid."""
    shares = [0.0, 0.123, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    return "Fe,Co,H (MPa)\n" + "".join(f"{x},{1 - x},{1000 - 2000 * (x - best) ** 2}\n" for x in shares)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Campaign, history and old table in a folder that is not the one people are in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name, text in {"c.toml": CAMPAIGN, "old.csv": old(0.3), "new.csv": NEW}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_proposal_goes_where_the_old_table_says(folder: Path) -> None:
    for best in (0.3, 0.7):
        (folder / "old.csv").write_text(old(best))
        (first,) = suggest(folder / "c.toml", None, 1).proposals
        assert float(first.candidate.fractions["Fe"]) == pytest.approx(best, abs=0.05)


def test_units_and_what_was_weighed_are_kept(folder: Path) -> None:
    plan = Plan.from_spec(read_campaign(folder / "c.toml", for_a_lab=False)[0])
    (earlier,) = plan.earlier
    assert (earlier.name, len(earlier.history), plan.prior) == ("old.csv", 11, ())
    assert earlier.history[3].value == pytest.approx(1.0)
    assert earlier.history[1].actual["Fe"] == pytest.approx(0.123)


def test_the_rows_are_those_of_the_launch(folder: Path) -> None:
    spec, _ = read_campaign(folder / "c.toml", for_a_lab=False)
    (folder / "old.csv").unlink()
    again = Spec.from_json(spec.json())
    assert again == spec
    assert Plan.from_spec(again).earlier == Plan.from_spec(spec).earlier


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (old(0.3) + "0.5,0.6,1\n", 13, "fractions sum to 1.1, not 1"),
        (old(0.3) + "0.5,0.5,nan\n", 13, "column 'H (MPa)': 'nan' is not a finite number"),
        ("Fe,Co\n1,0\n", 1, "no column 'H (MPa)'"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(folder: Path, text: str, line: int, message: str) -> None:
    (folder / "old.csv").write_text(text)
    for ask in (lambda: suggest(folder / "c.toml", None, 1), lambda: suggest(folder / "c.toml", folder / "new.csv", 1)):
        with pytest.raises(FileFaults) as caught:
            ask()
        assert caught.value.path == folder / "old.csv"
        assert [(f.line, f.message) for f in caught.value.faults] == [(line, message)]


def test_a_table_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "old.csv").unlink()
    with pytest.raises(FileFaults) as caught:
        suggest(folder / "c.toml", None, 1)
    assert caught.value.path == folder / "old.csv"


def test_rows_cannot_be_written_into_the_campaign_file(folder: Path) -> None:
    (folder / "c.toml").write_text(CAMPAIGN + '[optimizer.prior_tables]\n"x.csv" = [1]\n')
    with pytest.raises(FileFaults, match="tables are named in prior_campaigns"):
        suggest(folder / "c.toml", None, 1)


def test_campaigns_of_a_lab_are_left_aside_without_one_and_that_is_said(folder: Path) -> None:
    (folder / "c.toml").write_text(CAMPAIGN.replace('["old.csv"]', '["C-1", "old.csv"]'))
    assert suggest(folder / "c.toml", None, 1).notes[-1] == "left aside, as only a lab has them: C-0001"


def test_how_the_old_table_and_the_list_were_understood_is_said(folder: Path) -> None:
    (folder / "old.csv").write_text("Fe,Co,H (MPa),colour\n10,90,100,red\n20,80.5,90,blue\n30,70,80,red\n")
    (folder / "list.csv").write_text("Fe,Co,price\n0.5,0.5,1\n0.2,0.8,2\n")
    (folder / "c.toml").write_text(CAMPAIGN + '[candidates]\nfile = "list.csv"\n')
    notes = suggest(folder / "c.toml", None, 1).notes
    assert "list.csv: not used: column 'price'" in notes
    assert "old.csv: not used: column 'colour'" in notes
    assert any(n.startswith("old.csv: ") and "percent" in n for n in notes)
    assert any(n.startswith("old.csv: ") and "scaled" in n for n in notes)
    said: list[str] = []
    (folder / "data.csv").write_text(old(0.3))
    asked = Asked(budget=2, seeds=range(1), designed=True, initial=1, batch=1, against=())
    replay_table(folder / "data.csv", folder / "c.toml", asked, quality=False, say=said.extend)
    assert "old.csv: not used: column 'colour'" in said


def test_a_replay_learns_from_the_old_table(folder: Path) -> None:
    (folder / "data.csv").write_text(old(0.3))
    asked = Asked(budget=3, seeds=range(2), designed=True, initial=1, batch=1, against=())
    found = replay_table(folder / "data.csv", folder / "c.toml", asked, quality=False, say=lambda notes: None)
    assert [run["values"][0] for run in found.rows[0]["runs"]] == pytest.approx([1.0, 1.0])


def test_a_campaign_in_a_lab_keeps_them_on_record(tmp_path: Path) -> None:
    initialise(tmp_path / "lab")
    lab = wiring.open_lab(tmp_path / "lab")
    path = lab.folder / "campaigns" / "conductivity.toml"
    text = path.read_text()
    path.write_text(text.replace("in_flight = 3 ", 'in_flight = 3\nprior_campaigns = ["old.csv"] '))
    names = ("LiPF6", "EC", "DMC", "EMC")
    rows = [f"0.1,{0.2 + i / 100},{0.4 - i / 100},0.3,{10 + i}" for i in range(6)]
    (path.parent / "old.csv").write_text("\n".join([f"{','.join(names)},ionic_conductivity", *rows]) + "\n")
    spec, _ = campaigning.validate(lab, path)
    (path.parent / "old.csv").unlink()
    with lab.store.transaction() as tx:
        tx.add(*records.floor(), records.campaign(spec=spec.json()), at=records.AT, actor="test")
    with lab.store.transaction() as tx:
        (earlier,) = optimizers.plan_at_hand(tx, tx.get(db.Campaign, "C-0001").id).earlier
    assert [o.value for o in earlier.history] == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    lab.store.close()
