"""Hardness, pitting potential and melts: from what the machine gives to what is believed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from instruments.clock import ScaledClock
from instruments.contract import JobRequest, SampleAt
from instruments.drivers.arc_melter import ArcMelter, Melt
from instruments.drivers.hardness_tester import HardnessTester, Indents, hardness
from instruments.drivers.potentiostat import PittingPotential, over_scans, parse_curves, pitting
from instruments.errors import BadReply, InvalidMeasurement
from instruments.scripted import ScriptedTransport

CLOCK = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC), 1.0)


def job(capability: str) -> JobRequest:
    return JobRequest(job_id="E-1/x", capability=capability, params={}, samples=(SampleAt(sample_id="S-1"),))


def test_hardness_is_that_of_the_standard() -> None:
    """ISO 6507-4 tabulates HV 1 for a mean diagonal of 0.1000 mm as 185."""
    value, u, n = hardness([(100.0, 100.0)] * 5, 1.0, 0.25)
    assert value == pytest.approx(185.4, abs=0.1)
    assert (u / value, n) == (pytest.approx(0.005), 5)


def test_tilted_indents_are_left_out() -> None:
    value, _, n = hardness([(100.0, 100.0), (100.0, 101.0), (99.5, 100.0), (90.0, 110.0)], 1.0, 0.25)
    assert n == 3
    assert value == pytest.approx(185.0, abs=2.0)


@pytest.mark.parametrize(
    ("indents", "words"),
    [
        ([(90.0, 110.0)] * 7, "cracked or tilted"),
        ([(60.0, 60.0), (100.0, 100.0), (140.0, 140.0)], "one material"),
        ([], "0 of 0"),
    ],
)
def test_indents_that_did_not_see_one_material_are_no_measurement(
    indents: list[tuple[float, float]], words: str
) -> None:
    with pytest.raises(InvalidMeasurement, match=words):
        hardness(indents, 1.0, 0.25)


async def test_the_tester_gives_back_what_it_was_asked_for() -> None:
    lines = "indent,d1_um,d2_um\n" + "".join(f"{i},100.0,100.2\n" for i in range(1, 6))
    answers = [
        ("RUN:RES? 3", '"S-1",5'),
        ("RUN:DATA? 3", lines.encode()),
        ("OPT:UNC?", "0.25"),
        ("RUN:CHEC? 3", '"block",124.0,0.8,120,0.6'),
    ]
    driver = HardnessTester(ScriptedTransport(answers), CLOCK)
    result = await driver.fetch(job("indent"), Indents(indents=5), "3")
    (reading,) = result.readings
    assert (reading.quantity, reading.unit, reading.n, reading.method) == (
        "vickers_hardness",
        "kgf/mm^2",
        5,
        "HV 1, ISO 6507-1",
    )
    assert result.raw_files[0].content == lines.encode()
    (check,) = result.checks
    assert (check.zeta, check.off) == (pytest.approx(4.0), True)
    assert str(check) == "block reads 124 +- 0.8 kgf/mm^2, certified 120 +- 0.6"


@pytest.mark.parametrize(
    "raw", [b"", b"a,b,c\n", b"indent,d1_um,d2_um\n1,2\n", b"indent,d1_um,d2_um\n1,9.9E37,3\n", b"\xff"]
)
async def test_a_raw_file_that_cannot_be_read_is_a_bad_reply(raw: bytes) -> None:
    answers = [("RUN:RES? 3", '"S-1",5'), ("RUN:DATA? 3", raw), ("OPT:UNC?", "0.25")]
    driver = HardnessTester(ScriptedTransport(answers), CLOCK)
    with pytest.raises(BadReply):
        await driver.fetch(job("indent"), Indents(indents=5), "3")


async def test_a_reference_without_uncertainty_is_a_bad_reply() -> None:
    driver = HardnessTester(ScriptedTransport([("RUN:CHEC? 3", '"block",124.0,0,120,0')]), CLOCK)
    with pytest.raises(BadReply, match="certified without uncertainty"):
        await driver.check("3", "vickers_hardness", "kgf/mm^2")


def curve(pit: float) -> list[tuple[float, float]]:
    return [(v / 100, 2e-6 if v / 100 < pit else 1e-3) for v in range(-130, -20)]


def test_pits_begin_where_the_current_rises_for_good() -> None:
    assert pitting(curve(-0.7)) == pytest.approx(-0.7, abs=0.01)
    spike = curve(-0.7)
    spike[10] = (spike[10][0], 1e-3)  # a pit that healed
    assert pitting(spike) == pytest.approx(-0.7, abs=0.01)


@pytest.mark.parametrize("flat", [1e-6, 1e-2, -1e-5])
def test_a_curve_that_never_rises_is_no_measurement(flat: float) -> None:
    with pytest.raises(InvalidMeasurement, match="does not cross"):
        pitting([(v / 100, flat) for v in range(-130, -20)])


def test_scatter_and_electrode_make_the_uncertainty() -> None:
    assert over_scans([-0.70], 0.003) == (-0.70, pytest.approx((0.015**2 + 0.003**2) ** 0.5))
    assert over_scans([-0.70, -0.72, -0.71], 0.003)[1] == pytest.approx(((0.01**2) / 3 + 0.003**2) ** 0.5)
    with pytest.raises(InvalidMeasurement, match="one surface"):
        over_scans([-0.5, -0.9], 0.003)


def test_scans_are_told_apart() -> None:
    raw = b"scan,potential_V,current_A_per_cm2\n1,-1.0,1e-6\n1,-0.9,1e-3\n2,-1.0,1e-6\n"
    assert [len(c) for c in parse_curves(raw)] == [2, 1]


def test_a_sweep_goes_upwards() -> None:
    with pytest.raises(ValueError, match="at least 0.1 V below"):
        PittingPotential(from_v=-0.5, to_v=-0.6)


async def test_a_melt_reads_back_its_program_before_the_arc_strikes() -> None:
    wire = ScriptedTransport(
        [
            ("*CLS", None), ("PROG:CLE", None), ('PROG:SAMP "S-1"', None), ('PROG:LAB "E-1/x"', None), ("PROG:ARC 200,30", None),
            ("PROG:MELT 4", None), ("SYST:ERR?", '0,"No error"'),
            ("PROG?", 'SAMP="S-1";LAB="E-1/x";ARC=200,30;MELT=4'), ("PROG:STAR", None), ("SYST:ERR?", '0,"No error"'),
            ("RUN:LAST?", '1,"E-1/x","S-1"'), ("RUN:STAT? 1", '1,"E-1/x",RUNNING,700,0,""'),
        ]
    )  # fmt: skip
    assert (await ArcMelter(wire, CLOCK).start(job("melt"), Melt())).remaining_s == 700
    assert wire.finished()
