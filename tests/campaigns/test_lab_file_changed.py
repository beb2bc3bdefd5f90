"""An instrument that was taken out of the lab file: what was planned while it was there goes to others, or says why it waits."""

from __future__ import annotations

from campaigns.bench import Bench, in_flight, segment_id
from campaigns.engines.inline import InlineEngine
from campaigns.floor import GONE
from campaigns.loop import workflows
from materials_db import records as db
from tests.campaigns.test_sites import hold, release
from tests.virtual_lab import VirtualLab, campaign, live


async def begin(lab: VirtualLab, bench: Bench, id: str, segment: str) -> InlineEngine:
    """A worker that carries the campaign on."""
    engine = InlineEngine(workflows(bench), lab.store, lab.record)
    await engine.open()
    with lab.store.transaction() as tx:
        flying = in_flight(tx, id)
    for workflow, jobs in flying:
        await engine.submit("experiment", workflow, workflow, jobs)
    await engine.submit("campaign", segment, id, [workflow for workflow, _ in flying])
    return engine


async def planned_with_two_dosers(lab: VirtualLab) -> tuple[str, str]:
    """A campaign whose first experiments wait for a doser when its worker ends: its id and its workflow's."""
    hold(lab, "doser-1", "doser-2")
    bench = await lab.bench()
    id = lab.launch(campaign(budget={"experiments": 3}, optimizer={"name": "random", "in_flight": 3}))
    with lab.store.transaction() as tx:
        segment = segment_id(tx, id)
    await bench.look()
    engine = await begin(lab, bench, id, segment)
    while len(queued(lab)) < 3:
        await lab.clock.sleep(60)
    await engine.close()
    release(lab, "doser-1", "doser-2")
    return id, segment


async def to_its_end(lab: VirtualLab, bench: Bench, engine: InlineEngine, id: str) -> None:
    while await engine.under_way(""):
        await bench.look()
        await lab.clock.sleep(300)
    await engine.close()
    with lab.store.transaction() as tx:
        assert tx.get(db.Campaign, id).state == "done"


def queued(lab: VirtualLab) -> list[db.Job]:
    with lab.store.transaction() as tx:
        return tx.find(db.Job, step="mix", state="queued")


def without(lab: VirtualLab, *names: str) -> None:
    for name in names:
        lab.hosts.pop(name).journal.close()
    rest = {name: section for name, section in lab.file.instruments.items() if name not in names}
    lab.file = lab.file.model_copy(update={"instruments": rest})


def test_what_waits_for_an_instrument_that_is_gone_goes_to_the_one_that_is_left() -> None:
    async def work() -> None:
        lab = VirtualLab(twins={"doser-2": "doser-1"})
        id, segment = await planned_with_two_dosers(lab)
        without(lab, "doser-1")
        bench = await lab.bench()
        engine = await begin(lab, bench, id, segment)
        await to_its_end(lab, bench, engine, id)
        with lab.store.transaction() as tx:
            mixed = tx.find(db.Job, step="mix", state="done")
            assert {tx.get(db.Instrument, str(job.instrument_id)).name for job in mixed} == {"doser-2"}
        lab.close()

    live(work())


def test_where_none_is_left_the_queue_says_so_until_one_is_back() -> None:
    async def work() -> None:
        lab = VirtualLab(twins={"doser-2": "doser-1"})
        id, segment = await planned_with_two_dosers(lab)
        doser = lab.hosts.pop("doser-1")
        without(lab, "doser-2")
        engine = await begin(lab, await lab.bench(), id, segment)
        await lab.clock.sleep(600)
        assert [job.message for job in queued(lab)] == [f"{GONE}: doser-1, doser-2"] * 3
        await engine.close()
        lab.hosts["doser-1"] = doser
        bench = await lab.bench()
        engine = await begin(lab, bench, id, segment)
        await lab.clock.sleep(60)
        assert [job.message for job in queued(lab)] == [""] * 2
        await to_its_end(lab, bench, engine, id)
        lab.close()

    live(work())
