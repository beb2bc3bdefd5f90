"""Until when a pause takes: what is under way, and nothing else, is counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from campaigns.remaining import earliest_end, under_way
from labctl import campaigning
from materials_db import records as db
from tests.campaigns.test_interventions import ALLOY, TWO, Floor, at_work


@pytest.mark.parametrize("kind", ["electrolyte", "alloy"])
def test_a_pause_says_what_is_finished_first_and_until_when(kind: str) -> None:
    name = ALLOY if kind == "alloy" else "electrolyte/campaigns/conductivity.toml"

    async def story(floor: Floor) -> None:
        id = await floor.launch(name, budget={"experiments": 6}, **TWO)
        await floor.until(lambda: floor.find(db.Job, state="running"), every_s=1)
        floor.wish(id, wanted="pause")
        with floor.lab.store.transaction() as tx:
            count, jobs = under_way(tx, id)
        said = earliest_end(jobs, floor.bench.capabilities, floor.lab.clock.now()) - floor.lab.clock.now()
        before = floor.lab.clock.now()
        await floor.until(every_s=60)
        took = floor.lab.clock.now() - before
        assert (count, floor.campaign(id).state, floor.states()) == (2, "paused", ["done", "done"])
        assert timedelta(0) < said < 1.3 * took  # usual times; a run may be quicker than usual
        assert said > 0.25 * took  # trays and turns come on top
        with floor.lab.store.transaction() as tx:
            assert under_way(tx, id) == (0, [])

    at_work(story, kind)


def test_a_stop_after_an_abort_that_was_taken_back_breaks_nothing_off() -> None:
    async def story(floor: Floor) -> None:
        id = await floor.launch(budget={"experiments": 6}, **TWO)
        with floor.lab.store.transaction() as tx:
            for wanted in ("abort", "run", "stop"):
                campaigning.apply_wish(tx, tx.get(db.Campaign, id), wanted, floor.lab.clock.now())
        assert (floor.campaign(id).wanted, floor.campaign(id).abort) == ("stop", False)

    at_work(story)
