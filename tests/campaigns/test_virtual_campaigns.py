"""Whole campaigns with production drivers, hosts, loop and turns under a virtual clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from campaigns.history import History
from campaigns.optimizer import Proposal
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from campaigns.plan import Plan
from materials_db import records as db
from tests.virtual_lab import ORIGIN, VirtualLab, campaign, live

LABS: list[VirtualLab] = []


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while LABS:
        LABS.pop().close()


def carried_out(faults: str = "none", seed: int = 1, **changes: Any) -> tuple[VirtualLab, str]:
    return run(None, faults, seed, **changes)


def run(
    make: Callable[[Plan], Any] | None, faults: str = "none", seed: int = 1, **changes: Any
) -> tuple[VirtualLab, str]:
    async def work() -> tuple[VirtualLab, str]:
        lab = VirtualLab(faults=faults, seed=seed, optimizer=make)
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


def test_money_is_settled_by_what_was_weighed_in() -> None:
    lab, id = carried_out(budget={"experiments": 30, "money": 10.0})
    with lab.store.transaction() as tx:
        history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
        history.refresh(tx)
        price = {lot.id: lot.price_per_g / 1000 for lot in tx.find(db.Lot) if lot.price_per_g is not None}
        weighed = sum(i.weighed_mg * price.get(i.lot_id, 0.0) for i in tx.find(db.Ingredient))
        planned = sum(e.plan["cost"]["money"] for e in experiments(lab, id))
    assert history.used.money == pytest.approx(weighed, rel=1e-9)
    assert history.used.money != pytest.approx(planned, rel=1e-9)


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


# -- goals, several objectives, limits ------------------------------------------------------

KAPPA = {"quantity": "ionic_conductivity", "unit": "mS/cm"}
WARM = {"quantity": "temperature", "unit": "degC", "direction": "minimize", "weight": 1.0, "reference": None}
BATH = {"bath": {"type": "float", "unit": "degC", "min": 15.0, "max": 40.0, "step": 1.0}}


def heated(**changes: Any) -> dict[str, Any]:
    """Changes that let the bath's temperature vary and have it measured."""
    steps = [s.model_dump(mode="json") for s in campaign().recipe.steps]
    steps[1]["params"] = {"temperature": "$bath", "hold": "10 min"}
    steps[2]["measures"] = ["ionic_conductivity", "temperature"]
    return {"process": BATH, "recipe": {"batch": 6000.0, "steps": steps}, **changes}


def known(lab: VirtualLab, id: str) -> History:
    with lab.store.transaction() as tx:
        history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
        history.refresh(tx)
        return history


def test_a_band_is_hit_and_not_exceeded() -> None:
    objective = {**KAPPA, "goal": "target", "direction": None, "band": [6.0, 7.0]}
    lab, id = carried_out(objective=objective)
    values = [o.value for o in known(lab, id).known]
    assert "target of 6 to 7 mS/cm reached" in ended(lab, id).reason
    assert any(v is not None and 6.0 <= v <= 7.0 for v in values)


def test_every_wanted_property_reaches_the_optimizer() -> None:
    lab, id = carried_out(**heated(objectives=[WARM], budget={"experiments": 6}))
    found = known(lab, id).known
    assert len(found) == 6
    for o in found:
        assert o.value is not None
        assert o.others["temperature"].value == pytest.approx(float(o.candidate.process["bath"]), abs=1.0)
        assert (o.others["temperature"].u or 0) > 0


def test_what_breaks_a_limit_does_not_reach_the_target() -> None:
    objective = {**KAPPA, "direction": "maximize", "target": 0.1}
    cold = {"quantity": "temperature", "unit": "degC", "min": None, "max": 5.0}
    lab, id = carried_out(**heated(objective=objective, limits=[cold], budget={"experiments": 5}))
    assert ended(lab, id).reason == "budget of 5 experiments used"


def test_limits_hold_in_their_own_unit() -> None:
    hot = {"quantity": "temperature", "unit": "K", "min": 200.0, "max": 400.0}
    lab, id = carried_out(**heated(limits=[hot], budget={"experiments": 3}))
    for o in known(lab, id).known:
        assert o.others["temperature"].value == pytest.approx(273.15 + float(o.candidate.process["bath"]), abs=1.0)


def test_a_synthesis_that_fails_with_a_part_of_its_results_is_no_failure() -> None:
    lab, id = carried_out(faults="chaos", seed=2, **heated(objectives=[WARM], budget={"experiments": 30}))
    found = known(lab, id).known
    partial = [o for o in found if o.value is None and o.others]
    assert partial
    assert not any(o.failed for o in partial)


def test_the_day_on_which_an_experiment_was_measured_is_its_block() -> None:
    lab, id = carried_out(budget={"experiments": 2})
    assert {o.block for o in known(lab, id).known} == {"2026-01-05"}
    steps = [s.model_dump(mode="json") for s in campaign().recipe.steps]
    steps[1]["params"] = {"temperature": "25 degC", "hold": "11 h"}
    lab, id = carried_out(budget={"experiments": 8}, recipe={"batch": 6000.0, "steps": steps})
    blocks = [o.block for o in known(lab, id).known]
    assert blocks[0] == "2026-01-05"
    assert len(set(blocks)) > 1


# -- trays, cost, earlier campaigns ---------------------------------------------------------


class Watched(RandomSearch):
    """Random search that remembers how it was made and what it was asked."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.asked: list[tuple[int, int]] = []

    def propose(self, space: Any, objective: Any, history: Any, pending: Any, n: int, seed: int) -> list[Proposal]:
        self.asked.append((n, len(pending)))
        return super().propose(space, objective, history, pending, n, seed)


def test_trays_are_filled_at_once_and_share_their_settings() -> None:
    tray = {"tray": {"size": 4, "shared": ["bath"]}, "in_flight": 8}
    lab, id = run(
        lambda plan: OnTrays(RandomSearch(), plan.shared), **heated(optimizer=tray, budget={"experiments": 10})
    )
    trays: dict[int, list[db.Experiment]] = {}
    for e in experiments(lab, id):
        trays.setdefault(e.plan["tray"], []).append(e)
    assert {first: len(made) for first, made in trays.items()} == {1: 4, 5: 4, 9: 2}
    with lab.store.transaction() as tx:
        for made in trays.values():
            candidates = [tx.get(db.Candidate, e.candidate_id) for e in made]
            assert len({c.process["bath"] for c in candidates}) == 1
            assert len({str(c.fractions) for c in candidates}) == len(made)
    assert {o.block for o in known(lab, id).known} == {"tray 1", "tray 5", "tray 9"}


def test_a_running_campaign_keeps_one_optimizer_and_tells_it_all() -> None:
    made: list[Watched] = []

    def make(plan: Plan) -> Watched:
        made.append(Watched(plan))
        return made[-1]

    cost = {"aware": True, "per_experiment": 5.0, "settings": {"bath": "0.1 EUR/K"}}
    lab, id = run(make, **heated(cost=cost, budget={"experiments": 6}))
    (one,) = made
    assert len(one.asked) > 3
    prices = one.plan.prices
    assert prices is not None
    assert (prices.fixed, prices.settings) == (5.0, {"bath": 0.1})
    assert prices.components["LiPF6"] == pytest.approx(1.80 * 6)
    for e in experiments(lab, id):
        with lab.store.transaction() as tx:
            bath = float(tx.get(db.Candidate, e.candidate_id).process["bath"])
        assert e.plan["cost"]["money"] > 5.0 + 0.1 * bath


def test_what_an_experiment_costs_beside_its_feedstock_counts_against_the_budget() -> None:
    lab, id = carried_out(budget={"experiments": 30, "money": 100.0}, cost={"per_experiment": 20.0})
    assert ended(lab, id).reason.startswith("money budget of 100")
    assert len(experiments(lab, id)) == 4


def test_an_earlier_campaign_counts_as_it_stood_at_the_launch() -> None:
    plans: list[Plan] = []

    def make(plan: Plan) -> RandomSearch:
        plans.append(plan)
        return RandomSearch()

    async def work() -> VirtualLab:
        lab = VirtualLab(optimizer=make)
        LABS.append(lab)
        first = await lab.carry_out(campaign(budget={"experiments": 5}))
        await lab.carry_out(campaign(budget={"experiments": 2}, optimizer={"prior_campaigns": [first]}))
        return lab

    live(work())
    (earlier,) = plans[1].earlier
    assert (earlier.name, len(earlier.history)) == ("C-0001", 5)
    assert earlier.space.names == plans[1].space.names
    assert plans[0].earlier == ()


def test_what_the_optimizer_expected_of_further_properties_is_on_record() -> None:
    from campaigns.optimizer import Measured

    class Telling(RandomSearch):
        def propose(self, *args: Any, **more: Any) -> list[Proposal]:
            found = super().propose(*args, **more)
            return [
                Proposal(candidate=p.candidate, reason="told", others={"temperature": Measured(25.0, 0.5)}, chance=0.9)
                for p in found
            ]

    lab, id = run(lambda plan: Telling(), **heated(objectives=[WARM], budget={"experiments": 2}))
    for e in experiments(lab, id):
        assert e.plan["others"] == {"temperature": [25.0, 0.5]}
        assert e.plan["chance"] == 0.9


def test_a_campaign_ends_when_the_best_possible_is_hardly_better() -> None:
    stop = {"within": 2.0, "probability": 0.8}
    lab, id = run(lambda plan: BayesianOptimizer(budget=60), budget={"experiments": 60}, stop=stop)
    row, made = ended(lab, id), experiments(lab, id)
    assert row.reason.endswith("% probability the best possible is at most 2 mS/cm better than what was found")
    assert 10 <= len(made) < 60


def test_a_month_of_alloys() -> None:
    async def work() -> tuple[VirtualLab, str]:
        lab = VirtualLab(kind="alloy", faults="demo")
        LABS.append(lab)
        return lab, await lab.carry_out(campaign("alloy/campaigns/hardness.toml", budget={"experiments": 30}))

    lab, id = live(work())
    states = Counter(e.state for e in experiments(lab, id))
    assert states.total() == 30
    assert states["done"] >= 20
    assert set(lab.sim.world.memory.acts().values()) == {1}
    with lab.store.transaction() as tx:
        asked = {j.id: j.params["hold_s"] for j in tx.find(db.Job, capability="age", state="done")}
        times = {m.job_id: m.value for m in tx.find(db.Measurement, quantity="ageing_time")}
    assert times
    assert all(abs(value - asked[job]) < 6.0 for job, value in times.items() if job)
    assert all(1800 <= seconds <= 86400 for seconds in asked.values())
