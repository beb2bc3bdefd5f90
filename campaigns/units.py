"""Quantities as people write them: ``"25 degC"``, ``"1.2 mol/kg"``, ``"14 d"``, ``"500 EUR"``.

pint does the arithmetic. It is imported only when there is a quantity to read, because
that takes longer than most commands run.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

CURRENCY = "EUR"  #: of all money that is added up
CURRENCIES = (CURRENCY, "USD", "GBP", "CHF", "JPY", "CAD")  #: units of properties that are wanted or told in tables
OTHER_MONEY = re.compile(
    rf"(?!{CURRENCY})[A-Z]{{3}}|[$£¥]"
)  #: any code of ISO 4217, also of currencies that are no unit here
QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*", re.DOTALL)
TEMPERATURES = ("degC", "K", "degF")
LONGEST = 80
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
POWER = re.compile(r"\b([^\W\d_]+)([+-]?\d)\b")  #: cm-1, m2
CONDITION = re.compile(r"(.+?)\s*(?:[,;@]|\sat\s)\s*(?:at\s|T\s?=)?\s*\d.*")  #: S/cm, 25 °C
SPELLINGS = {
    "°C": "degC",
    "celsius": "degC",
    "C": "degC",
    "°F": "degF",
    "µ": "u",
    "Ω": "ohm",
    "€": "EUR",
    "%": "percent",
}


class UnitError(ValueError):
    """A quantity that cannot be understood, with the reason."""


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[Any]:
    """The one registry of units of this process."""
    import pint

    units: pint.UnitRegistry[Any] = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    for currency in CURRENCIES:
        # Each currency is a dimension of its own: labctl knows no exchange rates.
        units.define(f"{currency} = [money_{currency}]")
    return units


def quantity(text: Any, unit: str, *, difference: bool = False) -> float:
    """The number that `text` means in `unit`.

    Parameters
    ----------
    text
        Number and unit as one string. A bare number is refused, unless `unit` is empty.
    difference
        Whether this is a difference of temperatures (``"1 K"``), not a temperature.

    Raises
    ------
    UnitError
        Not a number, not finite, no unit, an unknown unit, or a unit of another kind.
    """
    value, written = split(text, unit)
    if not unit:
        if written:
            raise UnitError(f"{text!r} has the unit {written!r}; a plain number is expected here")
        return value
    if not written:
        raise UnitError(f"{text!r} has no unit; write for example {example(value, unit)!r}")
    return convert(value, written, unit, text, difference=difference)


def money(text: Any, per: str = "") -> float:
    """The euros that `text` means, for each `per` where that is given.

    Raises
    ------
    UnitError
        Not a price, or one in another currency, which nothing could be added to.
    """
    unit = f"{CURRENCY}/{per}" if per else CURRENCY
    _, written = split(text, unit)
    if OTHER_MONEY.search(written.split("/")[0]):
        raise UnitError(f"{text!r} is not in {unit}; write it in {CURRENCY}: labctl knows no exchange rates")
    return quantity(text, unit)


def split(text: Any, unit: str) -> tuple[float, str]:
    """Number and unit of a quantity as it was typed."""
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise UnitError(f"{text!r} is no quantity; write for example {example(1, unit)!r}")
    if not isinstance(text, str):
        value, written = float(text), ""
    else:
        match = QUANTITY.fullmatch(text[:LONGEST]) if len(text) <= LONGEST else None
        if match is None:
            raise UnitError(f"{text[:LONGEST]!r} does not begin with a number; write for example {example(1, unit)!r}")
        value, written = float(match.group(1)), match.group(2)
    if not math.isfinite(value):
        raise UnitError(f"{text!r} is not a finite number")
    return value, written


def convert(value: float, written: str, unit: str, text: Any, *, difference: bool = False) -> float:
    """A number from one unit into another of the same kind."""
    import pint
    import pint.errors

    units, written, unit = registry(), spelled(written), spelled(unit)
    if re.search(r"[^\w\s*/^().·\-]", written) or "__" in written:
        raise UnitError(f"{text!r}: {written!r} is not a unit")
    try:
        here = units.Quantity(value, units.Unit(written))
        if difference and written in TEMPERATURES and units.Unit(unit).is_compatible_with("kelvin"):
            here = units.Quantity(value, "delta_degF" if written == "degF" else "delta_degC")
            unit = "delta_degC"
        found = float(here.to(unit).magnitude)
    except pint.errors.DimensionalityError:
        raise UnitError(
            f"{text!r} is not in {unit} or a unit of its kind; write for example {example(value, unit)!r}"
        ) from None
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError):
        raise UnitError(
            f"{text!r}: {written!r} is not a known unit; write for example {example(value, unit)!r}"
        ) from None
    if not math.isfinite(found):
        raise UnitError(f"{text!r} is not a finite number of {unit}")
    return float(f"{found:.12g}")  # 0.1 degC, not 0.10000000000002274


def spelled(written: str) -> str:
    """A unit as pint reads it: ``S cm-1`` and ``S cm⁻¹`` are ``S cm^-1``."""
    return SPELLINGS.get(written) or POWER.sub(r"\1^\2", written.translate(SUPERSCRIPTS))


def example(value: float, unit: str) -> str:
    """How the quantity should be written."""
    return f"{value:g} {unit}".strip()


def convertible(one: str, other: str) -> bool:
    """Whether values in one unit can be told in the other."""
    if one == other or not one or not other:
        return one == other
    try:
        convert(1.0, one, other, one)
    except UnitError:
        return False
    return True


def known_unit(unit: str) -> str:
    """The unit itself, if it is one. Raises UnitError."""
    if unit:
        try:
            convert(1.0, unit, unit, unit)
        except UnitError:
            raise UnitError(f"{unit!r} is not a known unit") from None
    return unit


def is_unit(text: str) -> bool:
    """Whether a text in brackets behind a name is a unit, not a remark."""
    try:
        known_unit(text)
    except UnitError:
        return False
    return True


def unit_in(remark: str) -> str:
    """The unit that stands in a header's brackets, alone or before a condition (``S/cm, 25 °C``); "" if there is none."""
    before = CONDITION.fullmatch(remark)
    return next((u for u in (remark, before.group(1) if before else "") if u and is_unit(u)), "")


@lru_cache(maxsize=256)
def conversion(written: str, unit: str) -> tuple[float, float]:
    """Offset and factor that take a number from one unit to another: ``offset + factor * number``.

    Raises
    ------
    UnitError
        One of them is no unit, or they are of different kinds.
    """
    if spelled(written) == spelled(unit):
        return 0.0, 1.0
    import pint
    import pint.errors

    known_unit(written)
    units, name = registry(), spelled(written)
    try:
        zero, one = (
            float(units.Quantity(x, units.Unit(name)).to(spelled(unit) or "dimensionless").magnitude)
            for x in (0.0, 1.0)
        )
    except pint.errors.DimensionalityError:
        raise UnitError(f"{written} cannot be converted to {unit or 'a plain number'}") from None
    return (0.0, one) if zero == 0 else (zero, one - zero)
