"""How good a measured material is by what its campaign wanted: for lists, pages and reports.

Reads the JSON of a campaign file and plain numbers. What broke a limit, or did not have it
measured, is neither best nor on the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint


@dataclass(frozen=True)
class Aim:
    """One property that is wanted high or low."""

    quantity: str
    unit: str
    direction: str

    def worth(self, value: float) -> float:
        """The more the better."""
        return value if self.direction == "maximize" else -value


@dataclass(frozen=True)
class Limit:
    """What a property must keep."""

    quantity: str
    unit: str
    low: float | None
    high: float | None

    def broken_by(self, value: float) -> str:
        """In words; empty when it is kept."""
        if self.low is not None and value < self.low:
            return f"{self.quantity} {value:.4g} below {self.low:g} {self.unit}".rstrip()
        if self.high is not None and value > self.high:
            return f"{self.quantity} {value:.4g} above {self.high:g} {self.unit}".rstrip()
        return ""

    @property
    def words(self) -> str:
        """As people say it."""
        ends = [f">= {self.low:g}"] if self.low is not None else []
        ends += [f"<= {self.high:g}"] if self.high is not None else []
        return f"{self.quantity} {' and '.join(ends)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Merit:
    """What a campaign wants. `aims` begins with the objective that decides."""

    goal: str
    target: float | None
    band: tuple[float, float] | None
    aims: tuple[Aim, ...]
    limits: tuple[Limit, ...]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Merit:
        """From the JSON of a campaign file; also of one from before there were goals and limits."""
        o = spec["objective"]
        band = o.get("band")
        return cls(
            goal=o.get("goal") or "best",
            target=o.get("target"),
            band=(band[0], band[1]) if band else None,
            aims=tuple(
                Aim(a["quantity"], a["unit"], a.get("direction") or "maximize")
                for a in (o, *(spec.get("objectives") or ()))
            ),
            limits=tuple(Limit(x["quantity"], x["unit"], x.get("min"), x.get("max")) for x in spec.get("limits") or ()),
        )

    @property
    def quantities(self) -> tuple[str, ...]:
        """Every property that is wanted, the deciding one first."""
        return tuple(dict.fromkeys([*(a.quantity for a in self.aims), *(x.quantity for x in self.limits)]))

    @property
    def units(self) -> dict[str, str]:
        """Unit of each."""
        return {x.quantity: x.unit for x in self.limits} | {a.quantity: a.unit for a in self.aims}

    @property
    def aimed_at(self) -> str:
        """Target or band in words; empty where there is none."""
        if self.band is not None:
            return f"{self.band[0]:g} to {self.band[1]:g}"
        return f"{self.target:g}" if self.target is not None else ""

    @property
    def words(self) -> str:
        """What is wanted, in one phrase."""
        first = self.aims[0]
        if self.goal == "target":
            start = f"hit {first.quantity} = {self.aimed_at} {first.unit}".rstrip()
        else:
            start = {"many": "collect: ", "map": "map: "}.get(self.goal, "") + f"{first.direction} {first.quantity}"
        return " and ".join([start, *(f"{a.direction} {a.quantity}" for a in self.aims[1:])])

    def distance(self, value: float) -> float | None:
        """How far a value is from target or band, 0 inside the band; None where nothing is aimed at."""
        if self.goal != "target":
            return None
        if self.band is not None:
            return max(self.band[0] - value, value - self.band[1], 0.0)
        return None if self.target is None else abs(value - self.target)

    def worth(self, value: float) -> float:
        """Of the deciding property alone: the more the better."""
        away = self.distance(value)
        return self.aims[0].worth(value) if away is None else -away

    def broken(self, values: Mapping[str, float]) -> list[str]:
        """The limits that these measured values break, in words."""
        found = [x.broken_by(values[x.quantity]) for x in self.limits if x.quantity in values]
        return [words for words in found if words]

    def counts(self, values: Mapping[str, float]) -> bool:
        """Whether it may be called best: the deciding property measured, all limits measured and kept."""
        measured = all(name in values for name in (self.aims[0].quantity, *(x.quantity for x in self.limits)))
        return measured and not self.broken(values)

    def front(self, rows: Sequence[Mapping[str, float]]) -> list[bool]:
        """Of each row of measured values, whether it is on the Pareto front: no other is better in all.

        With one objective nothing is.
        """
        if len(self.aims) < 2:
            return [False] * len(rows)
        points = [self._point(row) for row in rows]
        best: list[tuple[float, ...]] = []
        for point in sorted({p for p in points if p is not None}, reverse=True):  # none is beaten by a later one
            if not any(dominates(other, point) for other in best):
                best.append(point)
        return [p in best for p in points]

    def _point(self, values: Mapping[str, float]) -> tuple[float, ...] | None:
        if not self.counts(values) or any(a.quantity not in values for a in self.aims):
            return None
        first, *others = self.aims
        return (self.worth(values[first.quantity]), *(a.worth(values[a.quantity]) for a in others))


def in_unit(value: float, u: float, unit: str, wanted: str) -> tuple[float, float]:
    """A measured value and its uncertainty in the unit that the campaign file states; as it is where that cannot be."""
    if unit in (wanted, "") or not wanted:
        return value, u
    import pint  # only when a file and an instrument state different units: it takes long

    try:
        here, above = (float(registry().Quantity(v, unit).to(wanted).magnitude) for v in (value, value + u))
    except (pint.errors.PintError, AttributeError):
        return value, u
    return here, abs(above - here)


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[Any]:
    """The units of measured values, made once: that takes the better part of a second."""
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is at least as good in all and better in some."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
