from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from campaigns.toml_file import FileFaults
from labctl import campaigning, wiring
from labctl.commands.init import app
from labctl.errors import ExistsError, UsageError, report
from labctl.initialise import initialise


def test_a_new_lab_is_sound_from_the_first_moment(tmp_path: Path) -> None:
    initialise(tmp_path / "my lab!")
    lab = wiring.open_lab(tmp_path / "my lab!")
    assert lab.file.lab.name == "my-lab"
    spec, _ = campaigning.validate(lab, tmp_path / "my lab!" / "campaigns" / "conductivity.toml")
    assert spec.budget.experiments == 30


def test_the_alloy_lab_is_sound_and_its_furnaces_speak_modbus(tmp_path: Path) -> None:
    initialise(tmp_path / "alloys", "alloy")
    lab = wiring.open_lab(tmp_path / "alloys")
    spec, _ = campaigning.validate(lab, tmp_path / "alloys" / "campaigns" / "hardness.toml")
    assert [o.quantity for o in spec.wanted.all] == ["vickers_hardness", "pitting_potential"]
    real = (tmp_path / "alloys" / "labctl.toml").read_text().replace("simulated = true", "simulated = false")
    real = real.replace('driver = "furnace" ', 'address = "tcp://192.0.2.7:502"\ndriver = "furnace" ')
    (tmp_path / "alloys" / "labctl.toml").write_text(real)
    with pytest.raises(FileFaults) as caught:
        wiring.open_lab(tmp_path / "alloys")
    said = [f.message + f.hint for f in caught.value.faults if "furnace-1" in f.message]
    assert said == ["furnace-1 is driven over modbus://, not over this addresswrite modbus://HOST:PORT/UNIT"]


def test_a_place_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(NotADirectoryError) as caught:
        initialise(tmp_path / "notes" / "lab")
    said = report(caught.value)
    assert (said.code, said.message) == ("LAB-0303", f"{tmp_path / 'notes' / 'lab' / 'campaigns'}: not a directory")
    assert "name another place" in said.hint


def test_a_folder_that_no_address_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\?' in its path"):
        initialise(tmp_path / "which?")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "labctl.toml").write_text("mine")
    with pytest.raises(ExistsError, match=r"labctl\.toml"):
        initialise(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["labctl.toml"]
    assert (tmp_path / "labctl.toml").read_text() == "mine"


def test_an_unknown_kind_of_lab_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        initialise(tmp_path / "lab", "alchemy")
    assert "electrolyte" in caught.value.hint
    assert not (tmp_path / "lab").exists()


def test_what_to_type_next_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["ada's lab"]).output.splitlines()[-1]
    there = said.removeprefix("next: ").split(" && ")[0]
    assert subprocess.check_output(["sh", "-c", f"{there} && ls"], text=True).split() == ["campaigns", "labctl.toml"]
