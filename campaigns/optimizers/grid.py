"""Many candidates at once, as arrays: whole steps of the dispenser and process settings.

The exact candidate of `campaigns.candidate` is made only of the few that are proposed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.drawing import allowed
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

UNIFORM_SD = 12**-0.5  #: of a variable that is uniform between 0 and 1
REFERENCE = 1024  #: candidates from which the spread of each column is taken


def generator(*of: object) -> Any:
    """A numpy generator that is the same in every process for the same words."""
    import numpy as np

    digest = hashlib.sha256("/".join(str(o) for o in of).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


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
        import numpy as np

        both = np.ascontiguousarray(np.hstack([self.counts, self.settings]).astype(float) + 0.0)
        return [row.tobytes() for row in both]


def joined(tables: Iterable[Table]) -> Table:
    """All rows of several tables, each candidate once, in order."""
    import numpy as np

    some = list(tables)
    table = Table(np.vstack([t.counts for t in some]), np.vstack([t.settings for t in some]))
    first = dict.fromkeys(table.keys)
    seen: dict[bytes, int] = {}
    for i, key in enumerate(table.keys):
        seen.setdefault(key, i)
    return table.rows([seen[key] for key in first])


class Grid:
    """The candidates of one space: drawing, moving, and their points.

    Points are the coordinates in which composition maps are smooth: square roots of the
    fractions (Hellinger coordinates), because properties change fastest where a component
    begins to appear; settings from 0 to 1; one column per choice. Every column is scaled to
    the spread of a uniform variable.
    """

    def __init__(self, space: Space) -> None:
        import numpy as np

        self.space = space
        self.composition = space.composition
        self.steps = self.composition.steps if self.composition else 1
        self.names = self.composition.names if self.composition else ()
        drawn = self.table(space.pool[:REFERENCE]) if space.pool else self.draw(generator("spread"), REFERENCE)
        raw = self._raw(drawn.counts / self.steps, drawn.settings)
        spread = raw.std(axis=0)
        self.scale = np.where(spread > 1e-9, UNIFORM_SD / np.maximum(spread, 1e-9), 1.0)

    # -- candidates and rows --------------------------------------------------------------

    def table(self, candidates: Sequence[Candidate]) -> Table:
        """Candidates as rows."""
        import numpy as np

        counts = np.array([[float(c.fractions.get(n, 0)) * self.steps for n in self.names] for c in candidates])
        settings = np.array([[self._code(p, c.process[p.name]) for p in self.space.process] for c in candidates])
        size = len(candidates)
        return Table(
            np.round(counts.reshape(size, len(self.names)), 6), settings.reshape(size, len(self.space.process))
        )

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

    # -- points ---------------------------------------------------------------------------

    def points(self, table: Table) -> Array:
        """One point per row."""
        return self._raw(table.counts / self.steps, table.settings) * self.scale

    def points_of(self, fractions: Array, table: Table) -> Array:
        """Points of what was really made, with the settings of `table`."""
        return self._raw(fractions, table.settings) * self.scale

    def _raw(self, fractions: Array, settings: Array) -> Array:
        import numpy as np

        columns = [np.sqrt(np.maximum(fractions, 0.0))]
        for i, parameter in enumerate(self.space.process):
            if isinstance(parameter, CategoricalParameter):
                columns.append((settings[:, [i]] == np.arange(len(parameter.choices))).astype(float))
            else:
                columns.append((settings[:, [i]] - parameter.low) / (parameter.high - parameter.low))
        return np.hstack(columns)

    # -- drawing --------------------------------------------------------------------------

    def draw(self, rng: Any, size: int) -> Table:
        """Feasible candidates at random; fewer where the space is hard to draw from."""
        import numpy as np

        counts = self.composition.drawing.draw(rng, size) if self.composition else np.zeros((size, 0))
        shares = rng.random((len(counts), len(self.space.process)))
        settings = [
            [self._code(p, p.at(float(s))) for p, s in zip(self.space.process, row, strict=True)] for row in shares
        ]
        return Table(counts, np.array(settings, dtype=float).reshape(len(counts), len(self.space.process)))

    def all(self, limit: int) -> Table | None:
        """Every candidate, or None when there are more than `limit`."""
        whole = self.space.all(limit)
        return None if whole is None else self.table(whole)

    # -- moving ---------------------------------------------------------------------------

    def around(self, table: Table, row: int, rng: Any, sizes: Sequence[int]) -> Table:
        """Feasible candidates a move away from one row."""
        import numpy as np

        counts, settings = table.counts[row], table.settings[row]
        tables = []
        if self.composition is not None:
            moved = self._moved(counts, sizes)
            tables.append(Table(moved, np.repeat(settings[None, :], len(moved), axis=0)))
        for i, parameter in enumerate(self.space.process):
            values = self._near(parameter, float(settings[i]), rng)
            changed = np.repeat(settings[None, :], len(values), axis=0)
            changed[:, i] = values
            tables.append(Table(np.repeat(counts[None, :], len(values), axis=0), changed))
        return joined(tables)

    def _moved(self, counts: Array, sizes: Sequence[int]) -> Array:
        """Some steps from one component to another."""
        import numpy as np

        assert self.composition is not None
        k = len(counts)
        moves = [(i, j, by) for by in sizes for i in range(k) for j in range(k) if i != j]
        change = np.zeros((len(moves), k))
        for row, (i, j, by) in enumerate(moves):
            change[row, i], change[row, j] = -by, by
        moved = counts + change
        result: Array = moved[allowed(self.composition, moved)]
        return result

    def _near(self, parameter: Any, code: float, rng: Any) -> list[float]:
        """Settings near this one, or the other choices."""
        if isinstance(parameter, CategoricalParameter):
            return [float(i) for i in range(len(parameter.choices)) if i != code]
        if isinstance(parameter, FloatParameter):
            share, far = parameter.share(code), float(rng.random()) * 0.3
            shares = [share + sign * size for size in (0.01, 0.05, far) for sign in (-1, 1)]
            near = {parameter.at(min(1.0, max(0.0, s))) for s in shares}
        else:
            near = {float(min(parameter.high, max(parameter.low, code + by))) for by in (-3, -1, 1, 3)}
        return sorted(near - {code})
