"""Bottles that all campaigns share are never promised twice."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from campaigns import shelf
from campaigns.history import History
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from campaigns.plan import Plan
from labctl import live as live_view
from labctl.display import show_campaign
from materials_db import glance, waiting
from materials_db import records as db
from materials_db.sql.store import SqlStore
from materials_db.store import MaterialsStore
from tests import postgres, records
from tests.virtual_lab import VirtualLab, campaign, live

AT = datetime(2026, 1, 5, tzinfo=UTC)


def bottle(amount_mg: float, id: str = "L-0001", at: datetime = AT) -> db.Lot:
    return db.Lot(id=id, component="EC", formula="C3H4O3", amount_mg=amount_mg, received_at=at, origin="simulated")


def race(store: MaterialsStore, racers: int, tries: int = 2) -> int:
    """How many of many campaigns get 7 mg each."""
    won, lock = [], threading.Lock()

    def campaign_() -> None:
        for _ in range(tries):
            with store.transaction() as tx:
                if shelf.reserve(tx, {"EC": 7.0}) is not None:
                    with lock:
                        won.append(1)

    threads = [threading.Thread(target=campaign_) for _ in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won)


def raced(url: str, raw: Path) -> int:
    """What the campaigns of one worker of four get."""
    store = SqlStore.open(url, raw, full_sync=False)
    won = race(store, racers=25)
    store.close()
    return won


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_a_hundred_campaigns_of_four_workers_race_for_the_last_gram(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    file = f"sqlite:///{tmp_path}/lab.sqlite"
    url = file if kind == "sqlite" else postgres.fresh_database(request.getfixturevalue("postgres_url"))
    store = SqlStore.open(url, tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        tx.add(bottle(1000.0), at=AT, actor="test")
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as workers:
        assert sum(workers.map(partial(raced, url), [tmp_path / "raw"] * 4)) == 142
    with store.transaction() as tx:
        assert shelf.left_mg(tx) == {"EC": 6.0}
    store.close()


def test_a_bottle_that_two_begin_to_count_at_once_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = VirtualLab()
    with lab.store.transaction() as tx:
        tx.add(bottle(1000.0), at=AT, actor="test")
        assert shelf.reserve(tx, {"EC": 7.0})
    with lab.store.transaction() as tx:
        known, before = tx.taken, [None]  # the first look was a moment before the other's commit
        monkeypatch.setattr(tx, "taken", lambda name: before.pop() if before else known(name))
        assert shelf.reserve(tx, {"EC": 7.0})
        assert shelf.left_mg(tx) == {"EC": 986.0}
    lab.close()


def test_nothing_is_promised_where_one_of_several_is_short() -> None:
    lab = VirtualLab()
    with lab.store.transaction() as tx:
        tx.add(bottle(10.0), bottle(1.0, "L-0002").model_copy(update={"component": "DMC"}), at=AT, actor="test")
        assert shelf.reserve(tx, {"EC": 5.0, "DMC": 2.0}) is None
        assert shelf.left_mg(tx) == {"EC": 10.0, "DMC": 1.0}
        assert shelf.reserve(tx, {"EC": 5.0, "DMC": 1.0}) == {"EC": "L-0001", "DMC": "L-0002"}
    lab.close()


def scarce(lab: VirtualLab, **mg: float) -> VirtualLab:
    """The lab with less in some bottles."""
    stock = {n: lab.file.stock[n].model_copy(update={"amount": left}) for n, left in mg.items()}
    lab.file = lab.file.model_copy(update={"stock": {**lab.file.stock, **stock}})
    return lab


def test_a_campaign_rests_when_the_bottle_is_empty_and_says_so() -> None:
    async def work() -> None:
        lab = scarce(VirtualLab(), LiPF6=3000.0)
        id = await lab.carry_out(campaign(budget={"experiments": 30}, optimizer={"name": "random"}))
        with lab.store.transaction() as tx:
            rests = tx.get(db.Campaign, id)
            assert (rests.state, rests.wanted) == ("paused", "run")
            assert rests.reason.startswith("stock of LiPF6: ")
            used = sum(i.weighed_mg for i in tx.find(db.Ingredient) if i.lot_id == shelf.bottles(tx)["LiPF6"].id)
            assert shelf.left_mg(tx)["LiPF6"] == pytest.approx(3000.0 - used, abs=0.1)
        lab.close()

    live(work())


def test_a_campaign_is_done_when_its_own_share_of_a_full_bottle_is_used() -> None:
    async def work() -> None:
        lab = VirtualLab()
        budget = {"experiments": 30, "stock": {"LiPF6": 3000.0}}
        id = await lab.carry_out(campaign(budget=budget, optimizer={"name": "random"}))
        with lab.store.transaction() as tx:
            assert tx.get(db.Campaign, id).state == "done"
            assert tx.get(db.Campaign, id).reason.startswith("stock of LiPF6: ")
        lab.close()

    live(work())


def test_a_campaign_ends_when_its_instrument_time_is_promised_and_what_it_took_is_settled() -> None:
    async def work() -> None:
        lab = VirtualLab()
        limit = {"measure_conductivity": 3000.0}
        id = await lab.carry_out(
            campaign(budget={"experiments": 30, "instrument_time": limit}, optimizer={"name": "random"})
        )
        with lab.store.transaction() as tx:
            ended = tx.get(db.Campaign, id)
            jobs = tx.find(db.Job, capability="measure_conductivity", state=["done", "failed"])
            assert ended.reason.startswith("instrument time for measure_conductivity: 0.")
            seconds = {j.id: (j.ended_at - j.started_at).total_seconds() for j in jobs if j.ended_at and j.started_at}
            took, repeats = sum(seconds.values()), sum(s for id, s in seconds.items() if id.endswith((".2", ".3")))
            one = tx.find(db.Experiment)[0].plan["acts"]["measure"]["takes_s"]
            assert took - repeats <= 3000.0 < took + one
            history = History.of(id, Plan.of(ended))
            history.refresh(tx)
            assert history.used.instrument_s["measure_conductivity"] == pytest.approx(took)
        lab.close()

    live(work())


def test_of_a_tray_each_sample_takes_its_share_of_the_instrument_time() -> None:
    async def work() -> None:
        lab = VirtualLab(kind="alloy", optimizer=lambda plan: OnTrays(RandomSearch(), plan.shared))
        spec = campaign(
            "alloy/campaigns/hardness.toml",
            budget={"experiments": 8, "instrument_time": {"solution_treat": 1e6}},
            optimizer={"name": "random", "in_flight": 8},
        )
        id = await lab.carry_out(spec)
        with lab.store.transaction() as tx:
            history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
            history.refresh(tx)
            acts = {
                j.tray: (j.ended_at - j.started_at).total_seconds()
                for j in tx.find(db.Job, capability="solution_treat")
            }
            assert history.used.instrument_s["solution_treat"] == pytest.approx(sum(acts.values()))
        lab.close()

    live(work())


def spent(lab: VirtualLab, id: str) -> dict[str, float]:
    """Stock that a campaign has used or promised, as its history counts it."""
    with lab.store.transaction() as tx:
        history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
        history.refresh(tx)
        return dict(history.used.stock_mg)


def test_a_campaign_s_own_stock_is_settled_by_what_was_weighed() -> None:
    async def work() -> None:
        lab = VirtualLab()
        id = await lab.carry_out(
            campaign(budget={"experiments": 4, "stock": {"EC": 1e6}}, optimizer={"name": "random"})
        )
        with lab.store.transaction() as tx:
            ec = shelf.bottles(tx)["EC"].id
            weighed = [i.weighed_mg for i in tx.find(db.Ingredient, lot_id=ec)]
            asked = [i.intended_mg for i in tx.find(db.Ingredient, lot_id=ec)]
        assert sum(weighed) != sum(asked)
        assert spent(lab, id)["EC"] == pytest.approx(sum(weighed))
        lab.close()

    live(work())


SHORT = "stock of LiPF6: 1.2 g left, the next experiment takes 3 g"


def test_who_watches_sees_what_the_next_experiment_of_a_campaign_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lab.sqlite"
    store = SqlStore.open(f"sqlite:///{path}", tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        waits = records.campaign(reason=SHORT)
        tx.add(waits, records.campaign("C-0002", reason=SHORT, state="paused"), at=AT, actor="test")
    store.close()
    (row,) = waiting.queue(path)
    assert [row[key] for key in ("run", "step", "reason")] == ["C-0001", "next experiment", SHORT]
    assert live_view.short(glance.progress(path, "C-0001")) == f"the next experiment waits: {SHORT}"
    show_campaign(glance.campaign(path, "C-0002"), [])
    told = capsys.readouterr().out
    assert f"paused: {SHORT}" in told
    assert (
        "next        state the new bottle and its lot in [stock.LiPF6] of labctl.toml, then: labctl campaign resume C-0002"
        in told
    )
