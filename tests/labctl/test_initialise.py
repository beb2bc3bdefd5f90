from __future__ import annotations

from pathlib import Path

import pytest

from labctl import campaigning, wiring
from labctl.errors import ExistsError, UsageError
from labctl.initialise import initialise


def test_a_new_lab_is_sound_from_the_first_moment(tmp_path: Path) -> None:
    initialise(tmp_path / "my lab!")
    lab = wiring.open_lab(tmp_path / "my lab!")
    assert lab.file.lab.name == "my-lab"
    spec, _ = campaigning.validate(lab, tmp_path / "my lab!" / "campaigns" / "conductivity.toml")
    assert spec.budget.experiments == 30


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
