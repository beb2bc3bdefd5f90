"""A composition and its process settings: what an experiment sets out to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Setting = float | int | str  #: value of one process parameter, in the unit its parameter states

NOTHING: dict[str, Any] = {}  #: shared by all that have none, as a long history holds many; never written to


def exact(share: Any) -> Fraction:
    """A share as a fraction; one that is exact already is shared, as a long history holds many of the same."""
    return share if isinstance(share, Fraction) else Fraction(share)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A composition on the dispenser's grid, with process settings.

    Parameters
    ----------
    fractions
        Exact share of each component; sums to 1, or is empty when only process settings
        vary. Components that are absent may be left out: they are dropped here.
    process
        Value of each process parameter by name.
    """

    fractions: Mapping[str, Fraction] = field(default_factory=dict)
    process: Mapping[str, Setting] = field(default_factory=dict)
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        present = {name: exact(f) for name, f in self.fractions.items() if f != 0}
        if any(f < 0 for f in present.values()):
            raise ValueError(f"a share below 0 in {present}")
        if present and sum(present.values()) != 1:
            raise ValueError(f"shares sum to {float(sum(present.values()))}, not 1")
        object.__setattr__(self, "fractions", dict(sorted(present.items())))
        object.__setattr__(self, "process", dict(sorted(self.process.items())) or NOTHING)
        object.__setattr__(self, "_hash", hash(self.key))  # once: optimizers look through whole histories

    @property
    def key(self) -> tuple[tuple[tuple[str, Fraction], ...], tuple[tuple[str, Setting], ...]]:
        """What makes two candidates the same."""
        return tuple(self.fractions.items()), tuple(self.process.items())

    def __hash__(self) -> int:
        return self._hash
