"""The furnace's driver against a bare table of registers: what is written, what is believed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.clock import ScaledClock
from instruments.contract import Fault, Found, JobRequest, Mode, NotStarted, RunState, SampleAt, Unknowable
from instruments.drivers import furnace_program
from instruments.drivers.furnace import Furnace, labels
from instruments.drivers.furnace_program import Age, Scale, SolutionTreat, held, programmed, registers, text
from instruments.errors import BadReply, DeviceRefused, OutOfLimits, ReplyTimeout
from instruments.scripted import ScriptedRegisters

CLOCK = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC), 1.0)
HOT = SolutionTreat(temperature_c=520.0, hold_s=7200.0)


def job(capability: str = "solution_treat", samples: int = 2, **positions: str) -> JobRequest:
    tray = tuple(SampleAt(sample_id=f"S-{i}", position=positions.get(f"S_{i}", "")) for i in range(1, samples + 1))
    return JobRequest(job_id="T-1/solution", capability=capability, params={}, samples=tray)


class Controller(ScriptedRegisters):
    """A table that starts when it is told to: counts, runs, keeps the tag."""

    def __init__(self, decimals: int = 1, time_decimals: int = 1) -> None:
        super().__init__({1: 220, 23: 1, 122: 0x2480, 525: decimals, 526: time_decimals, 20481: 4})

    async def write(self, address: int, values: Any) -> None:
        if (address, list(values)) == (23, [2]):
            self.table |= {20481: self.table[20481] + 1, 56: 1, 2: self.table.get(8201, 0)}
        await super().write(address, values)


def ended(wire: ScriptedRegisters, peak: int = 5210, low: int = 5190, came_out: int = 0b11000) -> None:
    """The program comes to its end."""
    wire.table |= {23: 16, 56: 0, 133: peak, 134: low, 135: 5200, 20624: came_out, 20515: 1}


async def started(wire: Controller) -> Furnace:
    driver = Furnace(wire, CLOCK)
    assert (await driver.start(job(), HOT)).state is RunState.RUNNING
    return driver


@pytest.mark.parametrize(("decimals", "set_point"), [(0, 520), (1, 5200), (2, 52000 & 0xFFFF)])
async def test_the_scale_is_read_never_assumed(decimals: int, set_point: int) -> None:
    wire = Controller(decimals, 0)
    if decimals == 2:
        with pytest.raises(DeviceRefused, match="does not fit"):
            await Furnace(wire, CLOCK).start(job(), HOT)
        return
    await started(wire)
    assert wire.table[8201] == set_point
    assert wire.table[8210] == 120
    assert wire.table[13] == set_point + 15 * 10**decimals


async def test_everything_is_written_before_the_start_and_the_start_comes_last() -> None:
    wire = Controller()
    await started(wire)
    assert [address for address, _ in wire.written] == [8192, 13, 20528, 20514, 20482, 23]
    assert text([wire.table[20482 + i] for i in range(32)]) == "T-1/solution"
    assert wire.written[-1] == (23, [2])


@pytest.mark.parametrize("register", [8201, 13, 20528 + 36, 20514, 20482])
async def test_what_does_not_read_back_is_never_started(register: int) -> None:
    wire = Controller()
    wire.deaf.add(register)
    with pytest.raises(DeviceRefused, match="read back differs"):
        await Furnace(wire, CLOCK).start(job(), HOT)
    assert (23, [2]) not in wire.written


async def test_what_is_harmless_is_said_twice_on_a_bad_line_the_start_never() -> None:
    wire = Controller()
    wire.fails[8192] = ReplyTimeout("nothing came back")
    await started(wire)
    wire = Controller()
    wire.fails[23] = ReplyTimeout("nothing came back")
    with pytest.raises(ReplyTimeout):
        await Furnace(wire, CLOCK).start(job(), HOT)
    assert wire.written.count((23, [2])) == 1


async def test_a_furnace_that_counts_no_start_has_not_started_ours() -> None:
    wire = ScriptedRegisters({23: 1, 525: 1, 526: 1})
    with pytest.raises(BadReply, match="start 0"):
        await Furnace(wire, CLOCK).start(job(), HOT)


async def test_after_a_crash_count_and_tag_tell_whether_it_began() -> None:
    wire = Controller()
    driver = Furnace(wire, CLOCK)
    mark = await driver.mark()
    assert await driver.find(job(), None, mark) == NotStarted()
    await driver.start(job(), HOT)
    found = await driver.find(job(), None, mark)
    assert isinstance(found, Found)
    assert found.run.run_id == "5"


async def test_a_start_by_hand_is_not_taken_for_ours() -> None:
    wire = Controller()
    driver = Furnace(wire, CLOCK)
    mark = await driver.mark()
    await wire.write(23, [2])
    assert await driver.find(job(), None, mark) == NotStarted()


@pytest.mark.parametrize(("count", "tag"), [(3, "T-1/solution"), (6, "T-1/solution"), (5, "somebody else")])
async def test_where_nobody_can_know_it_says_so(count: int, tag: str) -> None:
    wire = Controller()
    driver = Furnace(wire, CLOCK)
    mark = await driver.mark()
    wire.table[20481] = count
    await wire.write(20482, registers(tag, 32))
    assert isinstance(await driver.find(job(), None, mark), Unknowable)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({2: 5600}, "changed to 560 degC by another hand"),
        ({8201: 5600}, "program in the controller"),
        ({273: 1}, "manual"),
    ],
)
async def test_a_foreign_hand_fails_the_run(change: dict[int, int], words: str) -> None:
    wire = Controller()
    driver = await started(wire)
    wire.table |= change
    run = await driver.poll("5")
    assert (run.state, run.fault) == (RunState.FAILED, Fault.OPERATOR)
    assert words in run.message


async def test_a_temperature_far_from_its_set_point_is_told_while_it_runs() -> None:
    wire = Controller()
    driver = await started(wire)
    wire.table |= {56: 2, 1: 4700, 5: 5200}
    run = await driver.poll("5")
    assert (run.state, run.message) == (RunState.RUNNING, "PV is 470 degC at a set-point of 520 degC")


async def test_another_program_after_ours_fails_the_run() -> None:
    wire = Controller()
    driver = await started(wire)
    wire.table[20481] = 6
    run = await driver.poll("5")
    assert (run.state, run.fault) == (RunState.FAILED, Fault.OPERATOR)


@pytest.mark.parametrize(("peak", "low"), [(5350, 5190), (5210, 4000)])
async def test_a_temperature_that_was_not_held_is_no_treatment(peak: int, low: int) -> None:
    wire = Controller()
    driver = await started(wire)
    ended(wire, peak, low)
    run = await driver.poll("5")
    assert (run.state, run.fault) == (RunState.FAILED, Fault.DRIFT)


async def test_the_result_tells_what_was_read_back_and_who_is_missing() -> None:
    wire = Controller()
    driver = await started(wire)
    ended(wire, came_out=0b01000)
    assert (await driver.poll("5")).state is RunState.DONE
    result = await driver.fetch(job(), HOT, "5")
    assert [(r.sample_id, r.quantity, r.value) for r in result.readings] == [
        ("S-1", "solution_temperature", 520.0),
        ("S-1", "solution_time", 7200.0),
    ]
    assert result.failures["S-2"].fault is Fault.SAMPLE_LOST
    assert result.as_run["places"] == {"S-1": 4, "S-2": 5}
    assert result.as_run["program"] == [{"ramp_k_per_min": 10.0, "to_c": 520.0}, {"dwell_min": 120.0}]
    assert result.as_run["quench"] is True
    assert result.raw_files[0].content.startswith(b"time_s,pv_degC\n")


async def test_what_ended_well_is_done_also_when_someone_has_reset_it_since() -> None:
    wire = Controller()
    driver = await started(wire)
    ended(wire)
    wire.table |= {23: 1, 273: 1}
    assert (await driver.poll("5")).state is RunState.DONE
    wire.table[20515] = 2
    assert (await driver.poll("5")).state is RunState.ABORTED


async def test_a_result_for_another_tray_is_never_attributed() -> None:
    wire = Controller()
    driver = await started(wire)
    ended(wire)
    with pytest.raises(BadReply, match="not run 5"):
        await driver.fetch(job(samples=3), HOT, "5")


@pytest.mark.parametrize(
    ("change", "mode"),
    [({}, Mode.READY), ({258: 1}, Mode.FAULT), ({20518: 1}, Mode.INTERLOCKED), ({273: 1}, Mode.LOCAL)],
)
async def test_health_says_why_it_takes_no_work(change: dict[int, int], mode: Mode) -> None:
    wire = Controller()
    wire.table |= change
    assert (await Furnace(wire, CLOCK).health())[0] is mode


async def test_a_sensor_break_is_no_temperature() -> None:
    wire = Controller()
    driver = await started(wire)
    ended(wire, peak=0x7FFF)
    with pytest.raises(BadReply, match="no reading"):
        await driver.poll("5")


@given(st.floats(0, 604800), st.integers(0, 1))
def test_any_hold_is_dwells_that_a_segment_can_have(hold_s: float, decimals: int) -> None:
    scale = Scale(1, decimals)
    program = programmed(Age(temperature_c=190.0, hold_s=hold_s), scale, quench=False)
    assert len(program) == 8 + 8 * furnace_program.SEGMENTS
    dwells = [row[2] / 10**decimals for row in furnace_program.rows_of(program) if row[0] == furnace_program.DWELL]
    assert all(d <= 900.0 for d in dwells)
    assert held(program, scale) == (190.0, pytest.approx(hold_s, abs=len(dwells) * 30.0 / 10**decimals + 1e-6))


def test_the_tray_is_filled_from_the_middle_unless_places_are_told() -> None:
    written = labels(job(samples=3, S_2="1").samples)
    assert {p + 1: text(written[12 * p : 12 * p + 12]) for p in range(8) if written[12 * p]} == {
        1: "S-2",
        4: "S-1",
        5: "S-3",
    }


@pytest.mark.parametrize("positions", [{"S_1": "9"}, {"S_1": "left"}, {"S_1": "2", "S_2": "2"}])
def test_places_that_cannot_be_are_refused(positions: dict[str, str]) -> None:
    with pytest.raises(DeviceRefused, match="positions"):
        labels(job(**positions).samples)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=24).map(str.strip))
def test_text_in_registers_comes_back(content: str) -> None:
    assert text(registers(content, 12)) == content


@pytest.mark.parametrize("limits", [{"age.temperature_c": [120, 200]}, {"age": {"temperature_c": [120, 200]}}])
def test_a_limit_names_the_treatment_that_it_is_for(limits: dict[str, Any]) -> None:
    solution, age = Furnace.capabilities(limits)
    assert age.params_model.model_json_schema()["properties"]["temperature_c"]["maximum"] == 200
    assert solution.params_model.model_json_schema()["properties"]["temperature_c"]["maximum"] == 560
    with pytest.raises(OutOfLimits, match=r"age\.temperature_c"):
        Furnace.capabilities({"old.temperature_c": [120, 200]})
