from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.units import UnitError, known_unit, money, quantity, unit_in


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("25 degC", "degC", 25.0),
        ("298.15 K", "degC", 25.0),
        ("77 degF", "degC", 25.0),
        ("25 °C", "degC", 25.0),
        ("1.2 mol/kg", "mol/kg", 1.2),
        ("14 d", "s", 14 * 86400.0),
        ("500 EUR", "EUR", 500.0),
        ("6 g", "mg", 6000.0),
        ("0.05 EUR/g", "EUR/g", 0.05),
        ("1 S/m", "mS/cm", 10.0),
        ("800 rpm", "rpm", 800.0),
        ("1e3 Hz", "Hz", 1000.0),
        ("1 S cm⁻¹", "mS/cm", 1000.0),
        ("1 S·cm⁻¹", "mS cm-1", 1000.0),
        ("2 m²", "cm2", 20000.0),
        ("1 W m-1 K-1", "W/(m K)", 1.0),
        ("0.5", "", 0.5),
    ],
)
def test_quantities_mean_what_is_written(text: str, unit: str, value: float) -> None:
    assert quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("remark", "unit"),
    [
        ("S/cm", "S/cm"),
        ("S cm-1", "S cm-1"),
        ("S/cm, 25 °C", "S/cm"),
        ("S cm⁻¹ at 298 K", "S cm⁻¹"),
        ("log10, S/cm", ""),
        ("S/cm, log10", ""),
        ("measured", ""),
        ("", ""),
    ],
)
def test_the_unit_in_the_brackets_of_a_header(remark: str, unit: str) -> None:
    assert unit_in(remark) == unit


def test_a_difference_of_temperatures_is_no_temperature() -> None:
    assert quantity("2 K", "degC", difference=True) == pytest.approx(2.0)
    assert quantity("2 degC", "K", difference=True) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "unit", "reason"),
    [
        (1200, "degC", "no unit"),
        ("1200", "degC", "no unit"),
        ("nan degC", "degC", "does not begin with a number"),
        ("1e999 degC", "degC", "not a finite number"),
        (float("inf"), "s", "not a finite number"),
        ("5 kg", "degC", "not in degC"),
        ("5 USD", "EUR", "not in EUR"),
        ("5 flurbs", "s", "not a known unit"),
        ("warm", "degC", "does not begin with a number"),
        (True, "s", "no quantity"),
        (["5 s"], "s", "no quantity"),
        ("5 s; import os", "s", "not a unit"),
        ("5 __class__", "s", "not a unit"),
        ("5 mg", "", "plain number"),
        ("9" * 200 + " s", "s", "does not begin"),
    ],
)
def test_what_is_no_quantity_is_refused_with_the_reason(text: Any, unit: str, reason: str) -> None:
    with pytest.raises(UnitError, match=reason):
        quantity(text, unit)


@pytest.mark.parametrize("text", ["5 USD", "5 kUSD", "5 CHF", "5 SEK", "5 $", "5 £"])
def test_money_is_in_euros_as_nothing_else_could_be_added_to_them(text: str) -> None:
    with pytest.raises(UnitError, match="write it in EUR: labctl knows no exchange rates"):
        money(text)


@pytest.mark.parametrize(("text", "value"), [("5 EUR", 5.0), ("5 €", 5.0), ("2 kEUR", 2000.0)])
def test_money_in_euros(text: str, value: float) -> None:
    assert money(text) == value


def test_what_is_measured_may_be_a_price_in_any_currency() -> None:
    assert known_unit("USD/kg") == "USD/kg"


@given(st.text(max_size=60))
def test_any_text_gives_a_number_or_a_reason(text: str) -> None:
    try:
        assert isinstance(quantity(text, "degC"), float)
    except UnitError as error:
        assert str(error)


def test_pint_is_not_imported_before_there_is_a_quantity() -> None:
    code = "import sys, campaigns.units, campaigns.toml_file; print('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_difference_of_temperatures_is_no_difference_of_anything_else() -> None:
    assert quantity("9 degF", "degC", difference=True) == pytest.approx(5.0)
    with pytest.raises(UnitError, match="not in mS/cm"):
        quantity("9 degF", "mS/cm", difference=True)
