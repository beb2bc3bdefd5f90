"""Samples that share an act: how a tray forms, and what becomes of its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from campaigns.experiment import share
from campaigns.floor import Floor
from campaigns.trays import Key, Member, Trays, key_of
from campaigns.turns import Turns
from instruments.clock import LoopClock, ScaledClock
from instruments.contract import Fault, JobResult, JobState, JobStatus, Reading, SampleFailure
from materials_db.waiting import count_trays, forming, questions
from tests.virtual_lab import live

ORIGIN = datetime(2026, 1, 5, tzinfo=UTC)
AGE = key_of(["furnace-1"], "age", {"temperature_c": 190.0, "hold_s": 3600.0})
OTHER = key_of(["furnace-1"], "age", {"temperature_c": 170.0, "hold_s": 3600.0})
ROOM, WAIT_S = 4, 7200.0


class Furnace:
    """Starts a tray of whoever is there when it becomes free."""

    def __init__(self, clock: LoopClock, coming: int = 99, busy_s: float = 0.0) -> None:
        self.clock, self.expected, self.busy_s = clock, coming, busy_s
        self.started: list[tuple[float, list[str]]] = []
        self.urgent: set[str] = set()
        self.trays = Trays(
            start=self.start,
            coming=self.coming,
            look=lambda: clock.sleep(60.0),
            now=clock.monotonic,
            urgency=lambda member: member.job_id not in self.urgent,
        )

    async def start(self, key: Key, members: Callable[[], list[Member]]) -> tuple[str, list[str]]:
        await self.clock.sleep(self.busy_s)
        jobs = [member.job_id for member in members()][:ROOM]
        self.started.append((self.clock.monotonic(), jobs))
        return f"Y-{len(self.started)}", jobs

    async def coming(self, key: Key, present: Sequence[Member]) -> int:
        return self.expected

    def join(self, job: str, key: Key = AGE, waited_s: float = 0.0) -> Awaitable[str | None]:
        return self.trays.join(key, job, ROOM, WAIT_S, waited_s=waited_s)


def in_virtual_time(work: Callable[[Furnace], Awaitable[None]], **how: float) -> Furnace:
    async def run() -> Furnace:
        furnace = Furnace(LoopClock(ORIGIN), **how)  # type: ignore[arg-type]
        await work(furnace)
        return furnace

    return live(run())


def test_a_full_tray_starts_at_once_and_the_rest_waits_for_the_next() -> None:
    async def work(furnace: Furnace) -> None:
        trays = await asyncio.gather(*(furnace.join(f"E-{i}") for i in range(6)))
        assert trays == ["Y-1"] * 4 + ["Y-2"] * 2

    furnace = in_virtual_time(work)
    assert [jobs for _, jobs in furnace.started] == [[f"E-{i}" for i in range(4)], ["E-4", "E-5"]]
    assert furnace.started[0][0] < 60
    assert WAIT_S <= furnace.started[1][0] <= WAIT_S + 120


def test_the_oldest_sample_does_not_wait_longer_than_its_limit() -> None:
    async def work(furnace: Furnace) -> None:
        first = asyncio.ensure_future(furnace.join("E-0"))
        await furnace.clock.sleep(5000)
        second = asyncio.ensure_future(furnace.join("E-1"))
        assert await asyncio.gather(first, second) == ["Y-1", "Y-1"]

    assert WAIT_S <= in_virtual_time(work).started[0][0] <= WAIT_S + 120


def test_a_tray_does_not_wait_for_samples_that_cannot_come() -> None:
    async def work(furnace: Furnace) -> None:
        assert await asyncio.gather(furnace.join("E-0"), furnace.join("E-1")) == ["Y-1", "Y-1"]

    assert in_virtual_time(work, coming=0).started[0][0] < 60


def test_other_set_points_are_another_tray() -> None:
    async def work(furnace: Furnace) -> None:
        assert len(set(await asyncio.gather(furnace.join("E-0"), furnace.join("E-1", OTHER)))) == 2

    in_virtual_time(work, coming=0)


def test_who_comes_while_the_furnace_is_still_busy_gets_on() -> None:
    async def work(furnace: Furnace) -> None:
        first = asyncio.ensure_future(furnace.join("E-0"))
        await furnace.clock.sleep(600)
        assert await asyncio.gather(first, furnace.join("E-1")) == ["Y-1", "Y-1"]

    in_virtual_time(work, coming=0, busy_s=1000.0)


def test_the_most_urgent_have_their_places_first() -> None:
    async def work(furnace: Furnace) -> None:
        furnace.urgent = {"E-4", "E-5"}
        trays = await asyncio.gather(*(furnace.join(f"E-{i}") for i in range(6)))
        assert [i for i, tray in enumerate(trays) if tray == "Y-1"] == [0, 1, 4, 5]

    in_virtual_time(work, busy_s=100.0)


def test_what_a_sample_had_waited_before_a_restart_counts_also_where_another_came_back_first() -> None:
    async def work(furnace: Furnace) -> None:
        await asyncio.gather(furnace.join("a"), furnace.join("b", waited_s=WAIT_S - 600))

    assert in_virtual_time(work).started == [(600.0, ["a", "b"])]


def test_a_tray_that_everybody_left_while_it_waited_is_none() -> None:
    async def work(furnace: Furnace) -> None:
        waits = [asyncio.ensure_future(furnace.join(f"E-{i}")) for i in range(2)]
        await furnace.clock.sleep(500)
        furnace.trays.dismiss(["E-0", "E-1"])
        assert await asyncio.gather(*waits) == [None, None]
        await furnace.clock.sleep(1000)
        assert furnace.trays.forming == {}

    assert in_virtual_time(work, coming=0, busy_s=1000.0).started == [(pytest.approx(1000, abs=60), [])]


def test_a_wait_that_is_called_off_leaves_the_tray_to_the_others() -> None:
    async def work(furnace: Furnace) -> None:
        first, second = (asyncio.ensure_future(furnace.join(f"E-{i}")) for i in range(2))
        await furnace.clock.sleep(10)
        furnace.trays.dismiss(["E-0"])
        assert await first is None
        assert await second == "Y-1"

    assert in_virtual_time(work).started[0][1] == ["E-1"]


def test_each_sample_gets_its_own_readings_and_a_lost_one_fails_alone() -> None:
    readings = tuple(
        Reading(sample_id=f"S-{i}", quantity="temperature", value=190.0 + i, unit="degC", taken_at=ORIGIN)
        for i in range(2)
    )
    result = JobResult(
        job_id="Y-1", readings=readings, failures={"S-1": SampleFailure(fault=Fault.SAMPLE_LOST, message="fell over")}
    )
    status = JobStatus(job_id="Y-1", state=JobState.DONE)
    good, mine = share(status, result, "S-0")
    assert (good.state, mine.readings) == (JobState.DONE, readings[:1])  # type: ignore[union-attr]
    lost, _ = share(status, result, "S-1")
    assert (lost.state, lost.fault, lost.message) == (JobState.FAILED, Fault.SAMPLE_LOST, "fell over")


def test_samples_leave_a_tray_one_after_the_other_so_that_one_sees_that_it_is_the_last() -> None:
    async def run() -> list[bool]:
        left, last = list("abcd"), []

        async def transact(work: object, job: str, *args: object) -> tuple[dict[str, object], bool]:
            seen = [j for j in left if j != job]  # what a transaction beside others sees: only what is committed
            await asyncio.sleep(0)
            left.remove(job)
            last.append(not seen)
            return {"released": []}, False

        floor = Floor(transact=transact, hosts={}, clock=LoopClock(ORIGIN), registered={}, turns=Turns())
        floor._on_trays["Y-1"] = asyncio.get_running_loop().create_future()
        floor._on_trays["Y-1"].set_result((JobStatus(job_id="Y-1", state=JobState.FAILED), None))
        await asyncio.gather(*(floor._with_tray(job, "Y-1", "furnace-1", 1) for job in "abcd"))  # type: ignore[arg-type]
        return last

    assert live(run()) == [False, False, False, True]


def test_an_error_while_a_tray_starts_reaches_all_who_wait() -> None:
    async def run() -> None:
        furnace = Furnace(LoopClock(ORIGIN), coming=0)

        async def broken(key: Key, members: Callable[[], list[str]]) -> tuple[str, list[str]]:
            raise RuntimeError("the database is gone")

        furnace.trays.start = broken
        for job in ("E-0", "E-1"):
            with pytest.raises(RuntimeError, match="the database is gone"):
                await furnace.join(job)

    live(run())


def test_in_an_accelerated_lab_waits_are_lab_time() -> None:
    """A sample that failed is seen to be gone within the lab's minutes, not within as many of the wall's."""
    clock, looks = ScaledClock(ORIGIN, speed=1e6), [{AGE[1:]: {"E-00002/age"}}, {}]

    async def look_at_record(work: object, *args: object) -> dict[tuple[str, str], set[str]]:
        return looks.pop(0)

    floor = Floor(look_at_record, {}, clock, {}, Turns(), look_s=120.0)

    async def work() -> list[int]:
        present = [Member("E-00001/age", clock.elapsed(), asyncio.get_running_loop().create_future())]
        first = await floor._coming(AGE, present)
        await clock.sleep(200.0)
        return [first, await floor._coming(AGE, present)]

    assert asyncio.run(work()) == [1, 0]
    assert floor.turns.now == clock.elapsed


def test_who_watches_sees_how_many_wait_for_a_tray_and_until_when() -> None:
    def waits(hours: float, hot: int, state: str = "queued") -> dict[str, object]:
        told = forming(8, ORIGIN + timedelta(hours=hours))
        return {"capability": "age", "params": {"temperature_c": hot}, "state": state, "message": told}

    rows = [waits(4, 190), waits(3, 190), waits(2, 170), waits(1, 190, "planned")]
    count_trays(rows, f"{ORIGIN:%Y-%m-%d}")
    assert [row["message"] for row in rows[:3]] == [
        "tray forming 2/8, until 03:00 at the latest",
        "tray forming 2/8, until 03:00 at the latest",
        "tray forming 1/8, until 02:00 at the latest",
    ]


def test_all_samples_that_a_person_has_in_hand_wait_for_the_same_answer() -> None:
    mates = [{"job": f"E-{i}/polish", "tray": "Y-1", "state": "waiting_human"} for i in (1, 2)]
    other = {"job": "E-3/indent", "tray": "Y-2", "state": "in_doubt"}
    asked = {"E-1/polish": "T-1", "E-3/indent": "T-2"}
    assert questions([*mates, other], asked) == {**asked, "Y-1": "T-1"}
