"""A finite list of candidates, kept as arrays: a million of them take less than 100 MB.

The exact candidate of `campaigns.candidate` is made only of those that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from campaigns.candidate import Candidate, Setting
from campaigns.parameters import CategoricalParameter, IntegerParameter, Parameter

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

KEPT = 20_000  #: candidates up to which those that were made are kept
MIX = 0x9E3779B97F4A7C15  #: odd, bits well spread (Knuth's golden ratio)


class Pool(Sequence[Candidate]):
    """See module.

    Parameters
    ----------
    components
        Names of the components, in the order of the columns of `counts`.
    steps
        Dispenser steps in the whole.
    parameters
        Process parameters, in the order of the columns of `settings`.
    counts
        Whole dispenser steps as floats; one row per candidate, one column per component.
    settings
        One column per process parameter: its value, or the index of the choice.
    """

    def __init__(
        self, components: Sequence[str], steps: int, parameters: Sequence[Parameter], counts: Array, settings: Array
    ) -> None:
        self.components, self.steps, self.parameters = tuple(components), steps, tuple(parameters)
        self.counts, self.settings = counts, settings
        self._kept: dict[int, Candidate] = {}

    @classmethod
    def of(
        cls, candidates: Iterable[Candidate], components: Sequence[str], steps: int, parameters: Sequence[Parameter]
    ) -> Pool:
        """From candidates; a setting that is missing or no choice becomes NaN."""
        import numpy as np

        some = list(candidates)
        counts = [[float(c.fractions.get(n, 0) * steps) for n in components] for c in some]
        settings = [[code_of(p, c.process.get(p.name)) for p in parameters] for c in some]
        return cls(
            components,
            steps,
            parameters,
            np.array(counts, dtype=float).reshape(len(some), len(components)),
            np.array(settings, dtype=float).reshape(len(some), len(parameters)),
        )

    def __len__(self) -> int:
        return len(self.counts)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Pool: ...
    def __getitem__(self, index: int | slice) -> Candidate | Pool:
        if isinstance(index, slice):
            return self.rows(index)
        if len(self) > KEPT:
            return self._made(index)
        row = index % len(self) if -len(self) <= index < len(self) else index
        if row not in self._kept:
            self._kept[row] = self._made(row)
        return self._kept[row]

    def _made(self, index: int) -> Candidate:
        counts, settings = self.counts[index], self.settings[index]
        fractions = {n: Fraction(int(c), self.steps) for n, c in zip(self.components, counts, strict=True) if c}
        return Candidate(
            fractions, {p.name: setting_of(p, float(v)) for p, v in zip(self.parameters, settings, strict=True)}
        )

    def __iter__(self) -> Iterator[Candidate]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        import numpy as np

        return (
            isinstance(other, Pool)
            and (self.components, self.steps, self.parameters) == (other.components, other.steps, other.parameters)
            and np.array_equal(self.counts, other.counts)
            and np.array_equal(self.settings, other.settings)
        )

    def __hash__(self) -> int:
        return hash((self.components, self.steps, len(self), self.counts[:1].tobytes()))

    def __repr__(self) -> str:
        return f"Pool({len(self)} candidates)"

    def rows(self, index: Any) -> Pool:
        """Some of them, by slice, indices or mask."""
        return Pool(self.components, self.steps, self.parameters, self.counts[index], self.settings[index])

    # -- where a candidate stands ----------------------------------------------------------

    def index(self, candidate: Any, start: int = 0, stop: int | None = None) -> int:
        """Row of a candidate. Raises ValueError when it is none of these."""
        row = self._row(candidate) if isinstance(candidate, Candidate) else None
        if row is None or not start <= row < (len(self) if stop is None else stop):
            raise ValueError(f"{candidate!r} is not in the list")
        return row

    def __contains__(self, candidate: object) -> bool:
        return isinstance(candidate, Candidate) and self._row(candidate) is not None

    def _row(self, candidate: Candidate) -> int | None:
        import numpy as np

        if set(candidate.fractions) - set(self.components):
            return None
        one = Pool.of([candidate], self.components, self.steps, self.parameters)
        marks, order = self._marks
        wanted = marks_of(one)[0]
        at = int(np.searchsorted(marks, wanted))
        while at < len(marks) and marks[at] == wanted:
            row = int(order[at])
            same = np.array_equal(self.counts[row], one.counts[0]) and np.array_equal(
                self.settings[row], one.settings[0]
            )
            if same:
                return row
            at += 1
        return None

    @cached_property
    def _marks(self) -> tuple[Array, Array]:
        marks = marks_of(self)
        order = marks.argsort(kind="stable")
        return marks[order], order

    @cached_property
    def first(self) -> Array:
        """Mask of the rows that no earlier row equals."""
        import numpy as np

        first = np.ones(len(self), dtype=bool)
        marks, order = self._marks
        same = marks[1:] == marks[:-1]
        suspects = np.sort(order[np.append(same, False) | np.insert(same, 0, False)])
        if len(suspects):
            both = np.ascontiguousarray(np.hstack([self.counts[suspects], self.settings[suspects]]) + 0.0)
            kind = np.dtype((np.void, both.dtype.itemsize * both.shape[1]))
            first[suspects] = False
            first[suspects[np.unique(both.view(kind).ravel(), return_index=True)[1]]] = True
        return first

    # -- whether they may be ---------------------------------------------------------------

    def settings_allowed(self) -> Array:
        """Mask of the rows whose process settings are within their parameters' bounds and grids."""
        import numpy as np

        good = np.ones(len(self), dtype=bool)
        for parameter, codes in zip(self.parameters, self.settings.T, strict=True):
            good &= allowed_codes(parameter, codes)
        return good

    def extremes(self) -> Pool:
        """Rows with the smallest, smallest present and largest share of each component, and the ends of each setting."""
        import numpy as np

        rows: set[int] = set()
        for column in [*self.counts.T, *self.settings.T]:
            present = np.where(column > 0, column, np.inf)
            rows |= {int(column.argmin()), int(column.argmax()), int(present.argmin())}
        for parameter, codes in zip(self.parameters, self.settings.T, strict=True):
            if isinstance(parameter, CategoricalParameter):
                rows |= {int(i) for i in np.unique(codes, return_index=True)[1]}
        return self.rows(sorted(rows))


def code_of(parameter: Parameter, value: Setting | None) -> float:
    """A setting as a number: itself, or the index of the choice; NaN when it is none."""
    if isinstance(parameter, CategoricalParameter):
        return float(parameter.choices.index(value)) if value in parameter.choices else float("nan")
    return float(value) if isinstance(value, int | float) else float("nan")


def setting_of(parameter: Parameter, code: float) -> Setting:
    """The setting that a number stands for."""
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[int(code)]
    return int(code) if isinstance(parameter, IntegerParameter) and code == int(code) else code


def allowed_codes(parameter: Parameter, codes: Array) -> Array:
    """`Parameter.problem` for a whole column."""
    import numpy as np

    if isinstance(parameter, CategoricalParameter):
        return np.asarray((codes >= 0) & (codes < len(parameter.choices)) & (codes == np.floor(codes)))
    if isinstance(parameter, IntegerParameter):
        return np.asarray((codes == np.floor(codes)) & (codes >= parameter.low) & (codes <= parameter.high))
    good = (codes >= parameter.low - parameter.slack) & (codes <= parameter.high + parameter.slack)
    if parameter.step is not None:
        nearest = parameter.low + parameter.step * np.round((codes - parameter.low) / parameter.step)
        good &= np.abs(nearest - codes) <= parameter.slack
    return np.asarray(good)


def marks_of(pool: Pool) -> Array:
    """A 64-bit number per row, equal for equal rows."""
    import numpy as np

    marks = np.full(len(pool), MIX, dtype=np.uint64)
    for column in [*pool.counts.T, *pool.settings.T]:
        bits = np.ascontiguousarray(column + 0.0).view(np.uint64)
        marks = (marks ^ bits ^ (bits >> np.uint64(32))) * np.uint64(MIX)
        marks ^= marks >> np.uint64(29)
    return marks
