"""What a run had given when it was broken off is kept, and never taken for a value."""

from __future__ import annotations

import pytest

from campaigns.history import History
from campaigns.plan import Plan
from instruments.contract import Fault
from instruments.errors import LinkLost
from labctl.display import show_trace
from materials_db import records as db
from materials_db.trace import trace
from tests.campaigns.test_interventions import ALLOY, ONE, TWO, Floor, at_work

BROKEN_OFF = {
    "measure": ("electrolyte/campaigns/conductivity.toml", "electrolyte", "partial-impedance.csv", 60),
    "age": (ALLOY, "alloy", "partial-temperature.csv", 4 * 3600),
    "indent": (ALLOY, "alloy", "partial-indents.csv", 90),
}


async def broken_off(floor: Floor, name: str, step: str, after_s: float) -> str:
    """A campaign that was aborted some time after this step began; its id."""
    id = await floor.launch(name, budget={"experiments": 2}, **(TWO if "alloy" in name else ONE))
    await floor.until(lambda: floor.find(db.Job, step=step, state="running"), every_s=1)
    await floor.lab.clock.sleep(after_s)
    floor.wish(id, wanted="stop", abort=True)
    await floor.until()
    return id


@pytest.mark.parametrize("step", list(BROKEN_OFF))
def test_an_aborted_run_leaves_what_it_had_measured_and_no_value(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, kind, file, after_s = BROKEN_OFF[step]

    async def story(floor: Floor) -> None:
        id = await broken_off(floor, name, step, after_s)
        assert floor.campaign(id).state == "stopped"
        jobs = floor.find(db.Job, step=step, fault=Fault.OPERATOR.value)
        assert jobs
        for job in jobs:
            assert job.message == f"{id} aborted; partial: {file.removeprefix('partial-')} is kept"
            with floor.lab.store.transaction() as tx:
                found = trace(tx, job.sample_id)
                (raw,) = (found.raw_files[id] for id in job.as_run["partial"])
                assert raw.name == file
                assert 2 < tx.read_raw(raw.id).count(b"\n") < 100
            show_trace(found)
            shown = (
                f"raw file {file} sha256 {raw.id[:16]} ({raw.size} bytes), partial: aborted, no value is drawn from it"
            )
            assert shown in capsys.readouterr().out
            assert [m for m in found.measurements if m.job_id == job.id] == []
        with floor.lab.store.transaction() as tx:
            history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
            history.refresh(tx)
            assert list(history.known) == []
            assert [lease for lease in tx.leases() if lease.holder] == []

    at_work(story, kind)


def test_a_machine_that_does_not_hand_it_over_keeps_no_lease_and_it_is_said() -> None:
    async def story(floor: Floor) -> None:
        async def silent(*_: object) -> None:
            raise LinkLost("connection refused")

        floor.lab.hosts["analyser-1"].driver.salvage = silent  # type: ignore[attr-defined]
        await broken_off(floor, "electrolyte/campaigns/conductivity.toml", "measure", 60)
        (job,) = floor.find(db.Job, step="measure", state="aborted")
        assert job.message == "C-0001 aborted; what it had measured could not be fetched: connection refused"
        with floor.lab.store.transaction() as tx:
            assert [lease for lease in tx.leases() if lease.holder] == []

    at_work(story)
