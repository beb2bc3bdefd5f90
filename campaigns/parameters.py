"""Process parameters: settings beside the composition, on a scale, counted, or chosen from names."""

from __future__ import annotations

import math
from dataclasses import dataclass

from campaigns.candidate import Setting
from campaigns.errors import SpaceError

MOST_STEPS = 10**9  #: of a setting between its ends; with more a step is lost in rounding
LISTED = 100_000  #: settings that are written out one by one


@dataclass(frozen=True, kw_only=True)
class FloatParameter:
    """A process setting on a continuous scale, or in steps."""

    name: str
    low: float
    high: float
    unit: str = ""
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SpaceError(f"{self.name}: min {self.low:g} must be below max {self.high:g}")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise SpaceError(f"{self.name}: step {self.step:g} must be above 0 and fit between min and max")
        if self.step is not None and self.high - self.low > MOST_STEPS * self.step:
            raise SpaceError(
                f"{self.name}: step {self.step:g} is too fine: at most {MOST_STEPS} fit between min and max"
            )

    @property
    def digits(self) -> int:
        """Decimals that settings are rounded to: twelve, more where nine digits of a narrow range need them."""
        return max(12, 9 - math.floor(math.log10(min(1.0, self.high - self.low))))

    @property
    def slack(self) -> float:
        """By how much a setting may miss its place: a billionth of the range, never less than what a number can tell."""
        return max(1e-9 * (self.high - self.low), 4 * math.ulp(max(abs(self.low), abs(self.high))))

    def at(self, share: float) -> float:
        """The setting at this share of the way from low to high, on its grid."""
        value = float(self.low + share * (self.high - self.low))  # numpy rounds in its own way
        if self.step is None:
            return round(value, self.digits)
        most = math.floor((self.high - self.low) / self.step + 1e-9)
        return round(self.low + self.step * min(most, round((value - self.low) / self.step)), self.digits)

    def share(self, value: Setting) -> float:
        """Where a setting lies between low and high, 0 to 1."""
        return (float(value) - self.low) / (self.high - self.low)

    def problem(self, value: Setting) -> str | None:
        """Why the setting is not allowed."""
        if isinstance(value, str) or not self.low - self.slack <= value <= self.high + self.slack:
            return f"{self.name} = {value} is outside {self.low:g} to {self.high:g} {self.unit}".rstrip()
        if abs(self.at(self.share(value)) - value) > self.slack:
            return f"{self.name} = {value} is not on its grid of {self.step:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class IntegerParameter:
    """A process setting that counts."""

    name: str
    low: int
    high: int
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise SpaceError(f"{self.name}: min {self.low} must be below max {self.high}")

    def at(self, share: float) -> int:
        """The setting at this share of the way."""
        return min(self.high, self.low + int(share * (self.high - self.low + 1)))

    def share(self, value: Setting) -> float:
        """Where a setting lies, 0 to 1."""
        return (float(value) - self.low) / (self.high - self.low)

    def problem(self, value: Setting) -> str | None:
        """Why the setting is not allowed."""
        if isinstance(value, str) or value != int(value) or not self.low <= value <= self.high:
            return f"{self.name} = {value} is not a whole number from {self.low} to {self.high}"
        return None


@dataclass(frozen=True, kw_only=True)
class CategoricalParameter:
    """A process setting that is one of a few named choices."""

    name: str
    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.choices)) < 2:
            raise SpaceError(f"{self.name}: at least two different choices are needed, there are {list(self.choices)}")

    def at(self, share: float) -> str:
        """The choice at this share of the list."""
        return self.choices[min(len(self.choices) - 1, int(share * len(self.choices)))]

    def problem(self, value: Setting) -> str | None:
        """Why the setting is not allowed."""
        return None if value in self.choices else f"{self.name} = {value!r} is not one of {', '.join(self.choices)}"


Parameter = FloatParameter | IntegerParameter | CategoricalParameter


def values(parameter: Parameter) -> list[Setting] | None:
    """All settings of a parameter; None for a continuous one, and where there are too many to list."""
    if isinstance(parameter, CategoricalParameter):
        return list(parameter.choices)
    if isinstance(parameter, IntegerParameter):
        return list(range(parameter.low, parameter.high + 1)) if parameter.high - parameter.low < LISTED else None
    if parameter.step is None:
        return None
    count = math.floor((parameter.high - parameter.low) / parameter.step + 1e-9)
    if count >= LISTED:
        return None
    return [round(parameter.low + i * parameter.step, parameter.digits) for i in range(count + 1)]
