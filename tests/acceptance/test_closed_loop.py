"""A whole campaign through the real command line, sockets, database and optimizer."""

from __future__ import annotations

import subprocess

from tests.acceptance.lab import LABCTL, LabFolder


def test_a_campaign_finds_measures_and_remembers(lab: LabFolder) -> None:
    lab("campaign", "validate", "campaigns/conductivity.toml")
    lab("campaign", "run", "campaigns/conductivity.toml")
    (campaign,) = lab.json("campaign", "list")
    assert campaign["state"] == "done"
    experiments = lab.json("experiment", "list", "--campaign", "C-0001")
    assert len(experiments) == 6
    assert {e["state"] for e in experiments} <= {"done", "failed"}
    assert all(count == 1 for count in lab.acts().values())
    traced = lab("trace", next(e["sample"] for e in experiments if e["state"] == "done")).stdout
    for word in ("impedance", "doser", "LiPF6", "C-0001", "calibration"):
        assert word in traced
    (analyser,) = lab.json("instrument", "show", "analyser-1")
    assert abs(analyser["reference"]["zeta"]) < 3
    assert "reference  KCl 0.1 mol/kg" in lab("instrument", "show", "analyser-1").stdout
    lab("audit", "verify")


def test_every_value_is_stamped_simulated(lab: LabFolder) -> None:
    lab("campaign", "run", "campaigns/conductivity.toml")
    rows = lab.json("candidate", "list")
    assert rows
    assert all(row["origin"] == "simulated" for row in rows)


def test_a_second_terminal_attaches_to_the_worker_that_runs(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "6000"})
    first = lab.start("campaign", "run", "campaigns/conductivity.toml")
    lab.wait_for("campaign", process=first)
    other = (lab.folder / "campaigns" / "conductivity.toml").read_text().replace("seed = 1", "seed = 2")
    (lab.folder / "campaigns" / "second.toml").write_text(other)
    second = lab("campaign", "run", "campaigns/second.toml")
    assert first.wait(timeout=170) == 0
    assert "C-0002" in second.stdout + second.stderr
    assert {c["id"]: c["state"] for c in lab.json("campaign", "list")} == {"C-0001": "done", "C-0002": "done"}
    assert all(count == 1 for count in lab.acts().values())


def test_output_into_a_closed_pipe_ends_quietly(lab: LabFolder) -> None:
    lab("campaign", "run", "campaigns/conductivity.toml")
    for words in (["experiment", "list", "-o", "csv"], ["audit", "list", "--last", "500"]):
        command = ["bash", "-o", "pipefail", "-c", " ".join([*LABCTL, *words, "| head -1"])]
        done = subprocess.run(command, cwd=lab.folder, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1


def test_a_campaign_whose_reader_goes_away_says_how_it_goes_on(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "1800"})  # so that it is not over before the second line
    command = ["bash", "-o", "pipefail", "-c", " ".join([*LABCTL, "campaign", "run", lab.campaign, "| head -1"])]
    done = subprocess.run(command, cwd=lab.folder, capture_output=True, text=True, timeout=170)
    assert (done.returncode, done.stdout.count("\n")) == (130, 1)
    assert "nobody reads on; C-0001 can go on\n  try: labctl campaign resume C-0001" in done.stderr
    lab("campaign", "resume", "C-0001")
    assert lab.json("campaign", "list")[0]["state"] == "done"
