"""The alloy lab's truth, and the manners of its furnace."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments import registry
from instruments.clock import LoopClock, ScaledClock
from instruments.contract import InstrumentConfig, JobRequest, JobState, SampleAt
from instruments.host import Host
from instruments.journal import Journal
from instruments.sim import alloy, modbus_frame
from instruments.sim import alloy_physics as physics
from instruments.sim.alloy_physics import Treatment
from instruments.sim.furnace import TrayFurnace
from instruments.sim.lab import SimulatedLab
from instruments.sim.memory_of_machines import MachineMemory
from instruments.sim.world import World
from tests.virtual_lab import live

DEVICES = {
    "balance-1": "gravimetric-doser",
    "melter-1": "arc-melter",
    "furnace-1": "furnace",
    "hardness-1": "hardness-tester",
}
ORIGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
MEMORIES: list[MachineMemory] = []
ALLOY = {"Al": 94.3, "Cu": 4.2, "Mg": 1.5}
SOLUTION = Treatment(500.0, 7200.0)


@pytest.fixture(autouse=True)
def _close_memories() -> Iterator[None]:
    yield
    while MEMORIES:
        MEMORIES.pop().close()


def lab(clock: object = None, **options: object) -> SimulatedLab:
    MEMORIES.append(MachineMemory(":memory:", full_sync=False))
    made = World(clock=clock or ScaledClock(ORIGIN, 1.0), memory=MEMORIES[-1], **options)  # type: ignore[arg-type]
    return SimulatedLab(made, DEVICES, alloy.DEVICES)


# -- physics ------------------------------------------------------------------------------


def hv(celsius: float, hours: float, mass: dict[str, float] = ALLOY) -> float:
    state = physics.state_of(mass, SOLUTION, Treatment(celsius, hours * 3600))
    return physics.hardness(state, physics.mass_percent(mass)[1])


HOURS = [0.25 * 1.25**i for i in range(36)]


@pytest.mark.parametrize("celsius", [170.0, 190.0, 210.0])
def test_hardness_has_a_peak_in_time_and_the_hotter_the_sooner(celsius: float) -> None:
    best = max(HOURS, key=lambda h: hv(celsius, h))
    assert HOURS[0] < best < HOURS[-1]
    assert max(HOURS, key=lambda h: hv(celsius + 15, h)) < best
    assert 120 < hv(celsius, best) < 180


def test_what_dissolves_follows_the_published_solvus() -> None:
    assert physics.cu_solubility(821.0) == pytest.approx(5.65)
    assert physics.cu_solubility(573.15) == pytest.approx(0.45, rel=0.02)
    assert physics.dissolved(3.45, 1.32, 700.5)[1] == pytest.approx(1.32)  # no S any more
    assert physics.dissolved(3.45, 1.32, 450.0)[1] == pytest.approx(0.11, abs=0.01)  # 5.5 mol % S


@given(st.floats(0, 7), st.floats(0, 4), st.floats(350, 850))
def test_nothing_dissolves_that_is_not_there(cu: float, mg: float, kelvin: float) -> None:
    there = physics.dissolved(cu, mg, kelvin)
    assert -1e-9 <= there[0] <= cu + 1e-9
    assert -1e-9 <= there[1] <= mg + 1e-9


@given(st.floats(0, 6), st.floats(0, 3), st.floats(450, 560), st.floats(100, 250), st.floats(0, 6e5))
def test_every_alloy_has_a_hardness_and_a_pitting_potential(
    cu: float, mg: float, hot: float, warm: float, seconds: float
) -> None:
    mass = {"Al": 100 - cu - mg, "Cu": cu, "Mg": mg}
    state = physics.state_of(mass, Treatment(hot, 7200.0), Treatment(warm, seconds))
    assert 10 < physics.hardness(state, mg) < 250
    assert -1.6 < physics.pitting_potential(state) < -0.4


def test_copper_hardens_and_lets_pits_begin() -> None:
    found = []
    for cu in (1.0, 2.0, 3.0, 4.0):
        mass = {"Al": 98.5 - cu, "Cu": cu, "Mg": 1.5}
        found.append(
            (hv(190, 11, mass), physics.pitting_potential(physics.state_of(mass, SOLUTION, Treatment(190, 39600))))
        )
    assert found == sorted(found, key=lambda pair: (pair[0], -pair[1]))
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


def test_dissolved_copper_ennobles_as_measured_and_ageing_takes_that_back() -> None:
    def against_hydrogen(state: physics.State) -> float:
        return physics.pitting_potential(state) + physics.AG_AGCL

    assert against_hydrogen(physics.State(cu=0.0, mg=0.0)) == pytest.approx(-0.52)
    assert against_hydrogen(physics.State(cu=5.22, mg=0.0)) == pytest.approx(-0.33)
    quenched = physics.solution_treated(4.0, 0.0, Treatment(530.0, 7200.0))
    assert (
        physics.pitting_potential(physics.aged(quenched, Treatment(190.0, 4e4)))
        < physics.pitting_potential(quenched) - 0.1
    )


def test_too_hot_a_solution_treatment_melts_what_has_not_dissolved() -> None:
    assert not physics.melted(4.2, 1.5, Treatment(500.0, 7200.0))
    assert physics.melted(6.0, 3.0, Treatment(515.0, 7200.0))
    assert physics.melted(4.2, 1.5, Treatment(600.0, 7200.0))


# -- the furnace --------------------------------------------------------------------------


def host(made: SimulatedLab, name: str, clock: LoopClock) -> Host:
    config = InstrumentConfig(instrument_id=name, driver=DEVICES[name], address="")
    driver = registry.build(config, clock, made.transport(name))
    return Host(name, driver, Journal(":memory:", full_sync=False), clock, simulated=True, poll_s=(1.0, 43200.0))


def test_a_day_in_the_furnace_passes_in_a_moment_under_a_virtual_clock() -> None:
    async def day() -> None:
        clock = LoopClock(ORIGIN)
        made = lab(clock)
        furnace = host(made, "furnace-1", clock)
        tray = tuple(SampleAt(sample_id=f"S-{i}") for i in range(8))
        params = {"temperature_c": 180.0, "hold_s": 86400.0}
        status, result = await furnace.perform(JobRequest(job_id="T-1", capability="age", params=params, samples=tray))
        assert status.state is JobState.DONE, status
        assert result is not None
        assert timedelta(hours=24) < clock.now() - ORIGIN < timedelta(hours=25)
        furnace.journal.close()

    live(day())


@pytest.mark.parametrize("decimals", [0, 1])
def test_the_driver_reads_the_scale_of_the_furnace_that_it_talks_to(decimals: int) -> None:
    async def run() -> None:
        clock = LoopClock(ORIGIN)
        made = lab(clock)
        machine = made.machines["furnace-1"]
        assert isinstance(machine, TrayFurnace)
        machine.decimals = machine.time_decimals = decimals
        furnace = host(made, "furnace-1", clock)
        request = type(furnace.driver).example_request("T-1", "S-1")
        status, result = await furnace.perform(request)
        assert status.state is JobState.DONE, status
        assert result is not None
        assert result.as_run["set_point_c"] == 120.0
        furnace.journal.close()

    live(run())


def machine_of(made: SimulatedLab) -> TrayFurnace:
    machine = made.machines["furnace-1"]
    assert isinstance(machine, TrayFurnace)
    return machine


def test_the_edges_of_the_tray_are_colder() -> None:
    for seed in range(20):
        offsets = [machine_of(lab(seed=seed)).offset(place) for place in range(1, 9)]
        assert all(-15 <= offsets[i] <= -5 for i in (0, 7))
        assert all(abs(offset) < 4 for offset in offsets[2:6])


def words(content: str, count: int) -> list[int]:
    return list(struct.unpack(f">{count}H", content.encode().ljust(2 * count, b"\0")))


def ready_to_start(machine: TrayFurnace, tag: str = "T-1") -> None:
    ramp, dwell, end = [1, 1900, 100, 0, 0, 0, 0, 0], [3, 0, 600, 0, 0, 0, 0, 0], [0] * 8
    machine.write(8192, [0, 0, 1, 1, 0, 0, 0, 0, *ramp, *dwell, *end])
    machine.write(20482, words(tag, 32))
    machine.write(20528, words("S-1", 12))


def ask(machine: TrayFurnace, content: bytes) -> bytes:
    return modbus_frame.answer(machine, struct.pack(">HHHB", 7, 0, 1 + len(content), 1) + content)[7:]


def test_a_start_frame_that_comes_twice_starts_once() -> None:
    machine = machine_of(lab(durations=0.0))
    ready_to_start(machine)
    run = struct.pack(">BHH", 6, 23, 2)
    assert ask(machine, run) == run
    machine.world.clock = ScaledClock(ORIGIN + timedelta(days=9), 1.0)
    assert ask(machine, run) == bytes([0x86, 3])
    assert machine.count() == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (struct.pack(">BHH", 4, 1, 1), 1),
        (struct.pack(">BHH", 3, 1000, 1), 2),
        (struct.pack(">BHH", 3, 1, 0), 2),
        (struct.pack(">BHH", 3, 1, 126), 2),
        (struct.pack(">BHH", 6, 1, 5), 3),
        (struct.pack(">BHH", 6, 258, 0), 2),
        (struct.pack(">BHHBH", 16, 13, 2, 4, 1), 3),
        (struct.pack(">BHH", 6, 23, 2), 3),
        (b"\x03", 3),
    ],
)
def test_what_it_will_not_do_is_an_exception_response(content: bytes, code: int) -> None:
    assert ask(machine_of(lab()), content) == bytes([content[0] | 0x80, code])


def test_while_it_runs_its_program_cannot_be_written() -> None:
    machine = machine_of(lab())
    ready_to_start(machine)
    ask(machine, struct.pack(">BHH", 6, 23, 2))
    assert ask(machine, struct.pack(">BHH", 6, 8201, 2000)) == bytes([0x86, 6])
    assert ask(machine, struct.pack(">BHH", 6, 20482, 1)) == bytes([0x86, 6])


def test_a_program_above_its_alarm_or_with_too_long_a_dwell_is_not_started() -> None:
    for register, value in ((13, 1800), (8210, 9001)):
        machine = machine_of(lab())
        ready_to_start(machine)
        machine.write(register, [value])
        assert ask(machine, struct.pack(">BHH", 6, 23, 2)) == bytes([0x86, 3])


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=60))
def test_whatever_it_is_told_the_controller_answers_or_refuses(content: bytes) -> None:
    made = lab()
    reply = ask(machine_of(made), content)
    assert reply[0] & 0x7F == content[0] & 0x7F
    MEMORIES.pop().close()


def test_one_sample_cannot_stand_at_two_places() -> None:
    machine = machine_of(lab())
    ready_to_start(machine)
    machine.write(20528 + 12, words("S-1", 12))
    assert ask(machine, struct.pack(">BHH", 6, 23, 2)) == bytes([0x86, 3])
    assert machine.count() == 0


def test_after_a_power_cut_it_knows_its_program_and_goes_on() -> None:
    made = lab()
    machine = machine_of(made)
    ready_to_start(machine)
    ask(machine, struct.pack(">BHH", 6, 23, 2))
    again = TrayFurnace("furnace-1", made.world, {})
    assert again.read(8192, 120) == machine.read(8192, 120)
    assert again.read(20480, 34) == machine.read(20480, 34)
    assert again.status() == 2
