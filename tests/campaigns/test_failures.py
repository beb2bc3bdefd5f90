"""What follows from failures, by their class; and that one sick instrument harms no other."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from campaigns import holds, results, tasks
from campaigns.bench import in_flight, segment_id
from campaigns.engines.inline import InlineEngine
from campaigns.loop import workflows
from campaigns.policy import DEFAULT, FailuresSection, Policy
from instruments.contract import Fault, JobRequest, Run, RunState
from instruments.errors import DeviceRefused, InvalidMeasurement, LinkLost
from instruments.guard import MOST_OPEN, DriverBroken, Guard
from instruments.host import Host
from instruments.people import Answer
from labctl import optimizers
from materials_db import records as db
from tests.virtual_lab import VirtualLab, campaign, live

LABS: list[VirtualLab] = []


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while LABS:
        LABS.pop().close()


def virtual_lab(**twins: str) -> VirtualLab:
    LABS.append(VirtualLab(twins={name.replace("_", "-"): like for name, like in twins.items()}))
    return LABS[-1]


async def run(
    lab: VirtualLab,
    answer: bool = False,
    spoil: Callable[[], None] = lambda: None,
    again: str = "",
    look: Callable[[VirtualLab], Awaitable[None]] | None = None,
    **changes: Any,
) -> str:
    """A campaign to its end, as a worker serves it; its id.

    With `answer` a person says yes to every question; `look` is what a technician does meanwhile; `spoil` is called when all instruments have answered once;
    `again` is a campaign that goes on.
    """
    bench = await lab.bench()
    spoil()
    engine = InlineEngine(workflows(bench), lab.store, lab.record)
    await engine.open()
    id = again or lab.launch(campaign(**{"optimizer": {"name": "random", "in_flight": 2}, **changes}))
    with lab.store.transaction() as tx:
        segment, flying = segment_id(tx, id), in_flight(tx, id)
    for workflow, jobs in flying:
        await engine.submit("experiment", workflow, workflow.split("~")[0], jobs)
    await engine.submit("campaign", segment, id, [workflow for workflow, _ in flying])
    while await engine.under_way(""):
        await bench.look()
        if answer:
            say_yes(lab)
        if look:
            await look(lab)
        await lab.clock.sleep(60)
    await engine.close()
    errors = [ended.error for ended in lab.record.ended.values() if ended.error]
    assert not errors, errors
    return id


def say_yes(lab: VirtualLab) -> None:
    with lab.store.transaction() as tx:
        for task in tx.find(db.Task, state="open"):
            tasks.respond(tx, task.id, Answer(by="Ada", at=lab.clock.now(), done=True), samples=task.samples)
        for held in tx.find(db.Hold, state="active"):
            tx.move(db.Hold, held.id, at=lab.clock.now(), actor="Ada", state="released", released_by="Ada")


def found(lab: VirtualLab, kind: type[Any], **equal: Any) -> list[Any]:
    with lab.store.transaction() as tx:
        return list(tx.find(kind, **equal))


def found_leases(lab: VirtualLab) -> list[db.Lease]:
    with lab.store.transaction() as tx:
        return tx.leases()


def breaks(lab: VirtualLab, name: str, method: str, error: Exception, *, times: int = 10**9) -> None:
    """The driver of an instrument raises, so often, whenever that method is called."""
    driver, left = lab.hosts[name].driver, [times]
    sound = getattr(driver, method)

    async def broken(*args: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return await sound(*args)

    setattr(driver, method, broken)


def test_every_fault_has_an_action_and_the_campaign_goes_before_the_lab() -> None:
    assert set(DEFAULT) == set(Fault)
    assert {f.value for f in Fault} | {"attempts"} == set(FailuresSection.model_fields)
    policy = Policy({"jam": "ask", "attempts": 5}, {"jam": "stop", "interlock": "park"})
    assert [policy.action(f) for f in (Fault.JAM, Fault.INTERLOCK, Fault.TIMEOUT, None)] == [
        "ask",
        "park",
        "retry",
        "retry",
    ]
    assert (policy.attempts, Policy().attempts) == (5, 3)


INVALID = InvalidMeasurement("a bubble in the cell")


@pytest.mark.parametrize(
    ("action", "states", "asked", "held"),
    [
        ("fail", ["failed", "done", "done"], 0, 0),
        ("retry", ["done", "done", "done"], 0, 0),
        ("park", ["done", "done", "done"], 1, 0),
        ("ask", ["done", "done", "done"], 1, 1),
        ("stop", ["failed", "aborted"], 0, 0),
    ],
)
def test_a_failed_measurement_has_the_consequence_that_the_file_states(
    action: str, states: list[str], asked: int, held: int
) -> None:
    async def work() -> None:
        lab = virtual_lab()
        breaks(lab, "analyser-1", "fetch", INVALID, times=1)
        id = await run(lab, answer=True, budget={"experiments": 3}, failures={"measurement_invalid": action})
        experiments = found(lab, db.Experiment, campaign_id=id, order="number")
        assert [e.state for e in experiments if e.state != "aborted" or action == "stop"] == states
        assert len(found(lab, db.Task, question="parked")) == asked
        assert len(found(lab, db.Hold)) == held
        assert found(lab, db.Campaign)[0].state == ("stopped" if action == "stop" else "done")

    live(work())


def test_the_next_try_is_made_on_another_instrument() -> None:
    async def work() -> None:
        lab = virtual_lab(analyser_2="analyser-1")
        breaks(lab, "analyser-1", "fetch", INVALID)
        await run(lab, budget={"experiments": 3}, failures={"measurement_invalid": "other"})
        again = [j for j in found(lab, db.Job, step="measure", state="done") if j.attempt > 1]
        assert again
        with lab.store.transaction() as tx:
            assert {tx.get(db.Instrument, j.instrument_id).name for j in again} == {"analyser-2"}
        assert {e.state for e in found(lab, db.Experiment)} == {"done"}

    live(work())


async def calibrated(lab: VirtualLab) -> None:
    """A technician calibrates whatever was taken out, and releases it."""
    for held in found(lab, db.Hold, state="active"):
        await lab.hosts[held.instrument].driver.wire.write("CELL:CAL")  # type: ignore[attr-defined]
        with lab.store.transaction() as tx:
            at = lab.clock.now()
            tx.move(db.Hold, held.id, at=at, actor="Ada", state="released", released_by="Ada", released_at=at)


def check_what_was_read(lab: VirtualLab, off: int) -> None:
    """What was read on a scale that was off is kept, not used, and was read again."""
    values = found(lab, db.Measurement, quantity="ionic_conductivity", order="id")
    assert Counter(m.quality for m in values) == {"ok": len(values) - off, "invalid": off}
    assert all("KCl 0.1 mol/kg, 25 degC reads 13.4" in m.quality_note for m in values if m.quality == "invalid")
    assert len({m.sample_id for m in values if m.quality == "ok"}) == len(found(lab, db.Experiment, state="done"))
    drifted = found(lab, db.Job, fault="drift")
    assert len(drifted) == off
    assert all(abs(job.as_run["checks"][0]["zeta"]) > 8 for job in drifted)


def test_an_instrument_whose_reference_is_off_is_out_until_somebody_has_calibrated_it() -> None:
    async def work() -> None:
        lab = virtual_lab()
        lab.sim.world.once["analyser-1"] = ["drift"]
        id = await run(lab, look=calibrated, budget={"experiments": 4})
        assert {e.state for e in found(lab, db.Experiment, campaign_id=id)} == {"done"}
        (hold,) = found(lab, db.Hold)
        assert hold.reason.startswith("drift: KCl 0.1 mol/kg, 25 degC reads 13.4")
        assert hold.reason.endswith("certified 12.825 +- 0.013; calibrate it, then release it")
        check_what_was_read(lab, off=2)

    live(work())


def test_the_twin_of_an_instrument_whose_reference_is_off_does_its_work() -> None:
    async def work() -> None:
        lab = virtual_lab(analyser_2="analyser-1")
        lab.sim.world.once["analyser-1"] = ["drift"]
        await run(lab, budget={"experiments": 6})
        assert {e.state for e in found(lab, db.Experiment)} == {"done"}
        assert [(h.instrument, h.state) for h in found(lab, db.Hold)] == [("analyser-1", "active")]
        check_what_was_read(lab, off=2)

    live(work())


def test_a_drift_that_no_reference_shows_takes_no_instrument_out_that_cannot_be_spared() -> None:
    async def work() -> None:
        lab = virtual_lab()
        driver, left = lab.hosts["analyser-1"].driver, [2]
        sound = driver.poll

        async def cold(run_id: str) -> Run:
            run = await sound(run_id)
            if run.state is not RunState.DONE or left[0] == 0:
                return run
            left[0] -= 1
            return Run(run_id=run_id, state=RunState.FAILED, fault=Fault.DRIFT, message="10 K too cold")

        driver.poll = cold  # type: ignore[method-assign]
        await run(lab, budget={"experiments": 3})
        assert len(found(lab, db.Job, fault="drift")) == 2
        assert not found(lab, db.Hold)

    live(work())


def test_a_sound_reference_is_on_record_with_every_run() -> None:
    async def work() -> None:
        lab = virtual_lab()
        await run(lab, budget={"experiments": 3})
        checks = [check for job in found(lab, db.Job, step="measure") for check in job.as_run["checks"]]
        assert len(checks) == 3
        assert all(abs(check["zeta"]) < 3 and check["certified"] == 12.8246 for check in checks)

    live(work())


def test_an_instrument_that_does_not_answer_is_taken_out_and_comes_back_by_itself() -> None:
    async def work() -> None:
        lab = virtual_lab(doser_2="doser-1")
        doser = lab.hosts["doser-1"].driver
        bench = await lab.bench()
        engine = InlineEngine(workflows(bench), lab.store, lab.record)
        await engine.open()
        id = lab.launch(campaign(budget={"experiments": 12}, optimizer={"name": "random", "in_flight": 2}))
        with lab.store.transaction() as tx:
            segment = segment_id(tx, id)
        whole = {m: getattr(doser, m) for m in ("identity", "health", "mark", "poll")}

        async def dead(*_: Any) -> Any:
            raise LinkLost("connection refused")

        for method in whole:
            setattr(doser, method, dead)
        await engine.submit("campaign", segment, id, [])
        while not found(lab, db.Hold):
            await lab.clock.sleep(60)
        (hold,) = found(lab, db.Hold)
        assert (hold.instrument, hold.placed_by, hold.reason[:15]) == ("doser-1", "labctl", "does not answer")
        while len(found(lab, db.Experiment, state="done")) < 6:
            await bench.look()
            await lab.clock.sleep(60)
        for method, sound in whole.items():
            setattr(doser, method, sound)
        while await engine.under_way(""):
            await bench.look()
            await lab.clock.sleep(60)
        assert found(lab, db.Hold)[0].state == "released"
        with lab.store.transaction() as tx:
            by = Counter(tx.get(db.Instrument, j.instrument_id).name for j in tx.find(db.Job, step="mix", state="done"))
        assert by["doser-1"] >= 1
        assert by["doser-2"] >= 6
        assert {e.state for e in found(lab, db.Experiment)} == {"done"}
        await engine.close()

    live(work())


def test_another_machine_in_the_place_of_a_silent_one_is_not_worked_with() -> None:
    async def work() -> None:
        lab = virtual_lab(doser_2="doser-1")
        bench = await lab.bench()
        with lab.store.transaction() as tx:
            holds.place(tx, "doser-1", f"{holds.SILENT}: connection refused", lab.clock.now())

        async def other() -> str:
            return "Somebody,Espresso,7,1.0"

        lab.hosts["doser-1"].driver.identity = other  # type: ignore[method-assign]
        await lab.clock.sleep(3600)
        await bench.look()
        await lab.clock.sleep(1)  # it is asked beside the look
        first, second = found(lab, db.Hold, order="id")
        assert (first.state, second.state) == ("released", "active")
        assert second.reason.startswith("another machine answers: Somebody,Espresso,7,1.0, not ")
        await lab.clock.sleep(3600)
        await bench.look()
        assert found(lab, db.Hold, state="active") == [second]

    live(work())


def test_an_instrument_whose_jobs_keep_failing_is_taken_out() -> None:
    async def work() -> None:
        lab = virtual_lab(analyser_2="analyser-1")
        error = DeviceRefused("cable loose")
        error.fault = Fault.JAM
        breaks(lab, "analyser-1", "start", error)
        await run(lab, budget={"experiments": 10}, failures={"jam": "other"})
        (hold,) = found(lab, db.Hold)
        assert (hold.instrument, "runs failed: jam" in hold.reason) == ("analyser-1", True)
        assert {e.state for e in found(lab, db.Experiment)} == {"done"}

    live(work())


def test_the_tray_after_a_lost_one_goes_to_the_other_furnace() -> None:
    async def work() -> None:
        LABS.append(VirtualLab(kind="alloy", optimizer=optimizers.optimizer))
        lab = LABS[-1]
        lab.sim.world.once["furnace-1"] = ["jam"] * 100
        await lab.carry_out(campaign("alloy/campaigns/hardness.toml", budget={"experiments": 24}))
        assert Counter(job.tray for job in found(lab, db.Job, fault="jam")) == {"Y-00001": 8}
        assert Counter(e.state for e in found(lab, db.Experiment)) == {"done": 16, "failed": 8}
        with lab.store.transaction() as tx:
            assert holds.doubted(tx) == {"furnace-1"}
        hold = db.Hold(
            id="H-0001", instrument="furnace-1", mode="hold", reason="looked at", placed_by="Ada",
            placed_at=lab.clock.now(), state="released", released_by="Ada", released_at=lab.clock.now(),
        )  # fmt: skip
        with lab.store.transaction() as tx:
            tx.add(hold, at=lab.clock.now(), actor="Ada")
            assert holds.doubted(tx) == set()

    live(work())


class Broken:
    """A driver that a third party wrote on a bad day."""

    async def hangs(self) -> None:
        await asyncio.sleep(10**9)

    async def raises(self) -> None:
        raise RuntimeError("list index out of range")

    async def exits(self) -> None:
        raise SystemExit(3)

    async def refuses(self) -> None:
        raise DeviceRefused("no")


@pytest.mark.parametrize(
    ("method", "words"), [("hangs", "did not come back"), ("raises", "list index"), ("exits", "3")]
)
def test_what_a_driver_does_wrong_is_a_fault_of_its_instrument(method: str, words: str) -> None:
    async def work() -> None:
        with pytest.raises(DriverBroken, match=words):
            await getattr(Guard(Broken()), method)()
        with pytest.raises(DeviceRefused):
            await Guard(Broken()).refuses()

    live(work())


def test_nothing_new_begins_with_a_driver_that_leaves_its_connections_open() -> None:
    class Leaks:
        def __init__(self) -> None:
            self.opened: list[socket.socket] = []

        async def health(self) -> None:
            await asyncio.create_task(self.connect())

        async def connect(self) -> None:
            self.opened.append(await asyncio.to_thread(socket.socket))

        async def abort(self, _: str) -> str:
            return "stopped"

    async def work() -> None:
        driver = Leaks()
        guarded, other = Guard(driver), socket.socket()
        with pytest.raises(DriverBroken, match="33 connections open"):
            for _ in range(100):
                await guarded.health()
        assert (len(driver.opened), await guarded.abort("")) == (MOST_OPEN + 1, "stopped")
        driver.opened.pop().close()
        await guarded.health()
        for opened in (*driver.opened, other):
            opened.close()

    asyncio.run(work())


@pytest.mark.parametrize("how", ["hangs", "raises", "leaks"])
def test_one_sick_driver_leaves_the_others_their_throughput(how: str) -> None:
    """Two dosers of which one is sick do at least 95 % of what the sound one does alone."""

    async def alone() -> float:
        lab = virtual_lab()
        await run(lab, budget={"experiments": 40})
        return lab.clock.monotonic()

    left_open: list[socket.socket] = []

    async def beside_a_sick_one() -> float:
        lab = virtual_lab(doser_2="doser-1")

        def spoil() -> None:
            for method in ("mark", "start", "poll", "health", "find"):
                if how == "raises":
                    breaks(lab, "doser-2", method, RuntimeError("list index out of range"))
                elif how == "leaks":
                    leak(lab, "doser-2", method, left_open)
                else:
                    hang(lab, "doser-2", method)

        await run(lab, spoil=spoil, budget={"experiments": 40})
        assert found(lab, db.Hold)[0].instrument == "doser-2"
        assert not [e.outcome for e in found(lab, db.Experiment) if "doser" in e.outcome]
        return lab.clock.monotonic()

    took = live(beside_a_sick_one())
    for opened in left_open:
        opened.close()
    assert took <= live(alone()) / 0.95
    assert len(left_open) <= 2 * (MOST_OPEN + 1)


def leak(lab: VirtualLab, name: str, method: str, left_open: list[socket.socket]) -> None:
    """The driver does its work, and at each call forgets too many connections that it has opened."""
    driver = lab.hosts[name].driver
    sound = getattr(driver, method)

    async def forgetful(*args: Any) -> Any:
        left_open.extend(socket.socket() for _ in range(MOST_OPEN + 1))
        return await sound(*args)

    setattr(driver, method, forgetful)


def hang(lab: VirtualLab, name: str, method: str) -> None:
    async def never(*_: Any) -> None:
        await asyncio.sleep(10**9)

    setattr(lab.hosts[name].driver, method, never)


@pytest.mark.parametrize(
    ("instrument", "state", "kind"), [("analyser-1", "in_doubt", "in_doubt"), ("doser-1", "failed", "parked")]
)
def test_where_labctl_breaks_down_a_sample_waits_for_a_person_and_the_others_go_on(
    instrument: str, state: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug on the way to the instrument, or after it has begun, in the second experiment."""

    async def work() -> None:
        lab = virtual_lab()
        host, before = lab.hosts[instrument], kind == "parked"

        async def perform(request: JobRequest, fence: int | None = None) -> Any:
            if request.job_id.startswith("E-00002/") and not request.job_id[-2:] == ".2":
                raise KeyError("a bug")
            return await Host.perform(host, request, fence)

        def start(*args: Any, **named: Any) -> Any:
            if args[1].startswith("E-00002/mix") and not args[1].endswith(".2"):
                raise KeyError("a bug")
            return begun(*args, **named)

        begun = results.start
        monkeypatch.setattr(*((results, "start", start) if before else (host, "perform", perform)))
        id = await run(lab, budget={"experiments": 5})
        (task,) = found(lab, db.Task)
        assert (task.question, task.state) == (kind, "open")
        assert "KeyError: 'a bug'" in task.prompt["text"]
        assert found(lab, db.Job, id=task.job_id)[0].state == state
        assert [e.state for e in found(lab, db.Experiment, order="number")] == ["done", "held", *["done"] * 3]
        assert not any(lease.holder for lease in found_leases(lab))
        assert found(lab, db.Campaign)[0].state == "paused"

        with lab.store.transaction() as tx:
            tasks.respond(
                tx,
                task.id,
                Answer(by="Ada", at=lab.clock.now(), done=True),
                samples=task.samples,
                happened=None if before else False,
            )
        await run(lab, again=id)
        assert [e.state for e in found(lab, db.Experiment)] == ["done"] * 5

    live(work())
