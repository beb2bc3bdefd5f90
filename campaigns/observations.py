"""What a campaign found, held as columns: a long history of objects would fill the memory of the worker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, overload

import numpy as np

from campaigns.candidate import NOTHING, Candidate
from campaigns.optimizer import Measured, Objective, Observation, OutcomeLimit
from campaigns.rows import Rows, Table
from campaigns.space import Space

Array = np.ndarray[Any, Any]

ROOM = 256  #: rows for which there is room at first, and by which it grows
NUMBER, BLOCK, FAILED, ODD, FIRST = range(5)  #: columns before those of the candidate


class Observations(Sequence[Observation]):
    """Observations of one space in the order of their numbers, with the columns that models are told.

    An `Observation` is made anew of each row that is looked at. Where columns cannot tell it exactly (a
    composition beside the grid, a component or property that the campaign does not know), it is kept as it is.

    Parameters
    ----------
    space
        Whose candidates they are: columns of steps, settings and weighed fractions.
    objective
        Whose quantities have columns of value and standard uncertainty.
    """

    def __init__(self, space: Space, objective: Objective) -> None:
        self.rows, self.objective = Rows(space), objective
        self.labels: list[str] = []  #: of blocks
        self.times: dict[bytes, int] = {}  #: how often each candidate was made, by `Rows.key`
        self._names, self._further = set(self.rows.names), set(objective.quantities) - {objective.quantity}
        self._odd: list[Observation] = []
        k, p = len(self.rows.names), len(space.process)
        self._counts, self._settings = slice(FIRST, FIRST + k), slice(FIRST + k, FIRST + k + p)
        self._actual = slice(FIRST + k + p, FIRST + k + p + k)
        self._values = {q: self._actual.stop + 2 * i for i, q in enumerate(objective.quantities)}
        self._cells = np.empty((ROOM, self._actual.stop + 2 * len(self._values)))
        self._size = 0

    @classmethod
    def of(cls, space: Space, objective: Objective, history: Iterable[Observation]) -> Observations:
        """Any history, in columns; one that is so already is handed back."""
        if isinstance(history, cls) and history.tells_of(space, objective):
            return history
        found = cls(space, objective)
        for observation in sorted(history, key=lambda o: o.number):
            found.append(observation)
        return found

    def tells_of(self, space: Space, objective: Objective) -> bool:
        """Whether its columns are those of this space and objective."""
        own = self.rows.space
        same = own is space or (own.composition, own.process) == (space.composition, space.process)
        return same and (self.objective is objective or self.objective == objective)

    # -- one by one -----------------------------------------------------------------------

    def append(self, observation: Observation) -> None:
        """Put it at its place: late results stand before those of later numbers."""
        if self._size == len(self._cells):
            self._cells = np.vstack([self._cells, np.empty((ROOM, self._cells.shape[1]))])
        late = self._size and observation.number < self.numbers[-1]
        at = int(np.searchsorted(self.numbers, observation.number, side="right")) if late else self._size
        self._cells[at + 1 : self._size + 1] = self._cells[at : self._size]
        self._cells[at] = self._row(observation)
        self._size += 1
        key = (self._cells[at, FIRST : self._settings.stop] + 0.0).tobytes()
        self.times[key] = self.times.get(key, 0) + 1

    def _row(self, o: Observation) -> list[float]:
        odd = -1
        if not self._tells(o):
            odd = len(self._odd)
            self._odd.append(o)
        told = (o.measured(quantity, self.objective.quantity) for quantity in self._values)
        return [
            float(o.number),
            -1.0 if o.block is None else float(self._label(o.block)),
            float(o.failed),
            float(odd),
            *self.rows.row(o.candidate),
            *(o.actual.get(name, math.nan) for name in self.rows.names),
            *(cell for m in told for cell in cells_of(m)),
        ]

    def _label(self, block: str) -> int:
        if block not in self.labels:
            self.labels.append(block)
        return self.labels.index(block)

    def _tells(self, o: Observation) -> bool:
        """Whether the columns say all that it says."""
        return (
            self.rows.exact(o.candidate)
            and o.actual.keys() <= self._names
            and o.others.keys() <= self._further
            and (o.u is None or o.value is not None)
        )

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Observation]: ...
    def __getitem__(self, index: int | slice) -> Observation | list[Observation]:
        if isinstance(index, slice):
            return [self._made(row) for row in range(self._size)[index]]
        return self._made(range(self._size)[index])

    def __iter__(self) -> Iterator[Observation]:
        return map(self._made, range(self._size))

    def _made(self, row: int) -> Observation:
        cells = self._cells[row]
        if cells[ODD] >= 0:
            return self._odd[int(cells[ODD])]
        found = {q: m for q, at in self._values.items() if (m := measured_of(*cells[at : at + 2].tolist())) is not None}
        deciding = found.pop(self.objective.quantity, None)
        actual = zip(self.rows.names, cells[self._actual].tolist(), strict=True)
        return Observation(
            number=int(cells[NUMBER]),
            candidate=self.candidate(row),
            value=deciding.value if deciding else None,
            u=deciding.u if deciding else None,
            actual={name: share for name, share in actual if not math.isnan(share)} or NOTHING,
            others=found or NOTHING,
            block=None if cells[BLOCK] < 0 else self.labels[int(cells[BLOCK])],
        )

    def candidate(self, row: int) -> Candidate:
        """What was asked for in one row."""
        odd = int(self._cells[row, ODD])
        return self._odd[odd].candidate if odd >= 0 else self.rows.candidate(self.table([row]), 0)

    def numbered(self, number: int) -> Observation | None:
        """The one of that number."""
        at = int(np.searchsorted(self.numbers, number))
        return self._made(at) if at < self._size and self.numbers[at] == number else None

    def only(self, numbers: Iterable[int]) -> Observations:
        """Those of these numbers."""
        found = Observations(self.rows.space, self.objective)
        found._cells = self._cells[: self._size][np.isin(self.numbers, list(numbers))]
        found._size, found.labels, found._odd = len(found._cells), self.labels, self._odd
        found.times = dict(Counter(found.table().keys))
        return found

    # -- columns --------------------------------------------------------------------------

    def _column(self, at: int | slice) -> Array:
        column: Array = self._cells[: self._size, at]
        return column

    @property
    def numbers(self) -> Array:
        """Places in the campaign, ascending."""
        return self._column(NUMBER)

    @property
    def failed(self) -> Array:
        """Of which nothing could be measured."""
        failed: Array = self._column(FAILED) > 0
        return failed

    def values(self, quantity: str) -> Array:
        """Values of one property; NaN where it was not measured."""
        return self._column(self._values[quantity])

    def u(self, quantity: str) -> Array:
        """Standard uncertainties of one property; NaN where none was stated."""
        return self._column(self._values[quantity] + 1)

    def measured(self, quantity: str) -> Array:
        """Rows in which one property was measured."""
        return np.flatnonzero(~np.isnan(self.values(quantity)))

    def blocks(self, rows: Array) -> Array:
        """The block of each of some rows, counted in the order of their labels; -1 for none, and where there is one only."""
        codes = self._column(BLOCK)[rows].astype(int)
        present = sorted(set(codes[codes >= 0].tolist()), key=lambda code: self.labels[code])
        place = np.full(len(self.labels) + 1, -1)
        if len(present) > 1:
            place[present] = np.arange(len(present))
        found: Array = place[codes]
        return found

    def table(self, rows: Any = slice(None)) -> Table:
        """What was asked for in some rows."""
        return Table(self._column(self._counts)[rows], self._column(self._settings)[rows])

    def made(self, rows: Any = slice(None)) -> Array:
        """Where some rows really were: the weighed composition where it is known."""
        raw = self.rows.raw(self.table(rows))
        actual = self._column(self._actual)[rows]
        weighed = ~np.isnan(actual).all(axis=1) if actual.shape[1] else np.zeros(len(raw), dtype=bool)
        raw[weighed, : actual.shape[1]] = np.where(np.isnan(actual[weighed]), 0.0, actual[weighed])
        return raw

    def keep(self, limits: Iterable[OutcomeLimit]) -> Array:
        """Which rows break none of some limits: what was not measured breaks none."""
        kept = np.ones(self._size, dtype=bool)
        for limit in limits:
            values = self.values(limit.quantity)
            low = -math.inf if limit.low is None else limit.low
            high = math.inf if limit.high is None else limit.high
            kept &= ~((values < low) | (values > high))
        return kept


class Closed:
    """Keys of candidates that were made, or are under way."""

    def __init__(self, made: Mapping[bytes, int], under_way: Iterable[bytes]) -> None:
        self.made, self.under_way = made, set(under_way) - made.keys()

    def add(self, key: bytes) -> None:
        """One more is under way."""
        if key not in self.made:
            self.under_way.add(key)

    def __contains__(self, key: bytes) -> bool:
        return key in self.made or key in self.under_way

    def __iter__(self) -> Iterator[bytes]:
        return chain(self.made, self.under_way)

    def __len__(self) -> int:
        return len(self.made) + len(self.under_way)


def cells_of(m: Measured | None) -> tuple[float, float]:
    """Value and uncertainty, NaN for what is not known."""
    return (math.nan, math.nan) if m is None else (m.value, math.nan if m.u is None else m.u)


def measured_of(value: float, u: float) -> Measured | None:
    """The other way."""
    return None if math.isnan(value) else Measured(value, None if math.isnan(u) else u)
