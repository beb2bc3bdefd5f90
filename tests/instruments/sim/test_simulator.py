"""The simulated machines: their physics, their memory, their manners."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.clock import ScaledClock
from instruments.sim import electrolyte, physics
from instruments.sim.control import SimulatorControl, ensure_running, running
from instruments.sim.lab import SimulatedLab
from instruments.sim.memory_of_machines import MachineMemory
from instruments.sim.world import PROFILES, World

DEVICES = {"doser-1": "gravimetric-doser", "thermostat-1": "thermostat", "analyser-1": "impedance-analyser"}


MEMORIES: list[MachineMemory] = []


@pytest.fixture(autouse=True)
def _close_memories() -> Iterator[None]:
    yield
    while MEMORIES:
        MEMORIES.pop().close()


def lab(seed: int = 1, **options: object) -> SimulatedLab:
    clock = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC), 1e6)
    MEMORIES.append(MachineMemory(":memory:", full_sync=False))
    return SimulatedLab(
        World(clock=clock, memory=MEMORIES[-1], seed=seed, durations=0.0, **options),
        DEVICES,
        electrolyte.DEVICES,
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "kelvin", "highest", "at"),
    [
        (physics.EC_DMC, 298.15, 11.85, 0.93),
        (physics.EC_EMC, 298.15, 9.13, 1.01),
        (physics.EC_DMC, 263.15, 5.28, 0.73),
        (physics.EC_EMC, 263.15, 4.25, 0.85),
    ],
)
def test_the_published_fits_peak_where_they_should(
    fit: tuple[float, ...], kelvin: float, highest: float, at: float
) -> None:
    value, c = max((physics.fit(fit, c / 100, kelvin), c / 100) for c in range(1, 300))
    assert value == pytest.approx(highest, abs=0.01)
    assert c == pytest.approx(at, abs=0.02)


def test_at_the_published_mixtures_the_landscape_is_the_published_fit() -> None:
    for solvent, fit in (({"EC": 0.5, "DMC": 0.5}, physics.EC_DMC), ({"EC": 0.3, "EMC": 0.7}, physics.EC_EMC)):
        mass = {**solvent, "LiPF6": 0.13}
        assert physics.conductivity(mass, 25.0) == pytest.approx(
            physics.fit(fit, physics.molarity(mass), 298.15), rel=1e-9
        )


def test_the_best_electrolyte_of_the_demo_lies_inside_its_space() -> None:
    bounds = {"LiPF6": (0.05, 0.2), "EC": (0.1, 0.5), "DMC": (0.0, 0.7), "EMC": (0.0, 0.7)}
    _, best = physics.best(bounds, "EMC", 0.02, 25.0)
    for name, (low, high) in bounds.items():
        assert low + 0.02 < best[name] < high - 0.02


def test_no_salt_no_conduction_and_too_much_precipitates() -> None:
    assert physics.conductivity({"EC": 0.3, "EMC": 0.7}, 25.0) < 0.01
    assert physics.failure({"EC": 0.05, "EMC": 0.7, "LiPF6": 0.25}, 25.0) == "salt has precipitated"
    assert physics.failure({"EC": 0.9, "EMC": 0.1, "LiPF6": 0.1}, -10.0) == "EC has frozen out"


def tell(made: SimulatedLab, machine: str, *lines: str) -> list[object]:
    return [made.machines[machine].handle(line) for line in lines]


def make(made: SimulatedLab, sample: str) -> object:
    """One sample through all machines; the analyser's raw file."""
    program = [
        f'PROG:SAMP "{sample}"',
        'PROG:DOSE "EC",2000',
        'PROG:DOSE "EMC",3400',
        'PROG:DOSE "LiPF6",600',
        "PROG:STAR",
    ]
    tell(made, "doser-1", "PROG:CLE", *program)
    tell(made, "thermostat-1", "PROG:CLE", f'PROG:SAMP "{sample}"', "PROG:TEMP 25", "PROG:STAR")
    tell(made, "analyser-1", "PROG:CLE", f'PROG:SAMP "{sample}"', "PROG:STAR")
    run = made.machines["analyser-1"].count()
    return tell(made, "analyser-1", f"RUN:DATA? {run}")[0]


@pytest.mark.parametrize(("dose", "answer"), [("0", '0,"No error"'), ("1", '0,"No error"'), ("0.99", "-222,")])
def test_the_doser_takes_no_dose_smaller_than_its_error(dose: str, answer: str) -> None:
    said = tell(lab(), "doser-1", "*CLS", f'PROG:DOSE "EC",{dose}', "SYST:ERR?")
    assert str(said[-1]).startswith(answer)


def test_noise_does_not_depend_on_the_order_in_which_samples_come() -> None:
    first, second = lab(), lab()
    one = {s: make(first, s) for s in ("S-1", "S-2")}
    other = {s: make(second, s) for s in ("S-2", "S-1")}
    assert one["S-1"] is not None
    doses = [r.program["dosed"] for made in (first, second) for r in made.world.memory.of_sample("S-1", "doser-1")]
    assert doses[0] == doses[1]
    assert one["S-1"] != one["S-2"]
    assert other["S-1"] is not None


def test_a_sample_that_is_not_in_the_thermostat_cannot_be_measured() -> None:
    made = lab()
    assert tell(made, "analyser-1", 'PROG:SAMP "S-1"', "PROG:STAR", "SYST:ERR?")[-1] == (
        '-241,"Hardware missing; the sample is not in the thermostat"'
    )


def test_headers_are_read_in_short_and_long_form_and_any_case() -> None:
    answers = tell(lab(), "doser-1", "RUN:COUN?", "run:count?", "*idn?", "SYSTEM:ERROR?")
    assert answers == ["0", "0", "labctl simulation,GDR-16,doser-1,1.0", '0,"No error"']


@settings(max_examples=200)
@given(
    st.lists(
        st.text(max_size=40) | st.sampled_from(["PROG:STAR", 'PROG:SAMP "S"', "RUN:STAT? 1", "PROG:DOSE", "ABOR"]),
        max_size=8,
    )
)
def test_whatever_it_is_told_a_machine_never_breaks_down(lines: list[str]) -> None:
    made = lab()
    for machine in made.machines.values():
        for line in lines:
            reply = machine.handle(line)
            assert reply is None or isinstance(reply, str | bytes)
        assert machine.handle("*IDN?")


def start(folder: Path, **options: object) -> SimulatorControl:
    settings_: dict[str, object] = {"devices": DEVICES, "speed": 1000.0, "seed": 1, **options}
    ensure_running(folder, **settings_)  # type: ignore[arg-type]
    return SimulatorControl(folder)


def ask(port: int, *lines: str) -> list[str]:
    """Tell a machine over its socket; the answers to what are questions."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line, line.makefile("rb") as replies:
        answers = []
        for text in lines:
            line.sendall(text.encode() + b"\n")
            if text.endswith("?"):
                answers.append(replies.readline().decode().strip())
        return answers


def test_a_killed_simulator_comes_back_with_everything_it_had_done(tmp_path: Path) -> None:
    control = start(tmp_path)
    info = running(tmp_path)
    assert info is not None
    program = ['PROG:SAMP "S-1"', 'PROG:LAB "E-1/mix"', 'PROG:DOSE "EC",2000', "PROG:STAR", "RUN:COUN?"]
    assert ask(info.ports["doser-1"], *program) == ["1"]
    before, _ = control.clock()
    os.kill(info.pid, signal.SIGKILL)
    while running(tmp_path) is not None:
        pass
    control = start(tmp_path)
    assert control.acts() == {"E-1/mix": 1}
    assert control.made() == {"S-1": 1}
    info = running(tmp_path)
    assert info is not None
    assert ask(info.ports["doser-1"], 'RUN:FIND? "E-1/mix"'.replace("FIND? ", "FIND? "), "RUN:COUN?")[-1] == "1"
    after, _ = control.clock()
    assert (after - before).total_seconds() > -600
    control.stop()
    assert running(tmp_path) is None


def test_two_who_start_it_at_once_get_the_same_one(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.instruments.sim.test_simulator import *;"
        "print(ensure_running(Path(sys.argv[1]), devices=DEVICES, speed=10.0, seed=1).pid)"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    pids = {s.communicate()[0].strip() for s in starters}
    assert len(pids) == 1
    SimulatorControl(tmp_path).stop()


def test_left_alone_it_stops_by_itself(tmp_path: Path) -> None:
    start(tmp_path, idle_minutes=0.0)
    lock = (tmp_path / "simulator.lock").open("r+")
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_EX)  # waits until it has let go
    lock.close()
    assert running(tmp_path) is None
    assert not (tmp_path / "simulator.json").exists()


def test_an_order_that_makes_no_sense_is_answered_with_an_error(tmp_path: Path) -> None:
    control = start(tmp_path)
    for op, more in (
        ("dance", {}),
        ("speed", {"value": "fast"}),
        ("speed", {"value": -1}),
        ("mode", {"machine": "x", "value": "LOCAL"}),
    ):
        with pytest.raises(ValueError, match=r".+"):
            control.ask(op, **more)
    assert control.ping()
    control.stop()


def test_every_profile_names_faults_that_exist() -> None:
    known = {
        "jam",
        "lost",
        "bubble",
        "interlock",
        "sensor",
        "outlier",
        "stuck",
        "mute",
        "garbage",
        "late",
        "split",
        "duplicate",
        "drop",
        "freeze",
        "piece",
        "break",
    }
    assert all(set(rates) <= known for rates in PROFILES.values())
