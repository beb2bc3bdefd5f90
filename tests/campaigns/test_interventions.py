"""What people do in the middle of a campaign, and machines that are silent or hang just then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from campaigns import holds, shelf, tasks
from campaigns.bench import PAUSED, Bench, answered, in_flight, segment_id
from campaigns.engines.inline import InlineEngine
from campaigns.history import History
from campaigns.loop import workflows
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from campaigns.plan import Plan
from instruments.contract import Fault, JobState, Unknowable
from instruments.errors import DeviceRefused, InvalidMeasurement, LinkLost, ReplyTimeout
from instruments.people import Answer
from labctl.campaigning import spent
from labctl.worker import turns_taken
from materials_db import records as db
from materials_db.errors import ConflictError
from tests.virtual_lab import VirtualLab, campaign, live

FILE = "electrolyte/campaigns/conductivity.toml"
ALLOY = "alloy/campaigns/hardness.toml"
FURNACES = ("furnace-1", "furnace-2")


@dataclass
class Floor:
    """A lab at work under a virtual clock, and somebody who looks."""

    lab: VirtualLab
    bench: Bench
    engine: InlineEngine

    @classmethod
    async def open(cls, kind: str = "electrolyte", **how: Any) -> Floor:
        """With all instruments at hand."""
        optimizer = (lambda plan: OnTrays(RandomSearch(), plan.shared)) if kind == "alloy" else None
        lab = VirtualLab(kind=kind, optimizer=optimizer, **how)
        bench = await lab.bench()
        engine = InlineEngine(workflows(bench), lab.store, lab.record)
        await engine.open()
        return cls(lab, bench, engine)

    async def launch(self, name: str = FILE, **changes: Any) -> str:
        """A campaign under way; its id."""
        id = self.lab.launch(campaign(name, **changes))
        await self.serve(id)
        return id

    async def serve(self, id: str) -> None:
        """What a worker does with a campaign that nobody carries."""
        with self.lab.store.transaction() as tx:
            segment, flying = segment_id(tx, id), in_flight(tx, id)
        for workflow, jobs in flying:
            await self.engine.submit("experiment", workflow, workflow.split("~")[0], jobs)
        await self.engine.submit("campaign", segment, id, [workflow for workflow, _ in flying])

    async def until(self, seen: Callable[[], Any] = lambda: False, *, every_s: float = 60, hours: float = 2400) -> None:
        """Look until it is so, or nothing is under way any more."""
        end = self.lab.clock.elapsed() + hours * 3600
        while not seen() and await self.engine.under_way("") and self.lab.clock.elapsed() < end:
            await self.bench.look()
            await self.lab.clock.sleep(every_s)

    def find(self, kind: Any, **equal: Any) -> list[Any]:
        """Records."""
        with self.lab.store.transaction() as tx:
            return tx.find(kind, **equal)

    def campaign(self, id: str) -> db.Campaign:
        """How a campaign stands."""
        found: db.Campaign = self.find(db.Campaign, id=id)[0]
        return found

    def wish(self, id: str, **wanted: Any) -> None:
        """What a person wants of a campaign."""
        with self.lab.store.transaction() as tx:
            tx.move(db.Campaign, id, at=self.lab.clock.now(), actor="Ada", **wanted)

    def hold(self, names: Sequence[str], mode: str = "hold") -> None:
        """Take instruments out."""
        at = self.lab.clock.now()
        with self.lab.store.transaction() as tx:
            for name in names:
                hold: Any = {"instrument": name, "mode": mode, "reason": "service", "placed_by": "Ada"}
                tx.add(db.Hold(id=f"H-{tx.next_number('H'):04d}", placed_at=at, **hold), at=at, actor="Ada")

    def release(self) -> None:
        """All instruments may work again."""
        at = self.lab.clock.now()
        with self.lab.store.transaction() as tx:
            for hold in tx.find(db.Hold, state="active"):
                tx.move(db.Hold, hold.id, at=at, actor="Ada", state="released", released_by="Ada", released_at=at)

    def answer(self, task: str, *, done: bool = True, **said: Any) -> str:
        """A person answers."""
        with self.lab.store.transaction() as tx:
            said = {"samples": tx.get(db.Task, task).samples, **said}
            return tasks.respond(tx, task, Answer(by="Ada", at=self.lab.clock.now(), done=done), **said)

    def states(self) -> list[str]:
        """Of all experiments."""
        return [e.state for e in self.find(db.Experiment, order="number")]


OPEN: list[Floor] = []


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().lab.close()


def at_work(story: Callable[[Floor], Awaitable[None]], kind: str = "electrolyte", **how: Any) -> None:
    """Live through it in virtual time."""

    async def run() -> None:
        floor = await Floor.open(kind, **how)
        OPEN.append(floor)
        await story(floor)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    live(run())


def spoil(floor: Floor, instrument: str, methods: Sequence[str], bad: Callable[[], Exception | None]) -> list[str]:
    """These calls of a driver raise while there is something to raise; the acts that it was told to start."""
    driver, started = floor.lab.hosts[instrument].driver, []

    def wrap(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any) -> Any:
            if (error := bad()) is not None:
                raise error
            if name == "start":
                started.append(args[0].job_id)
            return await method(*args)

        return call

    for name in methods:
        setattr(driver, name, wrap(name, getattr(driver, name)))
    return started


def doubt(floor: Floor, instrument: str, job: str) -> None:
    """Nobody can tell whether this act happened."""
    driver: Any = floor.lab.hosts[instrument].driver
    start, find = driver.start, driver.find

    async def lost(request: Any, params: Any) -> Any:
        if request.job_id == job:
            raise ReplyTimeout("no answer")
        return await start(request, params)

    async def unknowable(request: Any, params: Any, mark: Any) -> Any:
        return Unknowable("reset") if request.job_id == job else await find(request, params, mark)

    driver.start, driver.find = lost, unknowable


ONE = {"optimizer": {"name": "random", "in_flight": 1}}
TWO = {"optimizer": {"name": "random", "in_flight": 2}}
CALLS = ("identity", "health", "mark", "poll", "find", "start", "abort")


def test_a_campaign_that_was_resumed_after_a_repair_goes_on() -> None:
    async def story(floor: Floor) -> None:
        broken = True

        def jam() -> Exception | None:
            error = DeviceRefused("jam") if broken else None
            if error:
                error.fault = Fault.JAM  # type: ignore[misc]
            return error

        spoil(floor, "doser-1", ["start"], jam)
        id = await floor.launch(budget={"experiments": 8}, **ONE)
        await floor.until()
        assert floor.campaign(id).state == "paused"
        assert "5 experiments in a row were lost to machines" in floor.campaign(id).reason
        broken = False
        floor.wish(id, state="running", reason="")
        await floor.serve(id)
        await floor.until()
        assert floor.campaign(id).state == "done"
        assert floor.states() == ["failed"] * 5 + ["done"] * 3

    at_work(story)


def test_a_campaign_that_a_failure_has_stopped_says_which() -> None:
    async def story(floor: Floor) -> None:
        spoil(floor, "analyser-1", ["fetch"], lambda: InvalidMeasurement("a bubble"))
        id = await floor.launch(budget={"experiments": 8}, failures={"measurement_invalid": "stop"}, **TWO)
        await floor.until()
        assert floor.campaign(id).state == "stopped"
        assert floor.campaign(id).reason == "E-00001 failed: measure on analyser-1: a bubble"

    at_work(story)


def test_a_stopped_campaign_asks_nobody_any_more_about_samples_that_it_held() -> None:
    async def story(floor: Floor) -> None:
        doubt(floor, "doser-1", "E-00001/mix")
        id = await floor.launch(budget={"experiments": 8}, **TWO)
        await floor.until(lambda: floor.find(db.Task, state="open"))
        floor.wish(id, wanted="stop", abort=True)
        await floor.until()
        assert floor.campaign(id).state == "stopped"
        assert set(floor.states()) <= {"aborted", "done"}
        assert [task.state for task in floor.find(db.Task)] == ["withdrawn"]
        with pytest.raises(ConflictError, match="withdrawn"):
            floor.answer("T-00001", happened=False)

    at_work(story)


def test_a_held_sample_of_a_campaign_that_broke_down_can_only_be_given_up() -> None:
    async def story(floor: Floor) -> None:
        doubt(floor, "doser-1", "E-00001/mix")
        id = await floor.launch(budget={"experiments": 1}, **ONE)
        await floor.until()
        floor.wish(id, state="failed", reason="a bug", ended_at=floor.lab.clock.now())
        with pytest.raises(ConflictError, match="C-0001 has ended \\(failed\\): S-00001 cannot go on"):
            floor.answer("T-00001", happened=False)
        assert floor.states() == ["held"]
        assert floor.answer("T-00001", done=False) == "S-00001 is given up"
        assert floor.states() == ["failed"]

    at_work(story)


def test_a_measurement_that_happened_without_its_values_is_made_again() -> None:
    async def story(floor: Floor) -> None:
        doubt(floor, "analyser-1", "E-00001/measure")
        id = await floor.launch(budget={"experiments": 2}, **TWO)
        await floor.until(lambda: floor.find(db.Task, state="open"))
        assert floor.answer("T-00001", happened=True) == "S-00001 goes on; its values are lost, so it is measured again"
        await floor.until()
        assert floor.campaign(id).state == "done"
        with floor.lab.store.transaction() as tx:
            history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
            history.refresh(tx)
        assert [observation.failed for observation in history.known] == [False, False]

    at_work(story)


def test_a_person_s_answer_is_found_although_the_campaign_waits_for_others() -> None:
    async def story(floor: Floor) -> None:
        doubt(floor, "doser-1", "E-00001/mix")
        await floor.launch(budget={"experiments": 2}, **TWO)
        await floor.until(lambda: floor.find(db.Task, state="open"))
        floor.answer("T-00001", happened=False)
        with floor.lab.store.transaction() as tx:
            assert answered(tx) == [("E-00001~T-00001", ["E-00001/mix", "E-00001/equilibrate", "E-00001/measure"])]
        await floor.until()
        with floor.lab.store.transaction() as tx:
            assert answered(tx) == []

    at_work(story)


@pytest.mark.parametrize("abort", [True, False])
def test_what_a_silent_machine_never_took_is_not_begun_when_it_comes_back(abort: bool) -> None:
    async def story(floor: Floor) -> None:
        silent = True
        started = spoil(floor, "doser-1", CALLS, lambda: LinkLost("connection refused") if silent else None)
        id = await floor.launch(budget={"experiments": 4}, **ONE)
        await floor.until(lambda: floor.find(db.Job, message="doser-1: connection refused"))
        floor.wish(id, wanted="stop", abort=abort)
        await floor.until(hours=1)
        assert (floor.campaign(id).state, floor.states()) == ("stopped", ["aborted"])
        with floor.lab.store.transaction() as tx:
            assert [lease for lease in tx.leases() if lease.holder] == []
        silent = False
        await floor.lab.clock.sleep(3600)
        assert started == []

    at_work(story)


def test_a_tray_whose_samples_were_called_off_leaves_its_furnace_to_others() -> None:
    async def story(floor: Floor) -> None:
        floor.hold(FURNACES)
        await floor.bench.look()
        trays = {"budget": {"experiments": 2}, **TWO}
        first = await floor.launch(ALLOY, **trays)
        await floor.until(lambda: floor.bench.turns._waiting)
        floor.wish(first, wanted="stop")
        await floor.until()
        floor.release()
        await floor.bench.look()
        await floor.lab.clock.sleep(60)
        assert floor.bench.turns.held == {}
        second = await floor.launch(ALLOY, **trays)
        await floor.until(every_s=600)
        assert floor.campaign(second).state == "done"

    at_work(story, "alloy")


@pytest.mark.parametrize("tells", ["the journal", "nobody"])
def test_a_tray_that_never_began_is_not_begun_after_a_crash_between_the_outcomes_of_its_samples(tells: str) -> None:
    """One sample is on its way to another tray when the worker dies before the other was told."""

    async def story(floor: Floor) -> None:
        treated = first_tray_lost(floor)
        silenced = die_after_the_first_outcome(floor)
        id = await floor.launch(ALLOY, budget={"experiments": 2}, **TWO)
        await floor.until(lambda: floor.find(db.Job, step="dissolve", state="failed"), every_s=600)
        assert len(silenced) == 1
        await floor.engine.close()
        if tells == "nobody":  # the act was not even on its way, as where a silent machine was given up
            for name in FURNACES:
                floor.lab.hosts[name].journal.db.execute("DELETE FROM job WHERE id = ?", [silenced[0]])
        floor.bench = await floor.lab.bench()
        floor.engine = InlineEngine(workflows(floor.bench), floor.lab.store, floor.lab.record)
        await floor.engine.open()
        await floor.until(every_s=600)
        assert (floor.campaign(id).state, floor.states()) == ("done", ["done", "done"])
        assert sorted(treated) == ["S-00001", "S-00002"]
        assert len(floor.find(db.Job, step="dissolve", state="failed")) == 2

    at_work(story, "alloy")


def first_tray_lost(floor: Floor) -> list[str]:
    """The first start of a tray never reaches its furnace; the samples that were treated later."""
    treated: list[str] = []
    lost: list[str] = []

    def wrap(start: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, params: Any) -> Any:
            if request.job_id == "Y-00001" and not lost:
                lost.append(request.job_id)
                raise LinkLost("cut")
            if request.capability == "solution_treat":
                treated.extend(sample.sample_id for sample in request.samples)
            return await start(request, params)

        return call

    for name in FURNACES:
        driver: Any = floor.lab.hosts[name].driver
        driver.start = wrap(driver.start)
    return treated


def die_after_the_first_outcome(floor: Floor) -> list[str]:
    """Of the samples of the first tray only one gets its outcome on record; the tray, once the others wait."""
    waits: list[str] = []
    inside: Any = floor.bench.floor
    usual = inside._with_tray

    async def with_tray(job: db.Job, tray: str, instrument: str, fence: int) -> Any:
        if tray == "Y-00001" and job.id.startswith("E-00002"):
            waits.append(tray)
            await asyncio.Event().wait()
        return await usual(job, tray, instrument, fence)

    inside._with_tray = with_tray
    return waits


def test_samples_that_are_begun_still_come_to_a_furnace_that_drains() -> None:
    async def story(floor: Floor) -> None:
        id = await floor.launch(ALLOY, budget={"experiments": 2}, **TWO)
        await floor.until(lambda: floor.find(db.Job, step="melt", state="done"))
        floor.hold(FURNACES, "drain")
        await floor.until(every_s=600)
        assert (floor.campaign(id).state, floor.states()) == ("done", ["done", "done"])

    at_work(story, "alloy")


@pytest.mark.parametrize(("kind", "names"), [("electrolyte", ("doser-1",)), ("alloy", FURNACES)])
def test_nothing_begins_after_a_hold_although_the_worker_has_not_looked_since(kind: str, names: Sequence[str]) -> None:
    async def story(floor: Floor) -> None:
        def acts() -> list[Any]:
            rows = [floor.find(db.Instrument, name=name) for name in names]
            return [floor.find(db.Job, instrument_id=row.id) for found in rows for row in found]

        id = await floor.launch(ALLOY if kind == "alloy" else FILE, budget={"experiments": 8}, **TWO)
        await floor.until(lambda: any(acts()))
        floor.hold(names)
        before = [len(made) for made in acts()]
        for _ in range(10):
            await floor.lab.clock.sleep(20 * 3600)
        assert [len(made) for made in acts()] == before
        assert all(job.state != "running" for made in acts() for job in made)
        floor.release()
        await floor.until()
        assert floor.campaign(id).state == "done"

    at_work(story, kind)


@pytest.mark.parametrize("begun", [False, True])
def test_a_hold_between_the_lease_and_the_act_keeps_the_act_from_beginning(begun: bool) -> None:
    """As another machine would, which is asked to carry the act out a moment after the lease was taken. It counts as no try."""

    async def story(floor: Floor) -> None:
        host = floor.lab.hosts["doser-1"]
        host.held_by = "somebody" if not begun else None
        await floor.launch(budget={"experiments": 1}, failures={"attempts": 1, "unknown": "stop"}, **ONE)
        await floor.until(lambda: floor.find(db.Job, step="mix", state="running"))
        assert (await host.status("E-00001/mix")).state is (JobState.RUNNING if begun else JobState.NEVER_SEEN)
        await floor.engine.close()
        host.held_by = None
        floor.hold(["doser-1"])
        answer: Any = await floor.bench.floor.carry_out("E-00001/mix", "doser-1", 1)
        assert answer["verdict"] == ("done" if begun else "again")
        assert [job.state for job in floor.find(db.Job, step="mix")] == (["done"] if begun else ["failed", "queued"])

    at_work(story)


def test_holds_and_priorities_outlast_a_change_of_control() -> None:
    async def story(floor: Floor) -> None:
        from campaigns.turns import Turns

        floor.hold(["doser-1"])
        await floor.bench.look()
        floor.bench.floor.begin_with(Turns())
        assert await floor.bench.floor.turns.take(["doser-1"], "E-00001", patient=False) is None

    at_work(story)


@pytest.mark.parametrize("when", ["asked again", "broken off"])
def test_a_machine_that_hangs_does_not_hold_up_the_look(when: str) -> None:
    async def story(floor: Floor) -> None:
        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        id = await floor.launch(budget={"experiments": 4}, **ONE)
        await floor.until(lambda: floor.find(db.Job, state="running"), every_s=1)
        for name in CALLS:
            setattr(floor.lab.hosts["doser-1"].driver, name, never)
        with floor.lab.store.transaction() as tx:
            holds.place(tx, "doser-1", f"{holds.SILENT}: it hangs", floor.lab.clock.now())
        if when == "broken off":
            floor.wish(id, wanted="stop", abort=True)
        before = floor.lab.clock.elapsed()
        for _ in range(3):
            await floor.bench.look()
        assert floor.lab.clock.elapsed() == before

    at_work(story)


def runs(floor: Floor, capability: str) -> list[tuple[int, float]]:
    """How many samples each act had, and hours that it took."""
    acts: dict[str, list[db.Job]] = {}
    for job in floor.find(db.Job, capability=capability):
        if job.tray:
            acts.setdefault(job.tray, []).append(job)
    return [(len(jobs), (jobs[0].ended_at - jobs[0].started_at).total_seconds() / 3600) for jobs in acts.values()]  # type: ignore[operator]


async def send_on(floor: Floor) -> None:
    """What a worker does with samples that a person has freed."""
    with floor.lab.store.transaction() as tx:
        freed = answered(tx)
    for workflow, jobs in freed:
        await floor.engine.submit("experiment", workflow, workflow.split("~")[0], jobs)


def hurry(floor: Floor) -> None:
    """Nobody waits for a fuller tray for more than ten minutes."""
    floor.bench.floor.tray_wait_s = dict.fromkeys(FURNACES, 600.0)


SCARCE = {"experiments": 40, "instrument_time": {"solution_treat": 4 * 3600.0}}
EIGHT = {"optimizer": {"name": "random", "in_flight": 8}}


def test_instrument_time_is_not_overspent_where_trays_leave_part_filled() -> None:
    async def story(floor: Floor) -> None:
        hurry(floor)
        budget = {**SCARCE, "instrument_time": {"solution_treat": 7 * 3600.0}}
        id = await floor.launch(ALLOY, budget=budget, **EIGHT)
        await floor.until(every_s=600)
        took = runs(floor, "solution_treat")
        hours = sum(hours for _, hours in took)
        assert ([count for count, _ in took], hours <= 7) == ([1, 7], True)
        assert spent(floor.lab, id) == [f"{hours:.3g} of 7 h of solution_treat"]  # type: ignore[arg-type]
        assert floor.campaign(id).reason.startswith(f"instrument time for solution_treat: {hours:.3g} of 7 h used")

    at_work(story, "alloy")


def test_a_sample_without_instrument_time_for_itself_waits_for_its_tray_mates_and_says_so() -> None:
    async def story(floor: Floor) -> None:
        hurry(floor)
        doubt(floor, "melter-1", "E-00003/melt")
        id = await floor.launch(ALLOY, budget=SCARCE, optimizer={"name": "random", "in_flight": 4})
        await floor.until(lambda: sum(job.message.startswith("budget") for job in floor.find(db.Job)) == 3)
        waiting = floor.find(db.Job, capability="solution_treat", state="queued")
        assert {job.message for job in waiting} == {
            "budget: no instrument time for solution_treat twice; it waits for S-00003"
        }
        floor.answer("T-00001", happened=True)
        await send_on(floor)
        await floor.until(hours=100, every_s=600)
        assert [count for count, _ in runs(floor, "solution_treat")] == [4]
        assert floor.campaign(id).state == "done"

    at_work(story, "alloy")


def test_two_campaigns_that_wait_for_their_mates_in_one_furnace_do_not_block_each_other() -> None:
    async def story(floor: Floor) -> None:
        hurry(floor)
        alike = {"solution_temperature": {"type": "float", "unit": "degC", "min": 500.0, "max": 501.0, "step": 1.0}}
        both = {"budget": SCARCE, "process": alike, **EIGHT}
        ids = [await floor.launch(ALLOY, **both) for _ in "AB"]
        await floor.until(hours=400, every_s=600)
        assert [floor.campaign(id).state for id in ids] == ["done", "done"]
        assert sum(hours for _, hours in runs(floor, "solution_treat")) <= 8

    at_work(story, "alloy")


def spent_mg(floor: Floor, id: str) -> tuple[float, float]:
    """EC that a campaign has used or promised, by its history and by the bottle."""
    with floor.lab.store.transaction() as tx:
        history = History.of(id, Plan.of(tx.get(db.Campaign, id)))
        history.refresh(tx)
        return history.used.stock_mg["EC"], shelf.bottles(tx)["EC"].amount_mg - shelf.left_mg(tx)["EC"]


@pytest.mark.parametrize(("broken", "counts"), [("start", 0.0), ("fetch", 1.0)])
def test_a_dosing_that_broke_off_counts_as_promised_and_one_that_never_began_counts_nothing(
    broken: str, counts: float
) -> None:
    async def story(floor: Floor) -> None:
        fault = DeviceRefused("no") if broken == "start" else InvalidMeasurement("overload")
        spoil(floor, "doser-1", [broken], lambda: fault)
        budget = {"experiments": 1, "stock": {"EC": 1e6}}
        id = await floor.launch(budget=budget, failures={"rejected": "fail", "measurement_invalid": "fail"}, **ONE)
        await floor.until()
        asked = floor.find(db.Job, step="mix")[0].params["masses_mg"]["EC"]
        assert floor.states() == ["failed"]
        assert spent_mg(floor, id) == pytest.approx((asked * counts, asked * counts), abs=0.01)

    at_work(story)


def bottle(floor: Floor, mg: float) -> None:
    """A technician brings a new bottle of EC."""
    with floor.lab.store.transaction() as tx:
        lot = shelf.bottles(tx)["EC"]
        at = floor.lab.clock.now()
        fresh = lot.model_copy(update={"id": f"L-{tx.next_number('L'):04d}", "amount_mg": mg, "received_at": at})
        tx.add(fresh, at=at, actor="Ada")


@pytest.mark.parametrize("said", ["never began", "broke off"])
def test_a_dosing_is_made_again_only_with_what_nobody_else_was_promised(said: str) -> None:
    async def story(floor: Floor) -> None:
        if said == "never began":
            doubt(floor, "doser-1", "E-00001/mix")
        else:
            spoil(floor, "doser-1", ["fetch"], lambda: InvalidMeasurement("overload"))
        await floor.launch(budget={"experiments": 1}, failures={"measurement_invalid": "park"}, **ONE)
        await floor.until(lambda: floor.find(db.Task, state="open"))
        with floor.lab.store.transaction() as tx:
            assert shelf.reserve(tx, {"EC": shelf.left_mg(tx)["EC"]})  # to others
        if said == "never began":  # so its own portion is there still
            assert floor.answer("T-00001", happened=False).startswith("S-00001 goes on")
        else:
            with pytest.raises(
                ConflictError, match=r"dosing S-00001 again takes \S+ g of EC; of L-0002 0 g are neither"
            ):
                floor.answer("T-00001")
            assert [task.state for task in floor.find(db.Task)] == ["open"]
            assert floor.answer("T-00001", done=False) == "S-00001 is given up"
        with floor.lab.store.transaction() as tx:
            assert shelf.left_mg(tx)["EC"] == pytest.approx(0, abs=1e-3)

    at_work(story)


def test_a_campaign_rests_until_a_technician_brings_a_new_bottle() -> None:
    async def story(floor: Floor) -> None:
        bottle(floor, 3000.0)
        id = await floor.launch(budget={"experiments": 6}, **TWO)
        await floor.until()
        assert floor.campaign(id).state == "paused"
        assert re.match(r"stock of EC: \S+ g left, the next experiment takes \S+ g", floor.campaign(id).reason)
        await floor.lab.clock.sleep(12 * 3600)
        bottle(floor, 1e6)
        floor.wish(id, state="running", reason="")
        await floor.serve(id)
        await floor.until()
        assert (floor.campaign(id).state, len(floor.states())) == ("done", 6)

    at_work(story)


def test_stock_that_is_only_promised_to_others_is_waited_for() -> None:
    async def story(floor: Floor) -> None:
        floor.bench.patience_s = 600.0
        bottle(floor, 4000.0)
        floor.hold(["doser-1"])
        first = await floor.launch(budget={"experiments": 2}, **TWO)
        await floor.until(lambda: len(floor.states()) == 2)
        second = await floor.launch(budget={"experiments": 1}, **ONE)
        await floor.until(lambda: floor.campaign(second).reason)
        assert (floor.campaign(second).state, floor.campaign(second).reason[:12]) == ("running", "stock of EC:")
        floor.wish(first, wanted="stop")
        floor.release()
        await floor.until()
        assert [
            (floor.campaign(id).state, len(floor.find(db.Experiment, campaign_id=id))) for id in (first, second)
        ] == [
            ("stopped", 2),
            ("done", 1),
        ]
        assert "stock" not in floor.campaign(second).reason

    at_work(story)


def test_of_many_campaigns_that_race_for_the_last_bottle_none_is_left_without_a_reason() -> None:
    async def story(floor: Floor) -> None:
        floor.bench.patience_s = 600.0
        bottle(floor, 30000.0)
        ids = [await floor.launch(budget={"experiments": 4}, **TWO) for _ in range(12)]
        await floor.until(every_s=600)
        ended = [floor.campaign(id) for id in ids]
        assert {c.state for c in ended} == {"paused"}
        assert all(c.reason.startswith("stock of EC:") for c in ended)
        assert sum(i.weighed_mg for i in floor.find(db.Ingredient) if i.lot_id == "L-0005") <= 30000.0

    at_work(story)


def test_shares_and_waiting_times_outlast_a_restart() -> None:
    async def story(floor: Floor) -> None:
        ids = [await floor.launch(budget={"experiments": n}, **TWO) for n in (20, 20)]
        await floor.until(lambda: floor.states().count("done") >= 8)
        floor.hold(["doser-1"])
        await floor.until(lambda: not floor.find(db.Job, state="running"))
        with floor.lab.store.transaction() as tx:
            again, before = turns_taken(tx), floor.bench.floor.turns
        for id in ids:
            assert again.used_s[id] == pytest.approx(before.used_s[id], rel=0.2)  # a thermostat was kept for longer
        await floor.lab.clock.sleep(7 * 3600)
        waits = floor.find(db.Job, state="queued", step="mix")[0]
        await restart(floor)
        await floor.bench.look()
        await floor.lab.clock.sleep(60)
        entry = next(e for e in floor.bench.floor.turns._waiting if e.holder == waits.experiment_id)
        assert floor.bench.floor.turns.rank(entry)[0] == -1.0  # seven hours are worth one level

    at_work(story)


async def restart(floor: Floor) -> None:
    """Another worker goes on with what is on record."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    floor.bench = await floor.lab.bench()
    with floor.lab.store.transaction() as tx:
        floor.bench.floor.begin_with(turns_taken(tx))
    floor.engine = InlineEngine(workflows(floor.bench), floor.lab.store, floor.lab.record)
    await floor.engine.open()


def test_a_campaign_plans_what_is_left_where_another_was_quicker() -> None:
    async def story(floor: Floor) -> None:
        bottle(floor, 6500.0)
        ids = [floor.lab.launch(campaign(budget={"experiments": 2}, **TWO)) for _ in "AB"]
        choices = [await floor.bench.propose(id, []) for id in ids]  # both see a full bottle
        with floor.lab.store.transaction() as tx:
            planned = [len(floor.bench.plan(tx, id, c["proposals"])) for id, c in zip(ids, choices, strict=True)]
        assert planned == [2, 1]

    at_work(story)


@pytest.mark.parametrize(("state", "reason"), [("stopped", "stopped by request"), ("paused", PAUSED)])
@pytest.mark.parametrize("wanted", ["run", "pause", "stop"])
def test_a_wish_that_changes_while_a_campaign_comes_to_rest_is_heeded(state: str, reason: str, wanted: str) -> None:
    async def work() -> None:
        lab = VirtualLab()
        bench, id, at = await lab.bench(), lab.launch(campaign()), lab.clock.now()
        with lab.store.transaction() as tx:
            tx.move(db.Campaign, id, at=at, actor="Ada", wanted=wanted)
            as_wished = {"stopped": "stop", "paused": "pause"}[state] == wanted
            assert bench.close(tx, id, state, reason) == (state if as_wished else "running")
            assert tx.get(db.Campaign, id).state == (state if as_wished else "running")
        lab.close()

    live(work())


def test_a_tray_that_jams_is_one_failure_of_its_furnace_and_not_eight() -> None:
    async def story(floor: Floor) -> None:
        floor.lab.sim.world.once["furnace-1"] = ["jam"]
        id = await floor.launch(ALLOY, budget={"experiments": 16})
        await floor.until(every_s=600)
        assert [len({job.tray}) for job in floor.find(db.Job, fault="jam")] == [1] * 8
        assert floor.find(db.Hold) == []
        assert floor.campaign(id).state == "done", floor.campaign(id).reason
        assert sorted(floor.states()).count("done") == 8

    at_work(story, "alloy")
