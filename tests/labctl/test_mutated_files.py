"""Whatever is done to a file: it is sound, or its faults are named; nothing else ever happens."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.campaign_file import read_campaign
from campaigns.demands import against_lab
from campaigns.toml_file import FileFaults
from labctl import wiring
from labctl.labfile import LabFile
from tests.virtual_lab import TEMPLATE

CAMPAIGN = (TEMPLATE / "campaigns" / "conductivity.toml").read_text()
LABFILE = (TEMPLATE / "labctl.toml").read_text()
LAB = wiring.Lab(TEMPLATE, LabFile.load(TEMPLATE / "labctl.toml"))
CAPABILITIES = LAB.capabilities()
FORMULAS = LAB.file.formulas
VALUES = [
    "nan", "inf", "-inf", "-1", "0", "1e308", "99999999999999999999", '""', '"nan"', "true", "[]", "{}", '"25"', '"25 kg"',
    '"\\u0000"', "1979-05-27", '"=cmd()"', "0.3333333", '"-273.16 degC"', '[[1], "a"]', '{ a = { b = 1 } }',
]  # fmt: skip


def mutate(text: str, rng: random.Random) -> bytes:
    """One to three things that happen to files."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        kind = rng.randrange(9)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[i] = re.sub(r"=\s*[^#]*", lambda _: f"= {rng.choice(VALUES)} ", lines[i], count=1)
        elif kind == 3:
            lines[i] = lines[i].replace("=", rng.choice(["", "==", ":"]), 1)
        elif kind == 4:
            lines[i] = lines[i].replace('"', rng.choice(["", "'", '"""']), 1)
        elif kind == 5:
            at = rng.randrange(len(lines[i]) + 1)
            lines[i] = lines[i][:at] + rng.choice(["x", "]", "[", "\u00e9", "\t", "#", ".", "0"]) + lines[i][at:]
        elif kind == 6:
            lines[i] = re.sub(
                r"\d+(\.\d+)?",
                lambda m: rng.choice([m.group() + "0", "-" + m.group(), "nan", "1e9"]),
                lines[i],
                count=1,
            )
        elif kind == 7:
            lines[i] = lines[i].upper()
        else:
            lines = lines[: i + 1]
        lines = lines or [""]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + bytes(rng.randrange(256) for _ in range(4)) + content[at:]
    return content


def judge(path: Path, load: object) -> None:
    """Sound, or faults with the file's name and a line."""
    before = sorted(path.parent.iterdir())
    try:
        load(path)  # type: ignore[operator]
    except FileFaults as faults:
        assert faults.path == path
        assert faults.faults
        assert all(f.message for f in faults.faults)
        assert any(f.line for f in faults.faults)
    assert sorted(path.parent.iterdir()) == before


def load_campaign(path: Path) -> None:
    read_campaign(path, further=[against_lab(CAPABILITIES, FORMULAS)])


@pytest.mark.timeout(600)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_mutated_campaign_files(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "campaign.toml"
    path.write_bytes(mutate(CAMPAIGN, random.Random(seed)))
    judge(path, load_campaign)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_mutated_lab_files(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "labctl.toml"
    path.write_bytes(mutate(LABFILE, random.Random(seed)))
    judge(path, LabFile.load)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "campaign.toml"
    path.write_bytes(content)
    judge(path, load_campaign)


def test_all_faults_of_a_lab_file_are_told_at_once(tmp_path: Path) -> None:
    """Of one instrument by itself, of others that need the registry or another table, of the rest."""
    text = LABFILE
    for old, new in (
        ('simulator = "electrolyte"', ""),
        ("speed = 3600", "sped = 3600"),
        ('driver = "gravimetric-doser"', 'driver = "gravimetric-dozer"\ntimeout = "5 kg"'),
        ("temperature_c = [-20, 80]", "temperature_c = [-20, 800]"),
        ('[instruments.analyser-1]\ndriver = "impedance-analyser"', '[instruments.analyser-1]\nhost = "far"'),
        ('formula = "C3H4O3"', 'formula = "C3H4O3x"'),
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "labctl.toml"
    path.write_text(text)
    with pytest.raises(FileFaults) as caught:
        LabFile.load(path)
    assert [fault.key for fault in caught.value.faults] == [
        "lab.simulated",
        "simulation.sped",
        "instruments.doser-1.driver",
        "instruments.doser-1.timeout",
        "instruments.thermostat-1.limits",
        "instruments.analyser-1.driver",
        "stock.EC",
    ]
