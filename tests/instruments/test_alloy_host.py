"""The alloy lab's machines: killed at any point, nothing is heated twice and every piece is told of."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from instruments.conformance import check
from instruments.contract import Fault, JobRequest, JobState, Mode, SampleAt
from instruments.sim.control import SimulatorControl
from tests.instruments.alloy import NAMES, example, host, prepare, ready

POINTS = ["intent written", "start confirmed", "run recorded", "result written"]
TRAY = tuple(SampleAt(sample_id=f"S-{i}") for i in range(1, 9))


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "sim"
    ready(folder)
    yield folder
    SimulatorControl(folder).stop()


def job(job_id: str = "T-1/age", samples: tuple[SampleAt, ...] = TRAY, **params: float) -> JobRequest:
    told = {"temperature_c": 190.0, "hold_s": 36000.0, **params}
    return JobRequest(job_id=job_id, capability="age", params=told, samples=samples)


@pytest.mark.parametrize("name", list(NAMES))
async def test_every_driver_keeps_its_promises_against_its_machine(sim: Path, tmp_path: Path, name: str) -> None:
    async def bring(sample: str) -> None:
        await prepare(sim, tmp_path, sample, name)

    promises = await check(lambda: host(sim, name, tmp_path / "journal.sqlite"), others=bring)
    assert len(promises) > 15
    assert [p for p in promises if not p.kept] == []
    assert set(SimulatorControl(sim).acts().values()) == {1}


KILLED = """
import asyncio, sys
from pathlib import Path
from instruments import crashpoint
from tests.instruments.alloy import example, host
sim, journal, point, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
crashpoint.arm(f"{point}:1")
asyncio.run(host(sim, name, journal).perform(example(name)))
"""


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", ["furnace-1", "melter-1", "hardness-1"])
def test_killed_at_any_point_the_act_happens_once_and_its_result_is_found(
    sim: Path, tmp_path: Path, point: str, name: str
) -> None:
    asyncio.run(prepare(sim, tmp_path, "S-1", name))
    journal = tmp_path / "journal.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(sim), str(journal), point, name], check=False)
    assert killed.returncode == -9

    async def resume() -> None:
        again = host(sim, name, journal)
        status, result = await again.perform(example(name))
        assert status.state is JobState.DONE, status
        assert result is not None
        assert result.readings
        await again.close()

    asyncio.run(resume())
    assert SimulatorControl(sim).acts()["E-1/step"] == 1


async def test_a_tray_of_eight_is_one_act_on_eight_samples(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    status, result = await made.perform(job())
    await made.close()
    assert status.state is JobState.DONE, status
    assert result is not None
    assert {r.sample_id for r in result.readings} == {s.sample_id for s in TRAY}
    assert sorted(result.as_run["places"].values()) == list(range(1, 9))
    control = SimulatorControl(sim)
    assert control.acts() == {"T-1/age": 1}
    assert control.acts_on() == {s.sample_id: {"T-1/age": 1} for s in TRAY}


async def test_a_piece_that_fell_off_the_tray_is_told_and_the_others_are_fine(sim: Path, tmp_path: Path) -> None:
    SimulatorControl(sim).faults(next={"furnace-1": ["piece"]})
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    status, result = await made.perform(job())
    await made.close()
    assert status.state is JobState.DONE
    assert result is not None
    ((lost, failure),) = result.failures.items()
    assert failure.fault is Fault.SAMPLE_LOST
    assert {r.sample_id for r in result.readings} == {s.sample_id for s in TRAY} - {lost}


async def test_when_nothing_comes_out_of_the_tray_the_run_has_failed(sim: Path, tmp_path: Path) -> None:
    SimulatorControl(sim).faults(next={"furnace-1": ["piece"]})
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    status, _ = await made.perform(job(samples=TRAY[:1]))
    await made.close()
    assert (status.state, status.fault) == (JobState.FAILED, Fault.SAMPLE_LOST)


@pytest.mark.parametrize(
    ("fault", "kind", "word"), [("jam", Fault.JAM, "jammed"), ("break", Fault.UNKNOWN, "thermocouple")]
)
async def test_a_fault_of_the_furnace_is_a_value_with_a_reason(
    sim: Path, tmp_path: Path, fault: str, kind: Fault, word: str
) -> None:
    SimulatorControl(sim).faults(next={"furnace-1": [fault]})
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    status, result = await made.perform(job())
    assert (status.state, status.fault, result) == (JobState.FAILED, kind, None)
    assert word in status.message
    assert (await made.health()).mode is (Mode.FAULT if fault == "break" else Mode.READY)
    await made.close()


async def test_someone_who_turns_the_knob_is_noticed(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    assert (await made.submit(job(hold_s=400000.0))).state is JobState.RUNNING
    SimulatorControl(sim).turn_knob("furnace-1", 230.0)
    status = await made.status("T-1/age")
    await made.close()
    assert (status.state, status.fault) == (JobState.FAILED, Fault.OPERATOR)
    assert "changed to 230 degC" in status.message


async def test_a_hold_longer_than_a_segment_is_several(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    status, result = await made.perform(job(hold_s=2000 * 60.0))
    await made.close()
    assert status.state is JobState.DONE, status
    assert result is not None
    assert [s["dwell_min"] for s in result.as_run["program"][1:]] == [900.0, 900.0, 200.0]
    assert result.as_run["hold_s"] == 120000.0


@pytest.mark.parametrize("fault", ["mute", "garbage", "duplicate", "drop", "split"])
async def test_a_fault_of_the_wire_begins_nothing_twice(sim: Path, tmp_path: Path, fault: str) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    control = SimulatorControl(sim)
    for attempt in range(4):
        control.faults(next={"furnace-1": [fault] * (attempt + 1)})
        status, _ = await made.perform(job(f"T-{attempt}/age", hold_s=600.0))
        assert status.state in (JobState.DONE, JobState.NOT_STARTED), status
    await made.close()
    assert {n for n in control.acts().values() if n != 1} == set()


async def test_a_furnace_aborted_is_reset(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    await made.submit(job(hold_s=400000.0))
    assert (await made.abort("T-1/age", "campaign stopped")).state is JobState.ABORTED
    assert (await made.health()).mode is Mode.READY
    await made.close()


ABORTED = """
import asyncio, sys
from pathlib import Path
from instruments import crashpoint
from tests.instruments.alloy import host
from tests.instruments.test_alloy_host import job
crashpoint.arm(f"{sys.argv[3]}:1")
async def abort():
    made = host(Path(sys.argv[1]), "furnace-1", Path(sys.argv[2]))
    await made.submit(job(hold_s=400000.0))
    await made.abort("T-1/age", "campaign stopped")
asyncio.run(abort())
"""


@pytest.mark.parametrize(
    ("point", "why"), [("partial data fetched", "the program was reset"), ("abort written", "campaign stopped")]
)
async def test_killed_while_it_keeps_what_an_aborted_run_had_given_it_has_it_after_the_restart(
    sim: Path, tmp_path: Path, point: str, why: str
) -> None:
    journal = tmp_path / "journal.sqlite"
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ABORTED, str(sim), str(journal), point], check=False
    )
    assert killed.returncode == -9
    again = host(sim, "furnace-1", journal)
    status, result = await again.perform(job(hold_s=400000.0))
    assert (status.state, status.message) == (
        JobState.ABORTED, f"{why}; partial: temperature.csv is kept",
    )  # fmt: skip
    assert result is not None
    assert ([file.name for file in result.raw_files], result.readings) == (["partial-temperature.csv"], ())
    await again.close()


async def test_a_set_point_outside_hard_limits_never_reaches_the_wire(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "furnace-1", tmp_path / "journal.sqlite")
    for value in (99.0, 251.0, float("nan"), 1e300):
        status, _ = await made.perform(job(temperature_c=value))
        assert (status.state, status.fault) == (JobState.REJECTED, Fault.OUT_OF_LIMITS)
    await made.close()
    assert SimulatorControl(sim).acts() == {}


async def test_a_piece_goes_through_the_whole_lab(sim: Path, tmp_path: Path) -> None:
    await prepare(sim, tmp_path, "S-1", "furnace-1")
    furnace = host(sim, "furnace-1", tmp_path / "furnace.sqlite")
    solution = JobRequest(
        job_id="T-1/solution", capability="solution_treat", params={"temperature_c": 500.0}, samples=TRAY[:1]
    )
    assert (await furnace.perform(solution))[0].state is JobState.DONE
    assert (await furnace.perform(job(samples=TRAY[:1])))[0].state is JobState.DONE
    await furnace.close()
    values = {}
    for name in ("hardness-1", "potentiostat-1"):
        tester = host(sim, name, tmp_path / f"{name}.sqlite")
        status, result = await tester.perform(example(name))
        await tester.close()
        assert result is not None, status
        values[name] = result.readings[0]
    truth = SimulatorControl(sim).alloy_truth(
        {"Al": 9430, "Cu": 420, "Mg": 150}, solution_c=500.0, solution_s=7200.0, ageing_c=190.0, ageing_s=36000.0
    )
    assert values["hardness-1"].value == pytest.approx(truth["hardness"], rel=0.15)
    assert values["potentiostat-1"].value == pytest.approx(truth["pitting_potential"], abs=0.06)
    assert all(r.u and r.n > 1 for r in values.values())
