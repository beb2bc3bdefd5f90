"""The lab file: the screens that bad ones give."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.toml_file import FileFaults
from labctl.errors import report_faults
from labctl.labfile import LabFile
from tests.virtual_lab import TEMPLATE, TEMPLATES

GOOD = (TEMPLATE / "labctl.toml").read_text()
PRICE = 'price = "1.80 EUR/g"'
CERTIFIED = 'quantity = "ionic_conductivity"'


def written(folder: Path, *changes: tuple[str, str], text: str = GOOD) -> Path:
    """A lab file with these changes."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "labctl.toml"
    path.write_text(text)
    return path


def screen(folder: Path, *changes: tuple[str, str], text: str = GOOD) -> list[str]:
    """What the terminal says of it, less the path."""
    path = written(folder, *changes, text=text)
    with pytest.raises(FileFaults) as caught:
        LabFile.load(path)
    return [line.replace(str(path), path.name) for line in report_faults(caught.value).where]


def at(line: str, text: str = GOOD) -> int:
    """The line of the template that reads so."""
    return text.splitlines().index(line) + 1


@pytest.mark.parametrize("price", ["5 USD/g", "5 kUSD/kg", "5 SEK/g", "5 $/g"])
def test_a_price_in_another_currency_is_refused(price: str, tmp_path: Path) -> None:
    assert screen(tmp_path, (PRICE, f'price = "{price}"')) == [
        f'labctl.toml:{at(PRICE)}  stock.LiPF6.price = "{price}"',
        f"    {price!r} is not in EUR/g; write it in EUR: labctl knows no exchange rates",
    ]


def test_a_price_may_be_that_of_a_kilogram(tmp_path: Path) -> None:
    found = LabFile.load(written(tmp_path, (PRICE, 'price = "1800 EUR/kg"')))
    assert found.stock["LiPF6"].price_per_g == pytest.approx(1.8)


def test_a_calibration_is_of_something_that_the_instrument_measures(tmp_path: Path) -> None:
    assert screen(tmp_path, (CERTIFIED, 'quantity = "viscosity"')) == [
        f'labctl.toml:{at(CERTIFIED)}  instruments.analyser-1.calibration.quantity = "viscosity"',
        "    analyser-1 (impedance-analyser) never measures 'viscosity'; it measures ionic_conductivity, temperature",
    ]


def test_a_calibration_is_looked_at_whatever_else_is_wrong_with_the_instrument(tmp_path: Path) -> None:
    limits = ('driver = "impedance-analyser"', 'driver = "impedance-analyser"\nlimits = { repeats = [1, 9999] }')
    said = screen(tmp_path, limits, (CERTIFIED, 'quantity = "viscosity"'))
    assert [line.split()[1] for line in said[::2]] == [
        "instruments.analyser-1.limits",
        "instruments.analyser-1.calibration.quantity",
    ]


@pytest.mark.parametrize(
    ("driver", "quantity"),
    [
        ("gravimetric-doser", "mass"),
        ("gravimetric-doser", "mass.LiPF6"),
        ("human", "grain_size"),  # whatever a person can be asked to read
        ("arc-melter", "ingot_mass"),
    ],
)
def test_a_certificate_may_be_for_all_that_is_weighed_or_for_what_a_person_reads(
    driver: str, quantity: str, tmp_path: Path
) -> None:
    alloy = (TEMPLATES / "alloy" / "labctl.toml").read_text()
    changes = (
        ('driver = "hardness-tester"', f'driver = "{driver}"'),
        ('quantity = "vickers_hardness"', f'quantity = "{quantity}"'),
    )
    found = LabFile.load(written(tmp_path, *changes, text=alloy))
    assert found.instruments["hardness-1"].calibration is not None
