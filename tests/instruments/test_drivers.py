"""Drivers as conversations: what is said, what comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from instruments.clock import ScaledClock
from instruments.contract import Found, JobRequest, NotStarted, RunState, SampleAt, Unknowable
from instruments.drivers.gravimetric_doser import DoseAndMix, GravimetricDoser
from instruments.drivers.impedance_analyser import ImpedanceAnalyser, conductivity, solution_resistance
from instruments.drivers.thermostat import HoldTemperature, Thermostat
from instruments.errors import BadReply, DeviceRefused, InvalidMeasurement, OutOfLimits
from instruments.scripted import Line, ScriptedTransport

CLOCK = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC), 1.0)
OK: Line = ("SYST:ERR?", '0,"No error"')
ENTER: list[Line] = [("*CLS", None), ("PROG:CLE", None), ('PROG:SAMP "S-1"', None), ('PROG:LAB "E-1/mix"', None)]
DOSES: list[Line] = [('PROG:DOSE "EC",5200.000', None), ('PROG:DOSE "LiPF6",800.000', None), ("PROG:MIX 800,120", None)]
UNDERSTOOD = 'SAMP="S-1";LAB="E-1/mix";DOSE="EC",5200.000;DOSE="LiPF6",800.000;MIX=800,120'


def job(params: dict[str, Any], capability: str = "dose_and_mix") -> JobRequest:
    return JobRequest(job_id="E-1/mix", capability=capability, params=params, samples=(SampleAt(sample_id="S-1"),))


MIX = {"masses_mg": {"EC": 5200.0, "LiPF6": 800.0}, "mix_rpm": 800.0, "mix_s": 120.0}


def doser(*script: Line) -> tuple[GravimetricDoser, ScriptedTransport]:
    wire = ScriptedTransport(script)
    return GravimetricDoser(wire, CLOCK), wire


async def test_the_doser_reads_back_what_the_machine_understood_before_it_starts() -> None:
    driver, wire = doser(
        *ENTER, *DOSES, OK, ("PROG?", UNDERSTOOD), ("PROG:STAR", None), OK,
        ("RUN:LAST?", '17,"E-1/mix","S-1"'), ("RUN:STAT? 17", '17,"E-1/mix",RUNNING,240.0,0,""'),
    )  # fmt: skip
    run = await driver.start(job(MIX), DoseAndMix.model_validate(MIX))
    assert (run.run_id, run.state, run.remaining_s) == ("17", RunState.RUNNING, 240.0)
    assert wire.finished()


async def test_a_program_that_was_misunderstood_is_never_started() -> None:
    driver, wire = doser(*ENTER, *DOSES, OK, ("PROG?", UNDERSTOOD.replace("5200", "520")))
    with pytest.raises(DeviceRefused, match="understood"):
        await driver.start(job(MIX), DoseAndMix.model_validate(MIX))
    assert "PROG:STAR" not in wire.said


async def test_a_refused_setting_names_the_machines_reason() -> None:
    driver, _ = doser(*ENTER, *DOSES, ("SYST:ERR?", '-222,"Data out of range; 0 to 20000"'), OK)
    with pytest.raises(DeviceRefused, match="0 to 20000"):
        await driver.start(job(MIX), DoseAndMix.model_validate(MIX))


def test_a_dose_that_the_machine_does_not_resolve_is_refused_and_none_is_none() -> None:
    (able,) = GravimetricDoser.capabilities({})
    DoseAndMix.model_validate({"masses_mg": {"EC": able.least_mg, "LiPF6": 0.0}})
    with pytest.raises(ValueError, match=r"0\.999 mg of EC is below the smallest dose, 1 mg"):
        DoseAndMix.model_validate({"masses_mg": {"EC": 0.999, "LiPF6": 800.0}})


async def test_weighed_masses_come_with_their_uncertainty() -> None:
    driver, _ = doser(
        ("RUN:RES? 17", '"S-1";EC,5200.31,0.15;LiPF6,800.08,0.12'), ("RUN:DATA? 17", b"feedstock,time_s,mass_mg\n")
    )
    result = await driver.fetch(job(MIX), DoseAndMix.model_validate(MIX), "17")
    assert [(r.quantity, r.value, r.u, r.unit) for r in result.readings] == [
        ("mass.EC", 5200.31, 0.15, "mg"),
        ("mass.LiPF6", 800.08, 0.12, "mg"),
    ]


@pytest.mark.parametrize(
    "answer", ['"S-2";EC,1,1;LiPF6,1,1', '"S-1";EC,1,1', '"S-1";EC,9.9E37,1;LiPF6,1,1', "", '"S-1";EC']
)
async def test_an_answer_for_another_sample_or_without_sense_is_never_attributed(answer: str) -> None:
    driver, _ = doser(("RUN:RES? 17", answer), ("RUN:DATA? 17", b""))
    with pytest.raises(BadReply):
        await driver.fetch(job(MIX), DoseAndMix.model_validate(MIX), "17")


async def test_after_a_crash_the_doser_is_asked_by_label() -> None:
    driver, _ = doser(('RUN:FIND? "E-1/mix"', "17"), ("RUN:STAT? 17", '17,"E-1/mix",DONE,0.0,0,""'))
    found = await driver.find(job(MIX), None, "16")
    assert isinstance(found, Found)
    assert found.run.run_id == "17"


async def test_after_a_crash_a_run_counter_that_did_not_move_proves_that_nothing_began() -> None:
    wire = ScriptedTransport([("RUN:COUN?", "16")])
    assert await Thermostat(wire, CLOCK).find(job({}), None, "16") == NotStarted()


async def test_a_run_of_somebody_else_is_not_adopted() -> None:
    wire = ScriptedTransport([("RUN:COUN?", "17"), ("RUN:STAT? 17", '17,"someone else",RUNNING,9.0,0,""')])
    assert await Thermostat(wire, CLOCK).find(job({}), None, "16") == NotStarted()


async def test_a_machine_that_lost_its_memory_cannot_say() -> None:
    wire = ScriptedTransport([("RUN:COUN?", "3")])
    assert isinstance(await Thermostat(wire, CLOCK).find(job({}), None, "16"), Unknowable)


async def test_the_thermostat_holds_what_was_asked() -> None:
    wire = ScriptedTransport(
        [
            *ENTER, ("PROG:TEMP 25.000", None), ("PROG:HOLD 600", None), OK,
            ("PROG?", 'SAMP="S-1";LAB="E-1/mix";TEMP=25.000;HOLD=600'), ("PROG:STAR", None), OK,
            ("RUN:LAST?", '1,"E-1/mix","S-1"'), ("RUN:STAT? 1", '1,"E-1/mix",RUNNING,700,0,""'),
        ]
    )  # fmt: skip
    params = HoldTemperature(temperature_c=25.0, hold_s=600.0)
    assert (await Thermostat(wire, CLOCK).start(job({}), params)).remaining_s == 700


def spectrum(resistance: float, n: int = 15) -> list[tuple[float, float, float]]:
    from instruments.sim.impedance_cell import impedance

    return [(f, *impedance(resistance, 6.283185307 * f)) for f in (10 ** (3 + 3 * i / (n - 1)) for i in range(n))]


@pytest.mark.parametrize("resistance", [20.0, 80.0, 500.0])
def test_the_solution_resistance_is_found_under_electrode_and_leads(resistance: float) -> None:
    assert solution_resistance(spectrum(resistance)) == pytest.approx(resistance, rel=1e-3)


def test_a_spectrum_of_nothing_is_no_measurement() -> None:
    with pytest.raises(InvalidMeasurement):
        solution_resistance([(f, -10.0, -1.0) for f in (1e3, 1e4, 1e5, 1e6, 1e7)])
    with pytest.raises(InvalidMeasurement, match="points"):
        solution_resistance(spectrum(80.0)[:3])


def test_sweeps_that_disagree_saw_different_liquids() -> None:
    with pytest.raises(InvalidMeasurement, match="differ"):
        conductivity([80.0, 120.0], 1.0, 0.004)


def test_uncertainty_combines_scatter_and_cell_constant() -> None:
    value, u = conductivity([80.0, 80.8, 79.2], 1.0, 0.004)
    assert value == pytest.approx(12.5)
    assert u / value == pytest.approx(((0.01 / 3**0.5) ** 2 + 0.004**2) ** 0.5)


async def test_a_raw_file_that_cannot_be_read_is_a_bad_reply() -> None:
    answers: list[Line] = [
        ("RUN:RES? 1", '"S-1",25.0,0.05,3'),
        ("RUN:DATA? 1", b"not,a,spectrum\n"),
        ("CELL:CONS?", "1.0,0.004"),
    ]
    driver = ImpedanceAnalyser(ScriptedTransport(answers), CLOCK)
    request = ImpedanceAnalyser.example_request("E-1/mix", "S-1")
    params = ImpedanceAnalyser.capabilities({})[0].params_model.model_validate(request.params)
    with pytest.raises(BadReply, match="does not begin with"):
        await driver.fetch(request, params, "1")


def test_limits_of_one_machine_may_only_be_narrower() -> None:
    (capability,) = Thermostat.capabilities({"temperature_c": [0, 60]})
    with pytest.raises(ValueError, match="less than or equal to 60"):
        capability.params_model.model_validate({"temperature_c": 61})
    for limits in (
        {"temperature_c": [-40, 60]},
        {"temprature_c": [0, 60]},
        {"temperature_c": [60, 0]},
        {"temperature_c": "warm"},
    ):
        with pytest.raises(OutOfLimits):
            Thermostat.capabilities(limits)
