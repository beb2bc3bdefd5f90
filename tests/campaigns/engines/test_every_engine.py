"""The promises that every engine keeps, kept by each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from campaigns.engine import Ended, Engine, Steps, Workflow
from campaigns.engines.durable import DurableEngine
from campaigns.engines.inline import InlineEngine, Record
from tests.campaigns.engines.ledgers import ListLedger, SqlLedger

Make = Callable[[dict[str, Workflow]], Engine]


@pytest.fixture(params=["inline", "durable"])
def lab(request: pytest.FixtureRequest, tmp_path: Any) -> tuple[Make, Any]:
    """A maker of engines that share one record, and the ledger in which their steps write."""
    if request.param == "inline":
        record, ledger = Record(), ListLedger()
        return lambda workflows: InlineEngine(workflows, ledger, record), ledger
    sql = SqlLedger(tmp_path / "lab.sqlite")
    return lambda workflows: DurableEngine(workflows, sql.url, bind=sql.bind, poll_s=0.02), sql


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer that is not None."""
    while (answer := await ask()) is None:
        await asyncio.sleep(0.01)
    return answer


async def live(engine: Engine, workflow: str, id: str, *args: Any) -> Ended:
    """Run one workflow to its end."""
    await engine.open()
    try:
        await engine.submit(workflow, id, *args)
        ended: Ended = await until(lambda: engine.ended(id))
        return ended
    finally:
        await engine.close()


async def test_a_step_answers_and_the_workflow_ends_with_its_answer(lab: Any) -> None:
    make, _ = lab

    async def weigh(mg: float) -> dict[str, float]:
        return {"mg": mg}

    async def mix(steps: Steps, mg: float) -> Any:
        return await steps.run("weigh", weigh, mg)

    assert await live(make({"mix": mix}), "mix", "E-1", 12.5) == Ended(answer={"mg": 12.5})


async def test_a_row_and_its_step_are_written_once_however_often_the_id_is_submitted(lab: Any) -> None:
    make, ledger = lab

    async def mix(steps: Steps, name: str) -> Any:
        return await steps.record("write", ledger.write, name)

    engine = make({"mix": mix})
    await live(engine, "mix", "E-1", "EC")
    await live(make({"mix": mix}), "mix", "E-1", "DMC")
    assert ledger.rows() == ["EC"]


async def test_after_a_crash_recorded_steps_answer_from_the_record_and_the_rest_is_done(lab: Any) -> None:
    make, ledger = lab
    acts: list[str] = []
    stuck = asyncio.Event()

    async def act(name: str) -> str:
        acts.append(name)
        if name == "measure" and acts.count("measure") == 1:
            stuck.set()
            await asyncio.Event().wait()  # the crash comes while this act is under way
        return name

    async def experiment(steps: Steps) -> Any:
        await steps.record("plan", ledger.write, "plan")
        return [await steps.run("mix", act, "mix"), await steps.run("measure", act, "measure")]

    first = make({"experiment": experiment})
    await first.open()
    await first.submit("experiment", "E-1")
    await stuck.wait()
    await first.close()
    second = make({"experiment": experiment})
    await second.open()
    ended = await until(lambda: second.ended("E-1"))
    await second.close()
    assert ended == Ended(answer=["mix", "measure"])
    assert acts == ["mix", "measure", "measure"]
    assert ledger.rows() == ["plan"]


async def test_children_live_on_their_own_and_the_first_to_end_is_named(lab: Any) -> None:
    make, _ = lab
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def wait(name: str) -> str:
        await gates[name].wait()
        return name

    async def child(steps: Steps, name: str) -> Any:
        return await steps.run("wait", wait, name)

    async def parent(steps: Steps) -> Any:
        for name in ("a", "b"):
            await steps.begin("child", f"child {name}", name)
        gates["b"].set()
        return await steps.first(["child a", "child b"])

    engine = make({"parent": parent, "child": child})
    await engine.open()
    await engine.submit("parent", "P")
    assert (await until(lambda: engine.ended("P"))) == Ended(answer="child b")
    assert await engine.under_way("child") == ["child a"]
    gates["a"].set()
    await until(lambda: engine.ended("child a"))
    await engine.close()


async def test_an_error_that_nobody_expected_ends_the_workflow_and_says_what_it_was(lab: Any) -> None:
    make, _ = lab

    async def broken(steps: Steps) -> Any:
        raise ZeroDivisionError("no vial")

    ended = await live(make({"broken": broken}), "broken", "E-1")
    assert ended.error is not None
    assert "no vial" in ended.error


async def test_a_failed_write_leaves_no_row(lab: Any) -> None:
    make, ledger = lab

    def write_and_fail(tx: Any, name: str) -> None:
        ledger.write(tx, name)
        raise ValueError("the balance drifted")

    async def mix(steps: Steps) -> Any:
        await steps.record("write", write_and_fail, "EC")

    await live(make({"mix": mix}), "mix", "E-1")
    assert ledger.rows() == []


async def test_many_workflows_that_write_at_once_keep_nobody_from_ending(lab: Any) -> None:
    """Where the writers' second connections run out, they stand still until SQLite gives up."""
    make, ledger = lab

    async def mix(steps: Steps, name: str) -> Any:
        for n in range(3):
            await steps.record(f"write {n}", ledger.write, f"{name}/{n}")
        return name

    engine = make({"mix": mix})
    await engine.open()
    names = [f"E-{n}" for n in range(60)]
    await asyncio.gather(*(engine.submit("mix", name, name) for name in names))
    ended = await asyncio.gather(*(until(lambda name=name: engine.ended(name)) for name in names))  # type: ignore[misc]
    await engine.close()
    assert [e.answer for e in ended] == names
    assert sorted(ledger.rows()) == sorted(f"{name}/{n}" for name in names for n in range(3))


def test_a_stop_does_not_spell_out_every_object_whose_step_it_cancels(lab: Any) -> None:
    """A thousand waiting jobs would write the whole lab a thousand times before the worker ends."""
    make, _ = lab
    begun = asyncio.Event()

    class Lab:
        spelled = 0

        def __repr__(self) -> str:
            Lab.spelled += 1
            return "all that the lab has"

        async def wait(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    async def experiment(steps: Steps) -> Any:
        return await steps.run("wait", Lab().wait)

    async def serve() -> None:
        engine = make({"experiment": experiment})
        await engine.open()
        await engine.submit("experiment", "E-1")
        await begun.wait()
        await engine.close()

    asyncio.run(serve())  # whose end cancels what is under way
    assert Lab.spelled == 0
