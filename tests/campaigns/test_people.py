"""Questions to people: bench steps, acts in doubt, holds; under a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from campaigns import tasks
from campaigns.bench import in_flight, in_line, segment_id
from campaigns.calibrations import hold_if_due
from campaigns.engines.inline import InlineEngine
from campaigns.loop import workflows
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from campaigns.tasks import StoreBoard, TaskError
from instruments.contract import InstrumentConfig, Unknowable
from instruments.drivers.human import make
from instruments.errors import ReplyTimeout
from instruments.host import Host
from instruments.journal import Journal
from instruments.people import Answer
from materials_db import records as db
from materials_db.errors import ConflictError
from tests.virtual_lab import VirtualLab, campaign, live

LABS: list[VirtualLab] = []
LOOK_S = 300.0


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while LABS:
        LABS.pop().close()


def virtual_lab() -> VirtualLab:
    LABS.append(VirtualLab())
    return LABS[-1]


def with_bench(lab: VirtualLab, person: str = "real", name: str = "bench-1") -> None:
    """A bench where a person works, as instrument of the lab."""
    config = InstrumentConfig(
        instrument_id=name, driver="human", address="", options={"person": person}, simulated=True
    )
    driver = make(config, StoreBoard(lambda: lab.store, in_line), lab.clock)
    lab.hosts[name] = Host(
        name, driver, Journal(":memory:", full_sync=False), lab.clock, simulated=True, poll_s=(60.0, 600.0)
    )
    section = lab.file.instruments["doser-1"].model_copy(update={"driver": "human", "calibration": None})
    lab.file = lab.file.model_copy(update={"instruments": {**lab.file.instruments, name: section}})


def steps_with(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The template's recipe with a step by hand after the mixing."""
    first, *rest = [s.model_dump(mode="json") for s in campaign().recipe.steps]
    return [first, {**first, "params": {}, "measures": [], "hold_until": None, **step}, *rest]


async def started(
    lab: VirtualLab, file: str = "electrolyte/campaigns/conductivity.toml", **changes: Any
) -> tuple[Any, InlineEngine, str]:
    """A campaign under way."""
    bench = await lab.bench()
    engine = InlineEngine(workflows(bench), lab.store, lab.record)
    await engine.open()
    id = lab.launch(campaign(file, **changes))
    with lab.store.transaction() as tx:
        segment = segment_id(tx, id)
    await engine.submit("campaign", segment, id, [])
    return bench, engine, id


def test_a_board_without_an_answer_is_looked_at_less_and_less_often() -> None:
    async def work() -> None:
        lab = virtual_lab()
        with_bench(lab)
        asked = lab.hosts["bench-1"]
        asked.poll_s, asked.latest_s = (1.0, 3000.0), 100.0
        looks: list[float] = []
        driver, poll = asked.driver, asked.driver.poll

        async def counted(run_id: str) -> Any:
            looks.append(lab.clock.elapsed())
            return await poll(run_id)

        driver.poll = counted  # type: ignore[method-assign]
        by_hand = steps_with({"name": "polish", "capability": "polish"})
        _, engine, _ = await started(lab, budget={"experiments": 1}, recipe={"steps": by_hand})
        while len(looks) < 60:
            await lab.clock.sleep(LOOK_S)
        pauses = [b - a for a, b in pairwise(looks)]
        assert pauses[1] < 3
        assert pauses[-1] == pytest.approx(100)
        say(lab, open_tasks(lab)[0])
        while await engine.under_way(""):
            await lab.clock.sleep(LOOK_S)
        await engine.close()

    live(work())


def open_tasks(lab: VirtualLab) -> list[db.Task]:
    with lab.store.transaction() as tx:
        return tx.find(db.Task, state="open")


def say(lab: VirtualLab, task: db.Task, *, done: bool = True, **more: Any) -> str:
    said = {key: more.pop(key) for key in ("note", "values", "lost") if key in more}
    answer = Answer(by="Ada", at=lab.clock.now(), done=done, **said)
    with lab.store.transaction() as tx:
        return tasks.respond(tx, task.id, answer, **{"samples": task.samples, **more})


def experiments(lab: VirtualLab, id: str) -> list[db.Experiment]:
    with lab.store.transaction() as tx:
        return tx.find(db.Experiment, order="number", campaign_id=id)


INSPECT = {
    "name": "inspect",
    "capability": "bench_step",
    "params": {"instruction": "Read the turbidity", "read": "turbidity", "unit": "1", "low": 0.0, "high": 10.0},
}


def test_a_step_by_hand_waits_for_its_answer_and_its_value_is_a_measurement() -> None:
    async def work() -> None:
        lab = virtual_lab()
        with_bench(lab)
        _, engine, id = await started(
            lab, budget={"experiments": 2}, optimizer={"name": "random", "in_flight": 1}, recipe={"steps": steps_with(INSPECT)}
        )  # fmt: skip
        answered = 0
        while await engine.under_way(""):
            for task in open_tasks(lab):
                with lab.store.transaction() as tx:
                    assert tx.get(db.Job, task.job_id).state == "waiting_human"
                with pytest.raises(TaskError, match="check the label"):
                    say(lab, task, samples=["S-99999"], values={"turbidity": 1.0})
                with pytest.raises(TaskError, match="needs the label of the sample in hand"):
                    say(lab, task, samples=[], values={"turbidity": 1.0})
                with pytest.raises(TaskError, match="asks for turbidity"):
                    say(lab, task)
                with pytest.raises(TaskError, match="outside 0 to 10"):
                    say(lab, task, values={"turbidity": 11.0})
                say(lab, task, samples=[s.lower() for s in task.samples], values={"turbidity": 2.5})
                with pytest.raises(ConflictError):
                    say(lab, task, values={"turbidity": 2.5})
                answered += 1
            await lab.clock.sleep(LOOK_S)
        assert answered == 2
        assert {e.state for e in experiments(lab, id)} == {"done"}
        with lab.store.transaction() as tx:
            found = tx.find(db.Measurement, quantity="turbidity")
            assert [m.value for m in found] == [2.5, 2.5]
            assert all(b"Ada" in tx.read_raw(str(m.raw_file_id)) for m in found)
            assert {t.answered_by for t in tx.find(db.Task)} == {"Ada"}
        await engine.close()

    live(work())


def test_a_step_that_went_wrong_gives_the_sample_up_and_the_campaign_goes_on() -> None:
    async def work() -> None:
        lab = virtual_lab()
        with_bench(lab)
        _, engine, id = await started(
            lab, budget={"experiments": 3}, optimizer={"name": "random", "in_flight": 1},
            recipe={"steps": steps_with({"name": "polish", "capability": "polish"})},
        )  # fmt: skip
        while await engine.under_way(""):
            for task in open_tasks(lab):
                say(lab, task, done=task.samples != ["S-00002"], note="cracked")
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["done", "failed", "done"]
        assert "cracked" in experiments(lab, id)[1].outcome
        await engine.close()

    live(work())


def test_a_simulated_technician_answers_by_itself() -> None:
    async def work() -> None:
        lab = virtual_lab()
        with_bench(lab, person="simulated")
        _, engine, id = await started(
            lab, budget={"experiments": 3}, recipe={"steps": steps_with({"name": "polish", "capability": "polish"})}
        )
        while await engine.under_way(""):
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["done"] * 3
        await engine.close()

    live(work())


def in_doubt(lab: VirtualLab, job: str, *, happens: bool) -> None:
    """The answer to this job's START is lost, and the doser cannot tell afterwards whether it began."""
    driver = lab.hosts["doser-1"].driver
    start = driver.start

    async def deaf(request: Any, params: Any) -> Any:
        if request.job_id == job:
            if happens:
                await start(request, params)
            raise ReplyTimeout("no answer to START")
        return await start(request, params)

    async def dumb(request: Any, params: Any, mark: str) -> Any:
        return Unknowable("its counter was reset")

    driver.start, driver.find = deaf, dumb  # type: ignore[method-assign]


@pytest.mark.parametrize("said", ["happened", "not started", "lost"])
def test_what_nobody_can_know_holds_one_sample_until_a_person_has_looked(said: str) -> None:
    async def work() -> None:
        lab = virtual_lab()
        in_doubt(lab, "E-00002/mix", happens=said == "happened")
        _, engine, id = await started(lab, budget={"experiments": 4}, optimizer={"name": "random", "in_flight": 1})
        while await engine.under_way(""):
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["done", "held", "done", "done"]
        with lab.store.transaction() as tx:
            rests = tx.get(db.Campaign, id)
            assert (rests.state, "S-00002 held" in rests.reason) == ("paused", True)
            assert in_flight(tx, id) == []
        (task,) = open_tasks(lab)
        assert "did doser-1 carry out mix on S-00002?" in task.title
        if said != "lost":
            with pytest.raises(TaskError, match="--happened or --not-started"):
                say(lab, task)
        say(lab, task, done=said != "lost", happened=None if said == "lost" else said == "happened", note="looked")
        await goes_on(lab, engine, id)
        state = {"happened": "done", "not started": "done", "lost": "failed"}[said]
        assert [e.state for e in experiments(lab, id)] == ["done", state, "done", "done"]
        with lab.store.transaction() as tx:
            jobs = {j.id: j for j in tx.find(db.Job, experiment_id="E-00002")}
            assert "Ada says" in jobs["E-00002/mix"].message
            assert ("E-00002/mix.2" in jobs) is (said == "not started")
            assert tx.get(db.Campaign, id).state == ("paused" if said == "lost" else "done")
        await engine.close()

    live(work())


async def goes_on(lab: VirtualLab, engine: InlineEngine, id: str) -> None:
    """What a worker does with a campaign that runs and has no workflow."""
    with lab.store.transaction() as tx:
        if tx.get(db.Campaign, id).state != "running":
            return
        segment, flying = segment_id(tx, id), in_flight(tx, id)
    for workflow, jobs in flying:
        await engine.submit("experiment", workflow, workflow.split("~")[0], jobs)
    await engine.submit("campaign", segment, id, [workflow for workflow, _ in flying])
    while await engine.under_way(""):
        await lab.clock.sleep(LOOK_S)


def test_a_sample_that_is_released_while_the_campaign_runs_is_taken_up_by_it() -> None:
    async def work() -> None:
        lab = virtual_lab()
        in_doubt(lab, "E-00001/mix", happens=True)
        _, engine, id = await started(lab, budget={"experiments": 5}, optimizer={"name": "random", "in_flight": 2})
        while await engine.under_way(""):
            for task in open_tasks(lab):
                say(lab, task, happened=True)
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["done"] * 5
        with lab.store.transaction() as tx:
            assert tx.get(db.Campaign, id).state == "done"
            assert not [lease for lease in tx.leases() if lease.holder]
        await engine.close()

    live(work())


def test_an_instrument_on_hold_gets_nothing_new_until_it_is_released() -> None:
    async def work() -> None:
        lab = virtual_lab()
        bench, engine, id = await started(lab, budget={"experiments": 3}, optimizer={"name": "random", "in_flight": 1})
        hold = db.Hold(
            id="H-0001", instrument="analyser-1", mode="hold", reason="cell broken", placed_by="Ada", placed_at=lab.clock.now()
        )  # fmt: skip
        with lab.store.transaction() as tx:
            tx.add(hold, at=lab.clock.now(), actor="Ada")
        for _ in range(200):
            await bench.look()
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["running"]
        with lab.store.transaction() as tx:
            assert tx.get(db.Job, "E-00001/measure").state == "queued"
            tx.move(db.Hold, "H-0001", at=lab.clock.now(), actor="Ada", state="released", released_by="Ada")
        while await engine.under_way(""):
            await bench.look()
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["done"] * 3
        await engine.close()

    live(work())


@pytest.mark.parametrize("decided", ["new certificate", "released"])
def test_an_instrument_whose_calibration_ran_out_waits_for_a_decision(decided: str) -> None:
    async def work() -> None:
        lab = virtual_lab()
        certified(lab, "SIM-1", lab.clock.now() + timedelta(hours=2))
        bench, engine, id = await started(lab, budget={"experiments": 9}, optimizer={"name": "random", "in_flight": 1})

        async def look() -> None:
            await bench.transact(hold_if_due, bench.registered.values(), lab.clock.now())
            await bench.look()
            await lab.clock.sleep(LOOK_S)

        for _ in range(100):
            await look()
        assert "queued" in {e.state for e in jobs(lab, "measure")}
        assert 0 < sum(e.state == "done" for e in experiments(lab, id)) < 9
        with lab.store.transaction() as tx:
            (held,) = tx.find(db.Hold, instrument="analyser-1", state="active")
            assert held.reason == "calibration due: SIM-1 (ionic_conductivity) ended on 2026-01-05"
        if decided == "released":
            with lab.store.transaction() as tx:
                tx.move(db.Hold, held.id, at=lab.clock.now(), actor="Ada", state="released", released_by="Ada")
        else:
            certified(lab, "SIM-2", lab.clock.now() + timedelta(days=900))
            await lab.bench()
        while await engine.under_way(""):
            await look()
        assert [e.state for e in experiments(lab, id)] == ["done"] * 9
        with lab.store.transaction() as tx:
            values = tx.find(db.Measurement, quantity="ionic_conductivity")
        uncalibrated = [m for m in values if m.calibration_id is None]  # one may have been running
        assert len(uncalibrated) <= 1 if decided == "new certificate" else len(uncalibrated) > 1
        await engine.close()

    live(work())


def certified(lab: VirtualLab, certificate: str, until: datetime) -> None:
    """Write the analyser's certificate into the lab file."""
    section = lab.file.instruments["analyser-1"]
    assert section.calibration is not None
    calibration = section.calibration.model_copy(update={"certificate": certificate, "valid_to": until})
    known = {**lab.file.instruments, "analyser-1": section.model_copy(update={"calibration": calibration})}
    lab.file = lab.file.model_copy(update={"instruments": known})


def jobs(lab: VirtualLab, step: str) -> list[db.Job]:
    with lab.store.transaction() as tx:
        return tx.find(db.Job, step=step)


@pytest.mark.parametrize("abort", [False, True])
def test_a_stopped_campaign_ends_although_its_instrument_is_on_hold(abort: bool) -> None:
    async def work() -> None:
        lab = virtual_lab()
        bench, engine, id = await started(lab, budget={"experiments": 9}, optimizer={"name": "random", "in_flight": 3})
        hold = db.Hold(
            id="H-0001", instrument="thermostat-1", mode="hold", reason="leak", placed_by="Ada", placed_at=lab.clock.now()
        )  # fmt: skip
        with lab.store.transaction() as tx:
            tx.add(hold, at=lab.clock.now(), actor="Ada")
        await bench.look()
        await lab.clock.sleep(200)
        with lab.store.transaction() as tx:
            running = {j.id for j in tx.find(db.Job, state="running")}
            tx.move(db.Campaign, id, at=lab.clock.now(), actor="Ada", wanted="stop", abort=abort)
        while await engine.under_way(""):
            await bench.look()
            await lab.clock.sleep(60)
        with lab.store.transaction() as tx:
            assert tx.get(db.Campaign, id).state == "stopped"
            assert {tx.get(db.Job, j).state for j in running} == {"aborted" if abort else "done"}
            assert not [lease for lease in tx.leases() if lease.holder]
        assert {e.state for e in experiments(lab, id)} == {"aborted"}
        await engine.close()

    live(work())


def test_a_tray_of_samples_is_one_prompt_and_what_was_lost_of_it_fails_alone() -> None:
    async def work() -> None:
        lab = VirtualLab(kind="alloy", optimizer=lambda plan: OnTrays(RandomSearch(), plan.shared))
        LABS.append(lab)
        bench = lab.hosts["bench-1"].driver
        bench.simulated_person = False  # type: ignore[attr-defined]
        _, engine, id = await started(
            lab,
            "alloy/campaigns/hardness.toml",
            budget={"experiments": 4},
            optimizer={"name": "random", "in_flight": 4},
        )
        asked = []
        while await engine.under_way(""):
            for task in open_tasks(lab):
                asked.append(task)
                with lab.store.transaction() as tx:
                    assert {j.state for j in tx.find(db.Job, step="polish")} == {"waiting_human"}
                with pytest.raises(TaskError, match="not S-99999"):
                    say(lab, task, lost={"S-99999": "cracked"})
                say(lab, task, samples=task.samples, lost={"S-00003": "cracked"})
            await lab.clock.sleep(LOOK_S)
        assert [task.samples for task in asked] == [["S-00001", "S-00002", "S-00003", "S-00004"]]
        assert [e.state for e in experiments(lab, id)] == ["done", "done", "failed", "done"]
        assert "Ada: cracked" in experiments(lab, id)[2].outcome
        await engine.close()

    live(work())


def test_an_abort_takes_the_question_down() -> None:
    async def work() -> None:
        lab = virtual_lab()
        with_bench(lab)
        bench, engine, id = await started(
            lab, budget={"experiments": 3}, optimizer={"name": "random", "in_flight": 1},
            recipe={"steps": steps_with({"name": "polish", "capability": "polish"})},
        )  # fmt: skip
        while not open_tasks(lab):
            await lab.clock.sleep(LOOK_S)
        with lab.store.transaction() as tx:
            tx.move(db.Campaign, id, at=lab.clock.now(), actor="Ada", wanted="stop", abort=True)
        while await engine.under_way(""):
            await bench.look()
            await lab.clock.sleep(LOOK_S)
        assert [e.state for e in experiments(lab, id)] == ["aborted"]
        with lab.store.transaction() as tx:
            assert [t.state for t in tx.find(db.Task)] == ["withdrawn"]
            assert tx.get(db.Campaign, id).state == "stopped"
        await engine.close()

    live(work())
