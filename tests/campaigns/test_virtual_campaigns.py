"""Whole campaigns with production drivers, hosts, loop and turns under a virtual clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from materials_db import records as db
from tests.virtual_lab import ORIGIN, VirtualLab, campaign, live

LABS: list[VirtualLab] = []


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while LABS:
        LABS.pop().close()


def carried_out(faults: str = "none", seed: int = 1, **changes: Any) -> tuple[VirtualLab, str]:
    async def work() -> tuple[VirtualLab, str]:
        lab = VirtualLab(faults=faults, seed=seed)
        LABS.append(lab)
        return lab, await lab.carry_out(campaign(**changes))

    return live(work())


def experiments(lab: VirtualLab, id: str) -> list[db.Experiment]:
    with lab.store.transaction() as tx:
        return tx.find(db.Experiment, order="number", campaign_id=id)


def ended(lab: VirtualLab, id: str) -> db.Campaign:
    with lab.store.transaction() as tx:
        return tx.get(db.Campaign, id)


def test_a_month_of_campaign() -> None:
    spec = campaign()
    steps = [s.model_dump(mode="json") for s in spec.recipe.steps]
    steps[1]["params"] = {"temperature": "25 degC", "hold": "11 h"}
    month = {"experiments": None, "time": 30 * 86400.0, "money": None, "stock": {}}
    lab, id = carried_out(budget=month, recipe={"batch": 6000.0, "steps": steps})
    campaign_row, made = ended(lab, id), experiments(lab, id)
    assert campaign_row.reason == "time budget of 720 h of lab time used"
    assert campaign_row.ended_at is not None
    assert campaign_row.ended_at - ORIGIN > timedelta(days=30)
    assert len(made) > 50
    with lab.store.transaction() as tx:
        tx.verify_events()
        assert not [lease for lease in tx.leases() if lease.holder]


def test_the_same_seed_gives_the_same_month_to_the_last_digit() -> None:
    first, second = (carried_out(faults="demo", budget={"experiments": 15}) for _ in range(2))
    heads = []
    for lab, _ in (first, second):
        with lab.store.transaction() as tx:
            heads.append(tx.events()[-1].hash)
    assert heads[0] == heads[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_lab_of_chaos_every_experiment_ends_and_nothing_is_made_twice(seed: int) -> None:
    lab, id = carried_out(faults="chaos", seed=seed, budget={"experiments": 40})
    made = experiments(lab, id)
    row = ended(lab, id)
    assert row.state == "done" or (row.state == "paused" and "in a row" in row.reason)
    assert {e.state for e in made} <= {"done", "failed", "held"}
    acts = lab.sim.world.memory.acts()
    assert {job: n for job, n in acts.items() if n != 1} == {}
    assert set(lab.sim.world.memory.made().values()) == {1}
    with lab.store.transaction() as tx:
        states = Counter(job.state for job in tx.find(db.Job))
        assert not states.keys() & {"queued", "running", "planned"}
        good = tx.find(db.Measurement, quantity="ionic_conductivity")
        assert len({m.sample_id for m in good}) == len(good) == sum(e.state == "done" for e in made)


def test_measurements_are_of_the_sample_they_are_attributed_to() -> None:
    from instruments.sim import physics

    lab, _ = carried_out(budget={"experiments": 12})
    with lab.store.transaction() as tx:
        for m in tx.find(db.Measurement, quantity="ionic_conductivity"):
            (made,) = lab.sim.world.memory.of_sample(m.sample_id, "doser-1")
            assert m.value == pytest.approx(physics.conductivity(made.program["dosed"], 25.0), rel=0.03)


def test_a_campaign_stops_at_its_target() -> None:
    objective = {"quantity": "ionic_conductivity", "unit": "mS/cm", "direction": "maximize", "target": 9.0}
    lab, id = carried_out(objective=objective)
    assert "target of 9 mS/cm reached" in ended(lab, id).reason
    assert len(experiments(lab, id)) < 30


def test_the_last_gram_of_salt_is_not_promised_twice() -> None:
    budget = {"experiments": 30, "stock": {"LiPF6": 3000.0}}
    lab, id = carried_out(budget=budget)
    assert ended(lab, id).reason.startswith("stock of LiPF6")
    with lab.store.transaction() as tx:
        asked = sum(i.intended_mg for i in tx.find(db.Ingredient) if i.lot_id == "L-0001")
    assert 0 < asked <= 3000.0


def test_money_runs_out_before_the_next_vial() -> None:
    lab, id = carried_out(budget={"experiments": 30, "money": 10.0})
    assert ended(lab, id).reason.startswith("money budget of 10")
    assert 1 <= len(experiments(lab, id)) < 30


def test_a_lab_whose_doser_is_broken_pauses_itself_and_says_so() -> None:
    async def work() -> tuple[VirtualLab, str]:
        lab = VirtualLab()
        LABS.append(lab)
        lab.sim.world.rates["jam"] = 1.0
        return lab, await lab.carry_out(campaign())

    lab, id = live(work())
    row = ended(lab, id)
    assert row.state == "paused"
    assert "lost to machines" in row.reason
    assert len(experiments(lab, id)) < 12
