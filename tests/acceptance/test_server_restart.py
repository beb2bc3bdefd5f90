"""The PostgreSQL server crashes under a running campaign: the work waits, nothing is lost, nothing is made twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.acceptance.lab import LabFolder
from tests.acceptance.test_kill import check_nothing_twice_nothing_lost

CRASHES = 4
EXPERIMENTS = 12


@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_a_server_that_crashes_again_and_again_costs_time_and_nothing_else(tmp_path: Path) -> None:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as cluster:
        lab = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=3600, database=cluster.url)
        process = lab.start("campaign", "run", "campaigns/conductivity.toml")
        for crash in range(1, CRASHES + 1):
            while sum(e["state"] == "done" for e in lab.json("experiment", "list")) < 2 * crash:
                assert process.poll() is None, (lab.folder / "worker.out").read_text()
            cluster.crash()
            cluster.start()
        assert process.wait(timeout=170) == 0, (lab.folder / "worker.out").read_text()
        assert "The database does not answer. The work waits for it." in (lab.folder / "worker.out").read_text()
        assert "waiting for the database" not in (lab.folder / "worker.out").read_text()  # that is for the log
        assert lab.json("campaign", "list")[0]["state"] == "done"
        check_nothing_twice_nothing_lost(lab, EXPERIMENTS)
        lab.close()
