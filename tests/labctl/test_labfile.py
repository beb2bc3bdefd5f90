"""The lab file: the screens that bad ones give."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.toml_file import FileFaults
from labctl.errors import report_faults
from labctl.labfile import LabFile
from tests.virtual_lab import TEMPLATE

GOOD = (TEMPLATE / "labctl.toml").read_text()
PRICE = 'price = "1.80 EUR/g"'


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
