"""Killed between any two steps, the host finds out what happened; nothing is begun twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instruments import registry
from instruments.clock import Clock, ScaledClock
from instruments.conformance import check
from instruments.contract import Driver, Fault, InstrumentConfig, JobRequest, JobState, JobStatus
from instruments.errors import BadReply, Fenced, ReplyTimeout
from instruments.host import UNREADABLE, Host
from instruments.journal import Journal
from instruments.sim.control import SimulatorControl, ensure_running
from instruments.sim.electrolyte import DEVICES
from tests.virtual_lab import VirtualLab, live

NAMES = {"doser-1": "gravimetric-doser", "thermostat-1": "thermostat", "analyser-1": "impedance-analyser"}
POINTS = ["intent written", "start sent", "start confirmed", "run recorded", "result fetched", "result written"]


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "sim"
    ensure_running(folder, devices=NAMES, speed=20000, seed=3)
    yield folder
    SimulatorControl(folder).stop()


def clock_of(sim: Path) -> Clock:
    return ScaledClock(*SimulatorControl(sim).clock())


def host(sim: Path, name: str, journal: Path, **options: object) -> Host:
    port = ensure_running(sim, devices=NAMES, speed=20000, seed=3).ports[name]
    config = InstrumentConfig(
        instrument_id=name, driver=NAMES[name], address=f"tcp://127.0.0.1:{port}", options={"timeout_s": 0.3}
    )
    clock = clock_of(sim)
    poll = {"poll_s": (50.0, 2000.0), **options}
    return Host(name, registry.build(config, clock), Journal(journal), clock, simulated=True, **poll)  # type: ignore[arg-type]


def example(name: str, job_id: str = "E-1/step", sample: str = "S-1") -> JobRequest:
    return registry.driver_class(NAMES[name]).example_request(job_id, sample)


async def prepare(sim: Path, folder: Path, sample: str, upto: str) -> None:
    """Bring a sample through the instruments before this one."""
    for name in list(NAMES)[: list(NAMES).index(upto)]:
        made = host(sim, name, folder / f"prepare-{name}.sqlite")
        await made.perform(example(name, f"prepare {sample} {name}", sample))
        await made.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from instruments import crashpoint
from tests.instruments.test_host import example, host
sim, journal, point, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
crashpoint.arm(f"{point}:1")
asyncio.run(host(sim, name, journal).perform(example(name)))
"""


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", list(NAMES))
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


@pytest.mark.parametrize("name", list(NAMES))
async def test_every_driver_keeps_its_promises_against_its_machine(sim: Path, tmp_path: Path, name: str) -> None:
    async def bring(sample: str) -> None:
        await prepare(sim, tmp_path, sample, name)

    promises = await check(lambda: host(sim, name, tmp_path / "journal.sqlite"), others=bring)
    assert len(promises) > 15
    assert [p for p in promises if not p.kept] == []


@pytest.mark.parametrize("fault", ["mute", "garbage", "duplicate", "drop"])
async def test_a_fault_of_the_wire_at_the_start_begins_nothing_twice(sim: Path, tmp_path: Path, fault: str) -> None:
    made = host(sim, "doser-1", tmp_path / "journal.sqlite")
    control = SimulatorControl(sim)
    for attempt in range(6):
        control.faults(next={"doser-1": [fault] * (attempt % 3 + 1)})
        status, _ = await made.perform(example("doser-1", f"E-{attempt}/mix", f"S-{attempt}"))
        assert status.state in (JobState.DONE, JobState.NOT_STARTED), status
    await made.close()
    assert {n for n in control.acts().values() if n != 1} == set()


async def test_a_silent_device_keeps_its_job_and_is_asked_again(sim: Path, tmp_path: Path) -> None:
    control = SimulatorControl(sim)
    made = host(sim, "doser-1", tmp_path / "journal.sqlite", patience_s=0.5)
    control.faults(rates={"mute": 1.0})
    status, result = await made.perform(example("doser-1"))
    assert not status.state.final
    assert status.fault is Fault.TIMEOUT
    assert result is None
    control.faults(rates={"mute": 0.0})
    status, result = await made.perform(example("doser-1"))
    assert status.state is JobState.DONE
    await made.close()
    assert control.acts()["E-1/step"] == 1


@pytest.mark.parametrize("trouble", ["for a while", "for ever", "of the wire"])
async def test_a_finished_run_whose_result_makes_no_sense_is_not_asked_for_for_ever(
    sim: Path, tmp_path: Path, trouble: str
) -> None:
    made = host(sim, "doser-1", tmp_path / "journal.sqlite")
    driver, asked = made.driver, 0
    fetch = driver.fetch

    async def unreadable(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        if trouble == "for a while" and asked == UNREADABLE:
            return await fetch(*args)
        raise ReplyTimeout("silence") if trouble == "of the wire" else BadReply("LOG?: '8O.1'")

    driver.fetch = unreadable  # type: ignore[method-assign]
    status = await made.submit(example("doser-1"))
    while not status.state.final and asked < 2 * UNREADABLE:
        status = await made.status("E-1/step")
    expected = {"for a while": JobState.DONE, "for ever": JobState.IN_DOUBT, "of the wire": JobState.RUNNING}
    assert status.state is expected[trouble]
    assert ("its result cannot be read (30 tries): LOG?: '8O.1'" in status.message) is (trouble == "for ever")
    await made.close()


UNREADABLE_RESULT = """
import asyncio, sys
from pathlib import Path
from instruments import crashpoint
from instruments.errors import BadReply
from tests.instruments.test_host import example, host

async def run(made):
    async def fetch(*args):
        raise BadReply("LOG?: '8O.1'")
    made.driver.fetch = fetch
    await made.submit(example("doser-1"))
    while True:
        await made.status("E-1/step")

crashpoint.arm("unreadable result written:1")
asyncio.run(run(host(Path(sys.argv[1]), "doser-1", Path(sys.argv[2]))))
"""


def test_killed_when_a_result_is_given_up_nothing_is_begun_again(sim: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    killed = subprocess.run([sys.executable, "-c", UNREADABLE_RESULT, str(sim), str(journal)], check=False)
    assert killed.returncode == -9

    async def resume() -> None:
        again = host(sim, "doser-1", journal)
        status, result = await again.perform(example("doser-1"))
        assert (status.state, result) == (JobState.IN_DOUBT, None)
        await again.close()

    asyncio.run(resume())
    assert dict(SimulatorControl(sim).acts()) == {"E-1/step": 1}


async def test_a_jam_is_a_value_not_an_exception(sim: Path, tmp_path: Path) -> None:
    SimulatorControl(sim).faults(next={"doser-1": ["jam"]})
    made = host(sim, "doser-1", tmp_path / "journal.sqlite")
    status, result = await made.perform(example("doser-1"))
    assert (status.state, status.fault, result) == (JobState.FAILED, Fault.JAM, None)
    await made.close()


@pytest.mark.parametrize("looked_at", [True, False], ids=["looked at before", "started anew"])
def test_a_run_that_ended_long_before_anybody_looked_has_not_lasted_so_long(looked_at: bool) -> None:
    lab = VirtualLab()

    async def night() -> JobStatus:
        made = lab.hosts["doser-1"]
        begun = await made.submit(example("doser-1"))
        assert begun.state is JobState.RUNNING
        made = made if looked_at else Host("doser-1", made.driver, made.journal, lab.clock)
        await lab.clock.sleep(12 * 3600)
        return await made.status("E-1/step")

    status = live(night())
    result = lab.hosts["doser-1"].journal.result("E-1/step")
    lab.close()
    assert status.started_at is not None
    assert status.ended_at is not None
    assert result is not None
    assert {reading.taken_at <= status.ended_at for reading in result.readings} == {True}
    assert (status.state, 60 < (status.ended_at - status.started_at).total_seconds() < 3600) == (JobState.DONE, True)


async def test_a_held_instrument_takes_no_work_until_it_is_released(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "doser-1", tmp_path / "journal.sqlite", patience_s=0.2)
    await made.control("hold", "mei")
    status, _ = await made.perform(example("doser-1"))
    assert "held by mei" in status.message
    assert "E-1/step" not in SimulatorControl(sim).acts()
    await made.control("release_hold", "mei")
    made.forbidden = lambda: "labctl stop --all"
    assert "held by labctl stop --all" in (await made.perform(example("doser-1")))[0].message
    made.forbidden = lambda: ""
    assert (await made.perform(example("doser-1")))[0].state is JobState.DONE
    await made.close()


async def test_a_holder_that_was_replaced_is_refused_also_after_a_restart(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "doser-1", tmp_path / "journal.sqlite")
    assert (await made.perform(example("doser-1", "E-2/mix", "S-2"), 7))[0].state is JobState.DONE
    with pytest.raises(Fenced, match="fence 6, but 7"):
        await made.perform(example("doser-1", "E-1/mix", "S-1"), 6)
    await made.close()
    again = host(sim, "doser-1", tmp_path / "journal.sqlite")
    with pytest.raises(Fenced):
        await again.perform(example("doser-1", "E-1/mix", "S-1"), 6)
    assert (await again.perform(example("doser-1", "E-2/mix", "S-2"), 7))[0].state is JobState.DONE
    await again.close()
    assert SimulatorControl(sim).acts() == {"E-2/mix": 1}


async def test_a_set_point_outside_hard_limits_never_reaches_the_wire(sim: Path, tmp_path: Path) -> None:
    made = host(sim, "thermostat-1", tmp_path / "journal.sqlite")
    for value in (81.0, -21.0, float("nan"), 1e300):
        request = example("thermostat-1").model_copy(update={"params": {"temperature_c": value, "hold_s": 1.0}})
        status, _ = await made.perform(request)
        assert (status.state, status.fault) == (JobState.REJECTED, Fault.OUT_OF_LIMITS)
    await made.close()
    assert SimulatorControl(sim).acts() == {}


def test_drivers_are_named_and_none_has_met_its_hardware() -> None:
    drivers = {d.name: d for d in registry.list_drivers()}
    assert set(drivers) >= set(DEVICES)
    assert not any(drivers[name].verified_on_hardware for name in DEVICES)


def test_every_driver_has_the_whole_contract() -> None:
    for name in DEVICES:
        made = registry.driver_class(name)
        missing = [
            m for m in dir(Driver) if not m.startswith("_") and m != "verified_on_hardware" and not hasattr(made, m)
        ]
        assert missing == []
