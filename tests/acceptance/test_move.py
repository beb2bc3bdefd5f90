"""A campaign is paused, its lab moves to a server, and the campaign goes on there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.acceptance.lab import LabFolder
from tests.acceptance.test_kill import check_nothing_twice_nothing_lost


@pytest.mark.postgres
def test_a_paused_campaign_goes_on_after_the_move(tmp_path: Path, postgres_url: str) -> None:
    lab = LabFolder.make(tmp_path / "lab", speed=600)
    process = lab.start("campaign", "run", "campaigns/conductivity.toml")
    lab.wait_for("experiment", process=process)
    lab("campaign", "pause", "C-0001")
    process.wait(timeout=120)
    url = postgres.fresh_database(postgres_url)
    assert "are there; the chain is unbroken" in lab("db", "move-to", url, "--switch").stdout
    assert lab.json("campaign", "list")[0]["state"] == "paused"
    lab("campaign", "resume", "C-0001")
    assert lab.json("campaign", "list")[0]["state"] == "done"
    check_nothing_twice_nothing_lost(lab, 6)
    assert {row["state"] for row in lab.json("db", "check")} == {"ok"}
    lab.close()
