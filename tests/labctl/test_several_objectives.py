"""What people see of a campaign with several objectives, limits or a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labctl import optimizers, wiring
from labctl.columns import candidate_columns, export_rows
from labctl.display import show_campaign
from labctl.errors import report_faults
from labctl.initialise import initialise
from labctl.report.data import gather
from labctl.report.html import render
from materials_db import glance
from materials_db import records as db
from materials_db.store import Transaction
from tests import records
from tests.virtual_lab import campaign

KAPPA = {"quantity": "ionic_conductivity", "unit": "mS/cm", "direction": "maximize", "target": None}
THICK = {"quantity": "viscosity", "unit": "mPa*s", "direction": "minimize"}
THIN_ENOUGH = {"quantity": "viscosity", "unit": "mPa*s", "min": None, "max": 4.0}
#: conductivity and viscosity of five samples: the last breaks the limit, the third is beaten by the second
FOUND = [(8.0, 1.0), (11.0, 2.0), (10.0, 3.0), (12.0, 4.0), (15.0, 9.0)]


def written(tx: Transaction, found: list[tuple[float, float]], **spec: Any) -> None:
    """A finished campaign with these values."""
    told = {**records.campaign().spec, **spec}
    tx.add(*records.floor(), records.campaign(spec=told), at=records.AT, actor="test")
    sha256 = tx.put_raw(records.RAW)
    for n, (kappa, viscosity) in enumerate(found, start=1):
        shares = {"EC": f"{100 - n}/100", "LiPF6": f"{n}/100"}
        line = [r.model_copy(update={"fractions": shares}) if isinstance(r, db.Candidate) else r for r in records.experiment_line(n)]  # fmt: skip
        tx.add(*line, at=records.AT, actor="test")
        if n == 1:
            raw = db.RawFile(
                id=sha256, name="a.csv", media_type="text/csv", size=len(records.RAW), job_id="E-00001/measure",
                stored_at=records.AT,
            )  # fmt: skip
            tx.add(raw, at=records.AT, actor="test")
        tx.add(records.measurement(sha256, n, value=kappa), at=records.AT, actor="test")
        thick = records.measurement(
            sha256, n, id=f"M-{100 + n:05d}", quantity="viscosity", value=viscosity, unit="mPa*s",
            calibration_id=None, uncalibrated_reason="none",
        )  # fmt: skip
        tx.add(thick, at=records.AT, actor="test")
        tx.move(db.Experiment, f"E-{n:05d}", at=records.AT, actor="test", state="done", ended_at=records.AT)


@pytest.fixture
def lab(tmp_path: Path) -> wiring.Lab:
    initialise(tmp_path / "lab")
    return wiring.open_lab(tmp_path / "lab")


def page(lab: wiring.Lab, capsys: pytest.CaptureFixture[str], **spec: Any) -> str:
    """`campaign show`."""
    with lab.store.transaction() as tx:
        written(tx, FOUND, **spec)
    lab.store.close()
    path = lab.glance_path
    show_campaign(glance.campaign(path, "C-0001"), glance.experiments(path), glance.candidates(path, "C-0001"))
    return capsys.readouterr().out


def test_the_page_of_a_campaign_tells_front_and_broken_limits(
    lab: wiring.Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    out = page(lab, capsys, objectives=[THICK], limits=[THIN_ENOUGH])
    assert "  objective   maximize ionic_conductivity and minimize viscosity [mS/cm and mPa*s]\n" in out
    assert "  goal        best: find the single best\n  limits      viscosity <= 4 mPa*s\n" in out
    assert "  best        12.000 +- 0.050 mS/cm   S-00004 (#4)\n" in out
    assert "  front       3 of 5 candidates; no other is better in every objective\n" in out
    assert "X-00002  ionic_conductivity 11.000 +- 0.050 mS/cm, viscosity 2.000 +- 0.050 mPa*s\n" in out
    assert "  broken      1 of 5 candidates break a limit\n" in out


def test_the_page_of_a_campaign_tells_the_distance_to_its_target(
    lab: wiring.Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    out = page(lab, capsys, objective={**KAPPA, "direction": None, "goal": "target", "band": [8.5, 9.5]})
    assert "  objective   hit ionic_conductivity = 8.5 to 9.5 mS/cm [mS/cm]\n" in out
    assert "  best        8.000 +- 0.050 mS/cm   S-00001 (#1)\n" in out
    assert "  distance    0.5 mS/cm from 8.5 to 9.5 mS/cm\n" in out
    assert "distance of ionic_conductivity from 8.5 to 9.5" in out


def test_a_campaign_in_which_nothing_keeps_the_limits_has_no_best(
    lab: wiring.Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    out = page(lab, capsys, limits=[{**THIN_ENOUGH, "max": 0.5}])
    assert "  best        nothing keeps all limits yet\n" in out


def test_values_are_shown_in_the_unit_of_the_campaign_file(lab: wiring.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    thick = {**THIN_ENOUGH, "unit": "Pa*s", "max": 0.004}
    out = page(lab, capsys, objective={**KAPPA, "unit": "S/m"}, limits=[thick])
    assert "  best        1.2000 +- 0.0050 S/m   S-00004 (#4)\n" in out
    assert "  broken      1 of 5 candidates break a limit\n" in out
    row = glance.candidates(lab.glance_path)[0]
    assert (row["value"], row["unit"]) == (pytest.approx(1.2), "S/m")


def test_the_best_is_found_among_values_in_several_units(lab: wiring.Lab) -> None:
    with lab.store.transaction() as tx:
        written(tx, FOUND)
        sha256 = tx.put_raw(records.RAW)
        other = records.measurement(sha256, 1, id="M-00200", value=1.6, unit="S/m")
        tx.add(other, at=records.AT, actor="test")
    lab.store.close()
    (row,) = glance.campaigns(lab.glance_path)
    assert (row["best_sample"], row["best"]) == ("S-00001", pytest.approx(16.0))


def test_the_list_of_candidates_shows_the_front_first_and_broken_ones_last(lab: wiring.Lab) -> None:
    with lab.store.transaction() as tx:
        written(tx, FOUND, objectives=[THICK], limits=[THIN_ENOUGH])
    lab.store.close()
    rows = glance.candidates(lab.glance_path)
    assert [(r["id"], r["front"], r["broken"]) for r in rows] == [
        ("X-00004", True, []),
        ("X-00002", True, []),
        ("X-00001", True, []),
        ("X-00003", False, []),
        ("X-00005", False, ["viscosity 9 above 4 mPa*s"]),
    ]
    assert {"front", "breaks", "also measured"} <= {c.title for c in candidate_columns(rows)}
    assert export_rows(rows)[0]["viscosity"] == 4.0


def test_a_campaign_with_one_objective_has_the_columns_it_always_had(small_lab: Path) -> None:
    rows = glance.candidates(wiring.open_lab(small_lab).glance_path)
    assert not {"front", "breaks", "also measured", "from target"} & {c.title for c in candidate_columns(rows)}


def test_the_report_draws_objectives_against_each_other(lab: wiring.Lab) -> None:
    with lab.store.transaction() as tx:
        written(tx, FOUND, objectives=[THICK], limits=[THIN_ENOUGH])
        data = gather(tx, "C-0001", outliers={3: -4.2})
        text = render(data)
    assert [line.number for line in data.front] == [4, 2, 1]
    assert data.best is not None
    assert data.best.number == 4
    assert "Objectives against each other" in text
    assert "3 of 5 experiments are on the front" in text
    assert "4 of 5 measured samples keep all of them" in text
    assert "breaks a limit: viscosity 9 above 4 mPa*s" in text
    assert text.count("outlier? -4.2 sd from what all others say") == 1


def test_a_report_without_anything_that_keeps_the_limits_says_so(lab: wiring.Lab) -> None:
    with lab.store.transaction() as tx:
        written(tx, FOUND, limits=[{**THIN_ENOUGH, "max": 0.5}])
        assert "Nothing that was measured keeps all limits" in render(gather(tx, "C-0001"))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_campaign_of_any_length_can_be_searched_for_outliers(lab: wiring.Lab, count: int) -> None:
    spec = campaign(objectives=[{**THICK, "weight": 1.0, "reference": None}]).json()
    spec["composition"]["balance"] = "EC"
    spec["composition"]["components"] = {
        "EC": {"formula": "C3H4O3", "min": 0.0, "max": 1.0},
        "LiPF6": {"formula": None, "min": 0.0, "max": 1.0},
    }
    with lab.store.transaction() as tx:
        written(tx, FOUND[:count], **spec)
    learned = optimizers.learned(lab.store, "C-0001")
    assert learned is not None
    assert set(optimizers.outliers(*learned)) <= set(range(1, count + 1))
    assert optimizers.outlook(*learned) is None  # there is no single best


def test_an_earlier_campaign_that_the_lab_never_had_is_a_fault(lab: wiring.Lab) -> None:
    from campaigns.toml_file import FileFaults
    from labctl import campaigning

    path = lab.folder / "campaigns" / "conductivity.toml"
    text = path.read_text()
    path.write_text(text.replace("in_flight = 3 ", 'in_flight = 3\nprior_campaigns = ["C-7", "C-1"] '))
    with pytest.raises(FileFaults) as caught:
        campaigning.validate(lab, path)
    assert [f.message for f in caught.value.faults] == [
        "this lab has no campaign 'C-0007'",
        "this lab has no campaign 'C-0001'",
    ]
    assert not lab.glance_path.exists()
    with lab.store.transaction() as tx:
        written(tx, FOUND)
    with pytest.raises(FileFaults) as caught:
        campaigning.validate(lab, path)
    line = text.splitlines().index("in_flight = 3                   # experiments under way at once") + 2
    assert report_faults(caught.value).where[0].endswith(f":{line}  optimizer.prior_campaigns")
    assert report_faults(caught.value).where[1] == "    this lab has no campaign 'C-0007'; it has C-0001"
    lab.store.close()


def test_an_earlier_campaign_that_tells_the_same_in_another_way_is_a_fault(lab: wiring.Lab) -> None:
    from campaigns.toml_file import FileFaults
    from labctl import campaigning

    path = lab.folder / "campaigns" / "conductivity.toml"
    spec = campaigning.validate(lab, path)[0].json()
    in_kelvin = {**spec, "objective": {**spec["objective"], "unit": "K", "target": None}}
    with lab.store.transaction() as tx:
        tx.add(records.campaign(id="C-0001", spec=spec), at=records.AT, actor="test")
        tx.add(records.campaign(id="C-0002", spec=in_kelvin), at=records.AT, actor="test")
    text = path.read_text()
    path.write_text(text.replace("in_flight = 3 ", 'in_flight = 3\nprior_campaigns = ["C-1"] '))
    campaigning.validate(lab, path)
    path.write_text(text.replace("in_flight = 3 ", 'in_flight = 3\nprior_campaigns = ["C-2"] '))
    with pytest.raises(FileFaults) as caught:
        campaigning.validate(lab, path)
    assert [f.message for f in caught.value.faults] == [
        "C-0002 cannot be learned from: ionic_conductivity is told in K there and in mS/cm here"
    ]
    assert report_faults(caught.value).code == "LAB-0239"
    lab.store.close()
