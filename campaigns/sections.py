"""What all tables of a campaign file have in common: how they are checked, and how quantities are read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from campaigns.units import UnitError, money, quantity

NAME = r"^[A-Za-z][A-Za-z0-9_.+-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


def amount(unit: str) -> Any:
    """A quantity with a unit; numbers that come back from JSON are in that unit already."""
    return BeforeValidator(lambda value, info: value if stored(value, info) else quantity(value, unit))


def stored(value: Any, info: ValidationInfo, kind: Any = int | float) -> bool:
    """Whether this is our own JSON, where quantities are plain numbers."""
    return bool(info.context and info.context.get("stored")) and isinstance(value, kind)


class Misread(str):
    """A quantity as it was typed, which its table could not read; the key that it belongs to says why."""

    reason: str


def quantity_or_fault(text: Any, unit: str, *, difference: bool) -> Any:
    """The number that a text means in a unit; where it means none the text, so that its key tells it, beside all other faults."""
    try:
        return quantity(text, unit, difference=difference)
    except UnitError as error:
        misread = Misread(text)
        misread.reason = str(error)
        return misread


def read_already(value: Any) -> Any:
    """A number that its table has read. Raises ValueError where the table could not."""
    if isinstance(value, Misread):
        raise ValueError(value.reason)
    return value


def in_unit(value: Any, info: ValidationInfo) -> Any:
    """A quantity in the unit that the same table states before it."""
    return value if value is None or stored(value, info) else quantity(value, info.data.get("unit", ""))


BIGGEST = 2**53 - 1  #: whole numbers beyond are not the same in every JSON reader
MOST = 1_000_000  #: of anything that a campaign counts; what computers keep exactly ends far above
Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Number = Annotated[float, BeforeValidator(read_already)]  #: read by its table, which knows the unit
Seconds = Annotated[float, amount("s"), Field(gt=0)]
Milligrams = Annotated[float, amount("mg"), Field(gt=0)]
Euros = Annotated[
    float, BeforeValidator(lambda value, info: value if stored(value, info) else money(value)), Field(gt=0)
]
