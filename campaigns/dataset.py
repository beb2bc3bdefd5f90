"""A table of candidates or results, as the campaign means it: fractions, settings, values, lines.

What is understood is said in `Dataset.notes`; what cannot be is refused with its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.layout import BLOCKS, QUANTITY, STATE, UNIT, VALUE, Layout, Wanted, find_columns
from campaigns.parameters import CategoricalParameter, IntegerParameter, Parameter
from campaigns.pool import code_of
from campaigns.shares import Findings, Shares
from campaigns.tables import LARGEST, MOST, Head, Rows, head_of, read_rows, shortened, stem_and_unit
from campaigns.toml_file import Fault, FileFaults
from campaigns.units import UnitError, conversion, unit_in

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DONE, PENDING, FAILED = "done", "pending", "failed"
STATES = (DONE, PENDING, FAILED)
LONG_ENOUGH, MISSPELT = (
    3,
    0.8,
)  #: letters of a name, and likeness, from which a column that is not used may be meant by it


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Rows of a table. Arrays have one row per row of the table."""

    path: Path
    inputs: Array  #: components and parameters as they are written, in the order of the table's columns
    lines: Array  #: line of the file; the header is line 1
    shares: Array  #: fraction of each component; sum to 1
    settings: Array  #: value of each process parameter, or index of the choice
    values: Mapping[str, Array]  #: by quantity, in the campaign's unit; NaN where there is none
    u: Mapping[str, Array]  #: standard uncertainties, likewise; only those quantities that have some
    state: Sequence[str]  #: "done", "pending" or "failed"
    block: Sequence[str]  #: tray, day, ...; "" where none is told
    notes: tuple[str, ...] = ()  #: how the table was understood, in words

    def __len__(self) -> int:
        return len(self.lines)


def read_dataset(path: Path, layout: Layout, wanted: Wanted) -> Dataset:
    """The table as the campaign means it.

    Raises
    ------
    FileFaults
        Columns are missing, cells are no numbers, units or compositions are impossible; with the line.
    """
    head = head_of(path, header=layout.header)
    places = find_columns(head, layout, wanted)
    optional = {*wanted.quantities, *(n for n in places if n not in wanted.names)}
    optional |= set(wanted.components) if wanted.blanks else set()
    rows = read_rows(head, places, text={*wanted.choices, STATE, *BLOCKS, QUANTITY, UNIT}, optional=optional)
    return Reading(head, layout, wanted, places, rows).dataset()


class Reading:
    """One table on its way to a `Dataset`: columns as they are written, and what was found out about them."""

    def __init__(self, head: Head, layout: Layout, wanted: Wanted, places: Mapping[str, str], rows: Rows) -> None:
        self.head, self.layout, self.wanted, self.places, self.rows = head, layout, wanted, places, rows
        self.findings = Findings(rows.lines)
        self.unit_in_rows = self._exported()

    def _exported(self) -> str | None:
        """The unit that every row of one of labctl's own exports tells; each must be of what the campaign wants."""
        if QUANTITY not in self.places or QUANTITY in self.wanted.names:
            return None
        name, told = next(iter(self.wanted.quantities)), self.rows.columns[QUANTITY]
        self.findings.refuse(told != name, lambda row: f"this value is of {told[row]}, the campaign wants {name}")
        if UNIT not in self.places or not len(self.rows):
            return None
        units = self.rows.columns[UNIT]
        self.findings.refuse(units != units[0], lambda row: f"this value is in {units[row]}, the first in {units[0]}")
        return str(units[0])

    def dataset(self) -> Dataset:
        """The rows. Raises FileFaults."""
        import numpy as np

        shares = Shares(self.layout, self.wanted, self.places, self.rows, self.findings).fractions()
        settings = [self._setting(p) for p in self.wanted.process]
        values = {q: self._converted(q, self.rows.columns[q]) for q in self.wanted.quantities}
        for found in values.values():
            tiny = (found != 0) & (abs(found) < 1 / LARGEST)
            self.findings.refuse(tiny, lambda row: f"a value is too small to be reckoned with, below {1 / LARGEST:g}")
        u = {q: self._uncertainty(q) for q in self.wanted.quantities if f"u({q})" in self.places}
        state, block = self._state(), self._block()
        self._say_what_is_left_out()
        if self.findings.faults:
            raise FileFaults(self.head.path, shortened(sorted(self.findings.faults, key=lambda f: f.line or 0)))
        return Dataset(
            path=self.head.path,
            inputs=self._inputs(),
            lines=self.rows.lines,
            shares=shares,
            settings=np.array(settings, dtype=float).T.reshape(len(self.rows), len(self.wanted.process)),
            values=values,
            u=u,
            state=state,
            block=block,
            notes=tuple(self.findings.notes),
        )

    # -- settings and values ---------------------------------------------------------------

    def _setting(self, parameter: Parameter) -> Array:
        import numpy as np

        column = self.rows.columns[parameter.name]
        if isinstance(parameter, CategoricalParameter):
            codes = {text: code_of(parameter, text) for text in set(column)}
            found = np.array([codes[text] for text in column])
            self.findings.refuse(np.isnan(found), lambda row: str(parameter.problem(str(column[row]))))
            return found
        found = self._converted(parameter.name, column)
        self.findings.refuse(np.isnan(found), lambda _: f"no value for {parameter.name}")
        if isinstance(parameter, IntegerParameter):
            self.findings.refuse(
                found != np.round(found), lambda row: f"{parameter.name} = {found[row]:g} is not a whole number"
            )
        return found

    def _converted(self, name: str, column: Array) -> Array:
        offset, factor = self._conversion(name, self.places[name])
        return column if (offset, factor) == (0.0, 1.0) else offset + factor * column

    def _conversion(self, name: str, column: str, *, say: bool = True) -> tuple[float, float]:
        """Offset and factor from the table's unit to the campaign's."""
        wanted = self.wanted.unit(name)
        told = self.layout.units.get(name, self.unit_in_rows if column == VALUE else None)
        in_header = stem_and_unit(column)[1]
        unit = told if told is not None else unit_in(in_header)
        if say and wanted and in_header not in ("", wanted) and not unit and told is None:
            self.findings.notes.append(
                f"column {column!r}: {in_header!r} is not understood as a unit: taken as {wanted}"
            )
        if not unit or unit == wanted or (told is None and not wanted):
            return 0.0, 1.0
        try:
            found = conversion(unit, wanted)
        except UnitError as error:
            message = f"column {column!r} is in {unit}, but the campaign has {name} in {wanted or 'no unit'}: {error}"
            if say:
                self.findings.faults.append(Fault(message=message, line=1, code="LAB-0223"))
            return 0.0, 1.0
        if say and found != (0.0, 1.0):
            self.findings.notes.append(f"column {column!r} is converted from {unit} to {wanted}")
        return found

    def _uncertainty(self, quantity: str) -> Array:
        import numpy as np

        name = f"u({quantity})"
        column = self.places[name]
        remark = stem_and_unit(column)[1]
        # u(cond) names a quantity in its brackets, u (S/cm) a unit
        own = bool(remark) and not column.endswith(name) and bool(unit_in(remark) or not column.startswith("u("))
        _, factor = self._conversion(quantity, column if own else self.places[quantity], say=own)
        found = np.asarray(abs(factor) * self.rows.columns[name])
        self.findings.refuse(found < 0, lambda row: f"u = {found[row]:g}: a standard uncertainty is not negative")
        return found

    def _inputs(self) -> Array:
        import numpy as np

        names = [n for n in self.places if n in (*self.wanted.components, *(p.name for p in self.wanted.process))]
        names.sort(key=lambda n: self.head.column(self.places[n]))
        columns = [self.rows.columns[n] for n in names]
        numbers = [np.unique(c, return_inverse=True)[1] if c.dtype == object else np.nan_to_num(c) for c in columns]
        return np.array(numbers, dtype=float).T.reshape(len(self.rows), len(names))

    # -- what else a table says ------------------------------------------------------------

    def _state(self) -> list[str]:
        if STATE not in self.places:
            return [DONE] * len(self.rows)
        states = [s.casefold() or DONE for s in self.rows.columns[STATE]]
        for row, state in enumerate(states):
            if state not in STATES and len(self.findings.faults) <= MOST:
                message = f"state {state!r} is none of {', '.join(STATES)}"
                self.findings.faults.append(Fault(message=message, line=int(self.rows.lines[row]), code="LAB-0222"))
        return states

    def _block(self) -> list[str]:
        told = [self.rows.columns[name] for name in BLOCKS if name in self.places]
        return ["/".join(c for c in cells if c) for cells in zip(*told, strict=True)] if told else [""] * len(self.rows)

    def _say_what_is_left_out(self) -> None:
        unused = [name for name in self.head.names if name and name not in self.places.values()]
        for name in (n for n in self.wanted.components if n not in self.places and len(n) >= LONG_ENOUGH):
            for column in difflib.get_close_matches(name, unused, n=1, cutoff=MISSPELT):
                message = f"there is no column {name!r}, but one {column!r}"
                hint = f'write [data.columns] {name} = "{column}" if that is meant, else rename it'
                self.findings.faults.append(Fault(message=message, line=1, hint=hint, code="LAB-0220"))
        if unused:
            self.findings.notes.append(
                f"not used: column{'s' if len(unused) > 1 else ''} {', '.join(map(repr, unused))}"
            )
        if len(self.rows) < 2:
            return
        same = [n for n in self.wanted.names if n in self.places and constant(self.rows.columns[n])]
        inputs = [n for n in same if n not in self.wanted.quantities]
        if inputs:
            self.findings.notes.append(
                f"the same in every row, so that nothing is learned from it: {', '.join(inputs)}"
            )
        self.findings.notes += [f"every value of {q} is the same" for q in same if q in self.wanted.quantities]


def constant(column: Array) -> bool:
    """Whether all cells are equal."""
    return bool((column == column[0]).all())


def whole_steps(shares: Array, steps: int) -> Array:
    """Fractions as whole steps that sum to the whole, nearest to the shares (largest remainders)."""
    import numpy as np

    scaled = shares * steps
    counts = np.floor(scaled + 1e-9)
    missing = np.round(steps - counts.sum(axis=1)).astype(int)
    order = np.argsort(counts - scaled, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    counts += (rank < missing[:, None]) & (missing[:, None] > 0)
    return np.asarray(counts)
