"""Kill -9 at random moments: the same campaign goes on, nothing made twice, nothing lost."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path

import pytest

from tests.acceptance.lab import LabFolder, kill

KILLS = 20
SOME_KILLS = 8  #: of the short form, on PostgreSQL


def run_until(lab: LabFolder, after_s: float) -> bool:
    """Start or go on with the campaign and kill it after that time; whether it ended before."""
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        kill(process)
        return False
    return True


@pytest.mark.timeout(600)
def test_kills_at_random_moments_make_nothing_twice_and_lose_nothing(tmp_path: Path, database: str) -> None:
    wanted, number = (SOME_KILLS, 12) if database else (KILLS, 25)
    lab = LabFolder.make(tmp_path / "lab", experiments=number, speed=2500, database=database)
    moments = random.Random(7)
    kills = 0
    while kills < wanted and not run_until(lab, moments.uniform(0.6, 3.0)):
        kills += 1
    lab("campaign", "run", "campaigns/conductivity.toml")
    assert kills >= wanted * 3 // 4, "the campaign ended too early to be killed often enough"
    (campaign,) = lab.json("campaign", "list")
    assert campaign["state"] == "done"
    check_nothing_twice_nothing_lost(lab, number)
    lab.close()


def check_nothing_twice_nothing_lost(lab: LabFolder, number: int) -> None:
    """Every experiment ended, each act happened once, each sample was measured once."""
    experiments = lab.json("experiment", "list", "--campaign", "C-0001")
    assert [e["number"] for e in experiments] == list(range(1, number + 1))
    assert {e["state"] for e in experiments} <= {"done", "failed"}
    assert {job: n for job, n in lab.acts().items() if n != 1} == {}
    measured = lab.json("measurement", "list", "--campaign", "C-0001")
    conductivity = [m["sample"] for m in measured if m["quantity"] == "ionic_conductivity"]
    assert len(conductivity) == len(set(conductivity)) == sum(e["state"] == "done" for e in experiments)
    lab("audit", "verify")


def test_resume_by_id_goes_on_after_a_kill(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "1000"})
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    lab.wait_for("experiment", process=process)
    kill(process)
    lab("campaign", "resume", "C-0001")
    assert lab.json("campaign", "list")[0]["state"] == "done"
    assert all(count == 1 for count in lab.acts().values())


def test_a_pause_ends_the_experiments_under_way_and_a_resume_goes_on(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "200"})
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    lab.wait_for("experiment", process=process)
    lab("campaign", "pause", "C-0001")
    process.wait(timeout=120)
    assert lab.json("campaign", "list")[0]["state"] == "paused"
    states = {e["state"] for e in lab.json("experiment", "list")}
    assert states <= {"done", "failed"}
    lab.simulator.stop()
    lab.edit("labctl.toml", {"speed": "36000"})  # for the rest
    lab("campaign", "resume", "C-0001")
    assert lab.json("campaign", "list")[0]["state"] == "done"
    assert len(lab.json("experiment", "list")) == 6


def test_the_simulator_outlives_labctl(lab: LabFolder) -> None:
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    started = threading.Event()
    while not started.is_set():
        assert process.poll() is None
        if (lab.folder / ".labctl" / "simulator" / "simulator.json").exists():
            started.set()
    kill(process)
    assert lab.simulator.ping()
