"""The second lab through the real command line, with furnaces over Modbus/TCP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.lab import LabFolder, kill


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabFolder]:
    made = LabFolder.make(tmp_path / "lab", kind="alloy", speed=400000)
    yield made
    made.close()


def test_an_alloy_campaign_finds_measures_and_remembers(lab: LabFolder) -> None:
    lab("campaign", "validate", lab.campaign)
    lab("campaign", "run", lab.campaign)
    experiments = lab.json("experiment", "list", "--campaign", "C-0001")
    assert len(experiments) == 6
    assert {e["state"] for e in experiments} <= {"done", "failed"}
    assert set(lab.acts().values()) == {1}
    sample = next(e["sample"] for e in experiments if e["state"] == "done")
    traced = lab("trace", sample).stdout
    for word in ("vickers_hardness", "pitting_potential", "ageing_temperature", "polarisation.csv", "furnace-", "Cu"):
        assert word in traced
    lab("audit", "verify")


def test_killed_in_the_middle_nothing_is_heated_twice(lab: LabFolder) -> None:
    worker = lab.start("campaign", "run", lab.campaign)
    while not (lab.folder / ".labctl" / "simulator" / "simulator.json").exists() or not any(
        job.endswith("/age") for job in lab.acts()
    ):
        assert worker.poll() is None
    kill(worker)
    lab("campaign", "run", lab.campaign)
    assert {e["state"] for e in lab.json("experiment", "list", "--campaign", "C-0001")} <= {"done", "failed"}
    assert set(lab.acts().values()) == {1}
    assert all(set(jobs.values()) == {1} for jobs in lab.simulator.acts_on().values())
