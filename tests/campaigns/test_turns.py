from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from campaigns.instrument_time import shares_s
from campaigns.turns import Turns
from materials_db import records as db
from materials_db import waiting
from materials_db.order import AGING_S, BEGUN_S
from materials_db.sql.store import SqlStore
from tests import records


async def test_an_instrument_serves_in_the_order_of_asking() -> None:
    turns, order = Turns(), []

    async def experiment(name: str) -> None:
        got = await turns.take(["doser-1"], name)
        order.append(name)
        turns.release([got], name)

    await asyncio.gather(*(experiment(f"E-{n}") for n in range(5)))
    assert order == [f"E-{n}" for n in range(5)]


async def test_a_free_equivalent_instrument_is_taken_at_once() -> None:
    turns = Turns()
    assert await turns.take(["furnace-1", "furnace-2"], "E-1") == "furnace-1"
    assert await turns.take(["furnace-1", "furnace-2"], "E-2") == "furnace-2"


async def test_an_instrument_whose_newest_run_cost_a_sample_comes_after_those_that_can_do_the_same() -> None:
    furnaces = ["furnace-1", "furnace-2"]
    turns = Turns(doubted=["furnace-1"])
    assert await turns.take(furnaces, "E-1") == "furnace-2"
    assert await turns.take(furnaces, "E-2") == "furnace-1"  # better than to wait
    turns.note_run("furnace-1", spoilt=False)
    turns.note_run("furnace-2", spoilt=True)
    turns.release(["furnace-2"], "E-1")
    turns.release(["furnace-1"], "E-2")
    assert await turns.take(furnaces, "E-3") == "furnace-1"
    turns.release(["furnace-1"], "E-3")
    turns.note_run("furnace-1", spoilt=True)
    turns.close({"furnace-2": False})
    turns.close({})  # somebody has looked at it and released it
    assert await turns.take(furnaces, "E-4") == "furnace-2"


async def test_the_holder_of_an_instrument_need_not_wait_for_it_again() -> None:
    turns = Turns({"thermostat-1": "E-1"})
    assert await turns.take(["thermostat-1"], "E-1") == "thermostat-1"


async def test_a_lease_of_an_earlier_worker_keeps_others_waiting_until_its_holder_is_done() -> None:
    turns = Turns({"doser-1": "E-1"})
    second = asyncio.ensure_future(turns.take(["doser-1"], "E-2"))
    await asyncio.sleep(0)
    assert not second.done()
    turns.release(["doser-1"], "E-1")
    assert await second == "doser-1"


async def test_one_who_gives_up_waiting_does_not_get_the_turn() -> None:
    turns = Turns({"doser-1": "E-1"})
    second = asyncio.ensure_future(turns.take(["doser-1"], "E-2"))
    third = asyncio.ensure_future(turns.take(["doser-1"], "E-3"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    turns.release(["doser-1"], "E-1")
    assert await third == "doser-1"


class Ticking:
    """Lab seconds that a test moves."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


async def served(turns: Turns, asks: list[tuple[str, str]], now: Ticking, takes_s: float) -> list[str]:
    """Who gets the one furnace, in order; each keeps it for so long."""
    waiting = [asyncio.ensure_future(turns.take(["furnace-1"], holder, campaign)) for holder, campaign in asks]
    await asyncio.sleep(0)
    order = []
    while len(order) < len(asks):
        holder = turns.held["furnace-1"]
        order.append(holder)
        now.s += takes_s
        turns.release(["furnace-1"], holder)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    return order


async def test_the_higher_priority_is_served_first() -> None:
    now = Ticking()
    turns = Turns({"furnace-1": "E-0"}, now)
    turns.priority = {"C-2": 1}
    asks = [("E-1", "C-1"), ("E-2", "C-2"), ("E-3", "C-1"), ("E-4", "C-2")]
    assert await served(turns, [("E-0", ""), *asks][1:], now, 60) == ["E-0", "E-2", "E-4", "E-1"]


async def test_of_one_priority_the_campaign_that_is_due_first_is_served_first() -> None:
    now = Ticking()
    turns = Turns({"furnace-1": "E-0"}, now)
    turns.due, turns.priority = {"C-2": 2000.0, "C-3": 1000.0}, {"C-4": 1}
    asks = [("E-1", "C-1"), ("E-2", "C-2"), ("E-3", "C-3"), ("E-4", "C-4"), ("E-5", "C-3")]
    assert await served(turns, asks, now, 60) == ["E-0", "E-4", "E-3", "E-5", "E-2"]


async def test_campaigns_of_one_priority_share_an_instrument_however_much_one_of_them_asks() -> None:
    now = Ticking()
    turns = Turns({}, now)
    asks = [(f"A-{i}", "C-1") for i in range(6)] + [(f"B-{i}", "C-2") for i in range(3)]
    assert (await served(turns, asks, now, 60))[:6] == ["A-0", "B-0", "A-1", "B-1", "A-2", "B-2"]


async def test_waiting_raises_the_priority_so_that_nobody_starves() -> None:
    """The bound: levels of priority times AGING_S, and the job that is running then."""
    now, higher = Ticking(), 3
    turns = Turns({"furnace-1": "U-0"}, now)
    turns.priority = {"urgent": higher}
    low = asyncio.ensure_future(turns.take(["furnace-1"], "E-1", "patient"))
    takes_s, number = AGING_S / 4, 0
    while not low.done():
        number += 1
        asyncio.ensure_future(turns.take(["furnace-1"], f"U-{number}", "urgent"))  # noqa: RUF006 - held by turns
        await asyncio.sleep(0)
        now.s += takes_s
        turns.release(["furnace-1"], turns.held["furnace-1"])
        await asyncio.sleep(0)
    assert higher * AGING_S <= now.s <= (higher + 1) * AGING_S + takes_s


async def test_a_draining_instrument_serves_samples_that_are_begun() -> None:
    turns = Turns()
    turns.close({"furnace-1": True, "furnace-2": False})
    fresh = asyncio.ensure_future(turns.take(["furnace-1", "furnace-2"], "E-1"))
    assert await turns.take(["furnace-1", "furnace-2"], "E-2", behind=2) == "furnace-1"
    turns.release(["furnace-1"], "E-2")
    await asyncio.sleep(0)
    assert not fresh.done()
    fresh.cancel()


async def test_whose_turn_it_would_be_may_change_while_it_waits() -> None:
    turns, most_urgent = Turns({"furnace-1": "E-0"}), ["calm"]
    turns.priority = {"urgent": 5}
    waits = [
        asyncio.ensure_future(turns.take(["furnace-1"], "E-1", "calm")),
        asyncio.ensure_future(turns.take(["furnace-1"], "Y-1", lambda: most_urgent[0])),
    ]
    await asyncio.sleep(0)
    most_urgent[0] = "urgent"  # a sample of another campaign has joined the tray
    turns.release(["furnace-1"], "E-0")
    assert await waits[1] == "furnace-1"
    waits[0].cancel()


async def test_a_draining_instrument_serves_those_who_hold_another_one() -> None:
    turns = Turns({"thermostat-1": "E-1"})
    turns.close({"analyser-1": True})
    fresh = asyncio.ensure_future(turns.take(["analyser-1"], "E-2"))
    assert await turns.take(["analyser-1"], "E-1") == "analyser-1"
    turns.release(["analyser-1"], "E-1")
    await asyncio.sleep(0)
    assert not fresh.done()
    turns.close({})
    assert await fresh == "analyser-1"


async def test_a_wait_that_is_called_off_ends_with_nothing() -> None:
    turns = Turns({"doser-1": "E-1"})
    second = asyncio.ensure_future(turns.take(["doser-1"], "E-2"))
    await asyncio.sleep(0)
    turns.dismiss(["E-2"])
    assert await second is None


async def test_a_turn_that_the_lease_contradicts_goes_to_the_one_who_has_the_lease() -> None:
    turns = Turns({"doser-1": "E-1"})
    second = asyncio.ensure_future(turns.take(["doser-1"], "E-2"))
    await asyncio.sleep(0)
    turns.correct("doser-1", "E-2")
    assert await second == "doser-1"
    first = asyncio.ensure_future(turns.take(["doser-1"], "E-1"))
    await asyncio.sleep(0)
    assert not first.done()
    turns.release(["doser-1"], "E-2")
    assert await first == "doser-1"


async def test_what_is_begun_goes_before_what_is_not_within_bounds() -> None:
    turns = Turns({"furnace-1": "E-0"})
    waiting = {
        name: asyncio.ensure_future(turns.take(["furnace-1"], name, campaign, behind=behind))
        for name, campaign, behind in (("E-1", "C-1", 2), ("E-2", "C-1", 3), ("E-3", "C-2", 2))
    }
    await asyncio.sleep(0)
    turns.used_s = {"C-1": BEGUN_S - 1}  # has had more, yet not so much as a step is worth
    turns.release(["furnace-1"], "E-0")
    assert await waiting["E-2"] == "furnace-1"
    turns.used_s = {"C-1": BEGUN_S + 1}
    turns.release(["furnace-1"], "E-2")
    assert await waiting["E-3"] == "furnace-1"
    turns.release(["furnace-1"], "E-3")
    assert await waiting["E-1"] == "furnace-1"


def queued(n: int, campaign: str, hour: int) -> list[db.Record]:
    """An experiment of that campaign whose first step waits since that hour."""
    line = [r for r in records.experiment_line(n, campaign) if r.kind != "composition"]
    at = records.AT + timedelta(hours=hour)
    return [r.model_copy(update={"state": "queued", "queued_at": at}) if isinstance(r, db.Job) else r for r in line]


def test_the_queue_is_in_the_order_in_which_turns_are_given(tmp_path: Path) -> None:
    """One waits for seven hours, one has priority, one is due, one has had much, one nothing."""
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    more: dict[str, dict[str, Any]] = {"C-0002": {"priority": 2}, "C-0003": {"due_at": records.AT}}
    now = records.AT + timedelta(hours=7)
    with store.transaction() as tx:
        tx.add(*(records.campaign(f"C-000{n}", **more.get(f"C-000{n}", {})) for n in range(1, 6)), at=now, actor="test")
        for n, hour in ((1, 0), (2, 6), (3, 6), (4, 5), (5, 6)):
            tx.add(*queued(n, f"C-000{n}", hour), at=now, actor="test")
        busy = queued(6, "C-0004", 0)
        busy[-1] = busy[-1].model_copy(update={"state": "done", "started_at": records.AT, "ended_at": now})
        tx.add(*busy, at=now, actor="test")
        shares = shares_s(tx)
    store.close()
    assert [r["campaign"] for r in waiting.queue(tmp_path / "lab.sqlite")] == [f"C-000{n}" for n in (2, 1, 3, 5, 4)]
    turns = Turns(now=lambda: 7 * 3600.0, used_s=shares)
    turns.priority, turns.due = {"C-0002": 2}, {"C-0003": 0.0}
    since = {"C-0001": 0.0, "C-0002": 6.0, "C-0003": 6.0, "C-0004": 5.0, "C-0005": 6.0}
    assert sorted(since, key=lambda c: turns.urgency(c, since[c] * 3600)) == [f"C-000{n}" for n in (2, 1, 3, 5, 4)]
