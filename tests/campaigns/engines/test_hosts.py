"""Several workers share one record: jobs go to the host they belong to, control passes on only when it is taken over."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from campaigns.engine import Ended, Steps
from campaigns.engines.durable import DurableEngine
from tests.campaigns.engines.ledgers import SqlLedger
from tests.campaigns.engines.test_every_engine import live, until


def engine(sql: SqlLedger, workflows: dict[str, Any], host: str) -> DurableEngine:
    return DurableEngine(workflows, sql.url, bind=sql.bind, executor_id=host, host=host, poll_s=0.02)


async def test_what_is_asked_of_a_host_waits_for_its_worker(tmp_path: Path) -> None:
    sql = SqlLedger(tmp_path / "lab.sqlite")
    done_by: list[str] = []

    def lab(me: str) -> dict[str, Any]:
        async def job(_: Steps, name: str) -> Any:
            done_by.append(me)
            return {"fired": name}

        async def experiment(steps: Steps) -> Any:
            return await steps.ask("furnace", "job", "E-1/fire", "S-1")

        return {"experiment": experiment, "job": job}

    bench = engine(sql, lab("bench"), "bench")
    await bench.open()
    await bench.submit("experiment", "E-1")
    await until(lambda: some(bench.under_way("E-1/fire")))
    await bench.close()
    furnace = engine(sql, lab("furnace"), "furnace")
    await furnace.open()
    await until(lambda: furnace.ended("E-1/fire"))
    await furnace.take_over()
    assert await until(lambda: furnace.ended("E-1")) == Ended(answer={"fired": "S-1"})
    await furnace.close()
    assert done_by == ["furnace"]


async def some(found: Any) -> list[str] | None:
    return await found or None


async def test_what_a_dead_worker_controlled_rests_until_it_is_taken_over(tmp_path: Path) -> None:
    sql = SqlLedger(tmp_path / "lab.sqlite")
    begun = asyncio.Event()
    acts: list[str] = []

    async def act() -> str:
        acts.append("mix")
        begun.set()
        if len(acts) == 1:
            await asyncio.Event().wait()
        return "mixed"

    async def experiment(steps: Steps) -> Any:
        return await steps.run("mix", act)

    workflows = {"experiment": experiment, "campaign": experiment}
    first = engine(sql, workflows, "bench")
    await first.open()
    await first.submit("experiment", "E-1")
    await begun.wait()
    await first.close()
    again = engine(sql, workflows, "bench")
    await again.open()
    await again.submit("campaign", "C-1#1")
    await until(lambda: again.ended("C-1#1"))
    assert acts == ["mix", "mix"]
    await again.take_over()
    assert await until(lambda: again.ended("E-1")) == Ended(answer="mixed")
    await again.close()


async def test_a_host_answers_itself(tmp_path: Path) -> None:
    async def job(_: Steps) -> Any:
        return "fired"

    async def experiment(steps: Steps) -> Any:
        return await steps.ask("bench", "job", "E-1/fire")

    made = engine(SqlLedger(tmp_path / "lab.sqlite"), {"experiment": experiment, "job": job}, "bench")
    assert await live(made, "experiment", "E-1") == Ended(answer="fired")


async def test_what_was_claimed_as_the_connection_broke_is_begun_again(tmp_path: Path) -> None:
    """The claim is on record, its answer never came: nobody carries the workflow."""
    sql = SqlLedger(tmp_path / "lab.sqlite")
    begun: list[str] = []

    async def job(_: Steps) -> Any:
        begun.append("job")
        return "fired"

    async def long(_: Steps) -> Any:
        begun.append("long")
        await asyncio.Event().wait()

    async def experiment(steps: Steps) -> Any:
        return await steps.ask("nobody", "job", "E-1/fire")

    made = engine(sql, {"experiment": experiment, "campaign": long, "job": job}, "bench")
    await made.open()
    await made.submit("campaign", "C-1#1")
    await made.submit("experiment", "E-1")
    await until(lambda: some(made.under_way("E-1/fire")))
    with closing(sqlite3.connect(tmp_path / "lab.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'bench', queue_name = 'host.bench'"
            " WHERE workflow_uuid = 'E-1/fire'"
        )
    await until(lambda: some(looked_up(begun, "long")))
    await made.find_lost()
    assert begun == ["long"]
    await made.find_lost()
    assert await until(lambda: made.ended("E-1")) == Ended(answer="fired")
    assert begun == ["long", "job"]
    await made.close()


async def looked_up(begun: list[str], name: str) -> list[str]:
    return [name] if name in begun else []
