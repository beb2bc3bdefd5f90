"""Candidates of one space as rows of numbers: whole dispenser steps by component, then settings.

The exact candidate of `campaigns.candidate` is made only of the few that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.parameters import CategoricalParameter, IntegerParameter
from campaigns.space import Space

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Table:
    """Candidates as rows: whole steps by component, and settings (a choice by its index)."""

    counts: Array
    settings: Array

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self, index: Any) -> Table:
        """Some of them."""
        return Table(self.counts[index], self.settings[index])

    @cached_property
    def keys(self) -> list[bytes]:
        """What makes two rows the same candidate."""
        both = np.ascontiguousarray(np.hstack([self.counts, self.settings]).astype(float) + 0.0)
        return [row.tobytes() for row in both]


def joined(tables: Iterable[Table]) -> Table:
    """All rows of several tables."""
    some = list(tables)
    return Table(np.vstack([t.counts for t in some]), np.vstack([t.settings for t in some]))


def distinct(table: Table) -> Table:
    """Each candidate once, in order."""
    first: dict[bytes, int] = {}
    for i, key in enumerate(table.keys):
        first.setdefault(key, i)
    return table if len(first) == len(table) else table.rows(list(first.values()))


class Rows:
    """To and from the candidates of one space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.composition = space.composition
        self.steps = self.composition.steps if self.composition else 1
        self.names = self.composition.names if self.composition else ()
        self._known = set(self.names)

    def row(self, candidate: Candidate) -> list[float]:
        """Steps of each component, then settings."""
        counts = [round(float(candidate.fractions.get(n, 0)) * self.steps, 6) for n in self.names]
        return [*counts, *(self._code(p, candidate.process[p.name]) for p in self.space.process)]

    def exact(self, candidate: Candidate) -> bool:
        """Whether its row says all about it: its shares lie on the grid, its components and settings are the space's."""
        shares = candidate.fractions
        on_grid = all(self.steps % share.denominator == 0 for share in shares.values()) and shares.keys() <= self._known
        told = {p.name: self._setting(p, self._code(p, candidate.process[p.name])) for p in self.space.process}
        return on_grid and told == candidate.process

    def key(self, candidate: Candidate) -> bytes:
        """What makes it the same candidate as another: its row as `Table.keys` has it."""
        return (np.array(self.row(candidate), dtype=float) + 0.0).tobytes()

    def table(self, candidates: Sequence[Candidate]) -> Table:
        """Candidates as rows."""
        width = len(self.names) + len(self.space.process)
        rows = np.array([self.row(c) for c in candidates], dtype=float).reshape(len(candidates), width) + 0.0
        return Table(*np.split(rows, [len(self.names)], axis=1))

    def raw(self, table: Table) -> Array:
        """Fractions and settings as one row each: what a model is told."""
        return np.hstack([table.counts / self.steps, table.settings])

    def candidate(self, table: Table, row: int) -> Candidate:
        """One row as a candidate."""
        counts = [int(n) for n in table.counts[row]]
        fractions = self.composition.fractions(counts) if self.composition else {}
        settings = zip(self.space.process, table.settings[row], strict=True)
        return Candidate(fractions, {p.name: self._setting(p, float(v)) for p, v in settings})

    def _code(self, parameter: Any, value: Any) -> float:
        return float(parameter.choices.index(value)) if isinstance(parameter, CategoricalParameter) else float(value)

    def _setting(self, parameter: Any, code: float) -> Any:
        if isinstance(parameter, CategoricalParameter):
            return parameter.choices[int(code)]
        return int(code) if isinstance(parameter, IntegerParameter) else code
