from __future__ import annotations

import asyncio

from campaigns.turns import Turns


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
