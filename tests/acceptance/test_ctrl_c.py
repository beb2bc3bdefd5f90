"""Ctrl-C on a running campaign: once pauses, twice stops, and neither ends in a traceback."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.lab import LABCTL, LabFolder
from tests.ctrl_c import carried_on


@pytest.fixture
def lab(tmp_path: Path, database: str) -> LabFolder:
    return LabFolder.make(tmp_path / "lab", experiments=200, speed=3600, database=database)


def running(lab: LabFolder) -> subprocess.Popen[str]:
    """A campaign that has said that it runs."""
    process = subprocess.Popen(
        [*LABCTL, "campaign", "run", "campaigns/conductivity.toml"],
        cwd=lab.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "is running" in process.stdout.readline()
    return process


def test_once_finishes_what_is_under_way_and_pauses(lab: LabFolder) -> None:
    process = running(lab)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert "Pausing C-0001" in out
    assert (process.returncode, error) == (0, "")
    assert lab.json("campaign", "list")[0]["state"] == "paused"
    lab.close()


def test_twice_stops_now_and_says_how_to_go_on(lab: LabFolder) -> None:
    process = running(lab)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert any("Pausing C-0001" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error == "error LAB-0130: stopped now; C-0001 can go on\n  try: labctl campaign resume C-0001\n"
    lab.close()


@pytest.mark.timeout(600)
def test_any_moment_leaves_a_campaign_that_goes_on(tmp_path: Path) -> None:
    """The short form of `make ctrl-c-test N=100`."""
    carried_on(tmp_path / "lab", number=8, seed=1, experiments=60)
