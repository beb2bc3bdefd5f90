"""A table of candidates or results, as the campaign means it: fractions, settings, values, lines.

People write percent, parts or fractions, leave the balance out, put units into headers and
name columns as their instrument does. What is understood is said in `Dataset.notes`; what
cannot be is refused with its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from campaigns.parameters import CategoricalParameter, IntegerParameter, Parameter
from campaigns.pool import code_of
from campaigns.space import CompositionSpace
from campaigns.tables import MOST, Head, Rows, head_of, no_column, read_rows, shortened, stem_and_unit
from campaigns.toml_file import Fault, FileFaults
from campaigns.units import UnitError, conversion, unit_in

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Fractions = Literal["auto", "fraction", "percent", "ppm", "amount"]
STATE, BLOCKS = "state", ("block", "tray", "day")
VALUE, QUANTITY, UNIT = "value", "quantity", "unit"  #: of labctl's own exports: what each row's value is of
DONE, PENDING, FAILED = "done", "pending", "failed"
STATES = (DONE, PENDING, FAILED)
NEAR = 0.02  #: how far a row's fractions may be from summing to 1, as weighed amounts are
ROUNDED = 1e-5  #: how far they may be from it by the rounding of what was written
MOSTLY = 0.9  #: share of the rows that tells what a table means; the others are mistakes
SURELY_PERCENT = 2  #: fractions do not sum to so much
PERCENT = ("%", "wt%", "wt %", "wt.%", "wt.-%", "mol%", "mol %", "mol.%", "at%", "at %", "at.%", "vol%", "percent")
PPM = ("ppm", "ppmw", "wt ppm", "wt. ppm", "mol ppm", "at ppm", "at. ppm", "ppm by weight", "ppm by mass")
WHOLES = {"fraction": 1, "percent": 100, "ppm": 1_000_000}  #: what a composition sums to


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table is written: `[data]` of the campaign file.

    Parameters
    ----------
    columns
        Component, parameter, quantity, ``u(quantity)``, ``state`` or ``block`` -> the column's header, where they differ.
    units
        Unit of a column, by the same names, where its header does not say it in brackets.
    fractions
        Whether compositions are fractions (sum to 1), percent (100), ppm (a million) or amounts (any sum).
    header
        Whether the first line names the columns. Without, they are "1", "2", ...
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    fractions: Fractions = "auto"
    header: bool = True
    key: str = "data.columns"  #: where the campaign file maps columns, for hints


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Rows of a table. Arrays have one row per row of the table."""

    path: Path
    header: int  #: lines of the header, 0 or 1
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


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the campaign knows of the columns of a table.

    Parameters
    ----------
    quantities
        Measured properties and their units, the deciding one first.
    blanks
        Whether the cell of a component may be empty: absent.
    """

    composition: CompositionSpace | None
    process: tuple[Parameter, ...]
    quantities: Mapping[str, str] = field(default_factory=dict)
    blanks: bool = True

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components."""
        return self.composition.names if self.composition else ()

    @property
    def balance(self) -> str | None:
        """The component whose column may be left out."""
        return self.composition.balance if self.composition else None

    @property
    def names(self) -> list[str]:
        """Every column that is needed, the balance among them."""
        return [*self.components, *(p.name for p in self.process), *self.quantities]

    @property
    def choices(self) -> set[str]:
        """Parameters whose values are text."""
        return {p.name for p in self.process if isinstance(p, CategoricalParameter)}

    def unit(self, name: str) -> str:
        """The campaign's unit of a parameter or quantity."""
        return {**{p.name: getattr(p, "unit", "") for p in self.process}, **self.quantities}.get(name, "")


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


def find_columns(head: Head, layout: Layout, wanted: Wanted) -> dict[str, str]:
    """Our name -> the column's name, of all that are needed and of all others that we know. Raises FileFaults."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    in_order = not layout.header and not layout.columns
    for i, name in enumerate(
        n for n in wanted.names if not in_order or n != wanted.balance or len(head.names) >= len(wanted.names)
    ):
        if in_order and i < len(head.names):
            found[name] = head.names[i]
        elif fault := find_column(head, layout, wanted, name, found):
            faults.append(fault)
    deciding = next(iter(wanted.quantities), "")
    exported = found.get(deciding) == VALUE and deciding not in layout.columns
    for name in [*uncertainties(wanted), STATE, *BLOCKS, *((QUANTITY, UNIT) if exported else ())]:
        if name in wanted.names:
            continue
        columns = columns_for(head, layout, wanted, name)
        if len(columns) == 1:
            found[name] = columns[0]
        elif len(columns) > 1 and len(set(columns)) == 1:
            faults.append(several(columns, name, layout))
    if faults:
        raise FileFaults(head.path, faults)
    return found


def find_column(head: Head, layout: Layout, wanted: Wanted, name: str, found: dict[str, str]) -> Fault | None:
    """Add one column to those found, or say why not."""
    columns = columns_for(head, layout, wanted, name)
    if len(columns) == 1:
        found[name] = columns[0]
        return None
    if columns:
        return several(columns, name, layout)
    if name == wanted.balance and name not in layout.columns:
        return None
    return no_column(head, layout.columns.get(name, name), layout.key)


def columns_for(head: Head, layout: Layout, wanted: Wanted, name: str) -> list[str]:
    """Columns that may be meant by one of our names; one name twice where two columns carry it."""
    if name in layout.columns:
        return [c for c in head.names if c == layout.columns[name].strip()]
    columns = head.find(name, exactly=name in wanted.components)
    if not columns and name == next(iter(uncertainties(wanted)), None):
        columns = [c for c in head.names if stem_and_unit(c)[0] == "u" and c not in wanted.names]
    if not columns and name == next(iter(wanted.quantities), None) and {VALUE, QUANTITY} <= set(head.names):
        columns = [VALUE] * head.names.count(VALUE)
    return columns


def several(columns: Sequence[str], name: str, layout: Layout) -> Fault:
    """More than one column may be meant."""
    hint = f'say which in the campaign file: [{layout.key}] {name} = "{columns[0]}"'
    if len(set(columns)) == 1:
        hint = f"give one of them another name than {columns[0]!r} in the table"
    message = f"{len(columns)} columns may mean {name!r}: {', '.join(columns)}"
    return Fault(message=message, line=1, hint=hint, code="LAB-0220")


def uncertainties(wanted: Wanted) -> list[str]:
    """Our names of the columns with standard uncertainties."""
    return [f"u({q})" for q in wanted.quantities]


class Reading:
    """One table on its way to a `Dataset`: columns as they are written, and what was found out about them."""

    def __init__(self, head: Head, layout: Layout, wanted: Wanted, places: Mapping[str, str], rows: Rows) -> None:
        self.head, self.layout, self.wanted, self.places, self.rows = head, layout, wanted, places, rows
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.unit_in_rows = self._exported()

    def _exported(self) -> str | None:
        """The unit that every row of one of labctl's own exports tells; each must be of what the campaign wants."""
        if QUANTITY not in self.places or QUANTITY in self.wanted.names:
            return None
        name, told = next(iter(self.wanted.quantities)), self.rows.columns[QUANTITY]
        self._refuse(told != name, lambda row: f"this value is of {told[row]}, the campaign wants {name}")
        if UNIT not in self.places or not len(self.rows):
            return None
        units = self.rows.columns[UNIT]
        self._refuse(units != units[0], lambda row: f"this value is in {units[row]}, the first in {units[0]}")
        return str(units[0])

    def dataset(self) -> Dataset:
        """The rows. Raises FileFaults."""
        import numpy as np

        shares = self._shares()
        settings = [self._setting(p) for p in self.wanted.process]
        values = {q: self._converted(q, self.rows.columns[q]) for q in self.wanted.quantities}
        u = {q: self._uncertainty(q) for q in self.wanted.quantities if f"u({q})" in self.places}
        state, block = self._state(), self._block()
        self._say_what_is_left_out()
        if self.faults:
            raise FileFaults(self.head.path, shortened(sorted(self.faults, key=lambda f: f.line or 0)))
        return Dataset(
            path=self.head.path,
            header=self.head.first,
            inputs=self._inputs(),
            lines=self.rows.lines,
            shares=shares,
            settings=np.array(settings, dtype=float).T.reshape(len(self.rows), len(self.wanted.process)),
            values=values,
            u=u,
            state=state,
            block=block,
            notes=tuple(self.notes),
        )

    def _refuse(self, mask: Any, what: Any, hint: str = "", code: str = "LAB-0222") -> None:
        """A fault for each row of the mask; `what` makes the message from the row's number."""
        for row in mask.nonzero()[0][: MOST + 1]:
            self.faults.append(Fault(message=what(int(row)), line=int(self.rows.lines[row]), hint=hint, code=code))

    # -- compositions ----------------------------------------------------------------------

    def _shares(self) -> Array:
        import numpy as np

        names, size = self.wanted.components, len(self.rows)
        if not names:
            return np.zeros((size, 0))
        told = np.nan_to_num(np.array([self.rows.columns.get(n, np.zeros(size)) for n in names]).T)
        left_out = [i for i, n in enumerate(names) if n not in self.places]
        sums = told.sum(axis=1)
        kind = self._kind(sums, bool(left_out))
        if kind == "amount":
            self._say_which_amounts_differ(sums)
        whole = sums if kind == "amount" else np.full(size, float(WHOLES[kind]))
        self._refuse(whole <= 0, lambda _: "all amounts are 0")
        shares = np.asarray(told / np.where(whole > 0, whole, 1.0)[:, None])
        for i in left_out:
            shares[:, i] = np.round(1.0 - shares.sum(axis=1), 12)
        self._check(shares, kind)
        total = shares.sum(axis=1)
        return np.asarray(shares / np.where(total > 0, total, 1.0)[:, None])

    def _kind(self, sums: Array, without_balance: bool) -> Fractions:
        """Whether the table is in fractions, percent, ppm or amounts."""
        said = self.layout.fractions
        if said == "amount" and without_balance:
            message = f"amounts need a column for every component; there is none for {self.wanted.balance}"
            self.faults.append(Fault(message=message, line=1, code="LAB-0220"))
        if said != "auto":
            return said
        kind = self._guessed(sums, without_balance)
        if kind != "fraction":
            self.notes.append(f"compositions are in {kind}")
        if without_balance:  # with every component there, the sums have shown what the numbers are
            self._say_which_shares_have_units(kind)
        return kind

    def _guessed(self, sums: Array, without_balance: bool) -> Fractions:
        """By the headers or by what most rows sum to, so that one bad row does not change what all others mean."""
        import numpy as np

        middle, said = float(np.median(sums)) if len(sums) else 0.0, self._said_by_headers()
        if without_balance:
            return "percent" if said == "fraction" and middle > SURELY_PERCENT else said
        kinds: tuple[Fractions, ...] = ("fraction", "percent", "ppm")
        summed = next((kind for kind in kinds if misses(middle / WHOLES[kind]) <= NEAR), said)
        if summed != said and said != "fraction":
            sign, whole = "%" if said == "percent" else said, WHOLES[summed]
            meant = "fractions" if summed == "fraction" else summed
            self.notes.append(
                f"the headers of the components say {sign}, but the rows sum to {whole}: taken as {meant}"
            )
        return summed

    def _said_by_headers(self) -> Fractions:
        """What all headers of components say that the table is in; fractions where they do not."""
        headers = [stem_and_unit(self.places[n])[1].casefold() for n in self.wanted.components if n in self.places]
        if not headers:
            return "fraction"
        if all(h in PPM for h in headers):
            return "ppm"
        return "percent" if all(h in PERCENT for h in headers) else "fraction"

    def _say_which_shares_have_units(self, kind: Fractions) -> None:
        for column in (self.places[n] for n in self.wanted.components if n in self.places):
            unit = stem_and_unit(column)[1]
            if unit and unit.casefold() not in (PPM if kind == "ppm" else PERCENT):
                meant = "a fraction" if kind == "fraction" else kind
                self.notes.append(
                    f"column {column!r}: {unit!r} is not understood as a unit of shares: taken as {meant}"
                )

    def _say_which_amounts_differ(self, sums: Array) -> None:
        """Amounts may have any sum; where most have the same, the others may be mistakes."""
        import numpy as np

        middle = float(np.median(sums)) if len(sums) else 0.0
        if middle <= 0:
            return
        other = np.flatnonzero(misses(sums / middle) > NEAR)
        if 0 < len(other) <= (1 - MOSTLY) * len(sums):
            lines = listed(self.rows.lines[other])
            self.notes.append(f"most rows sum to {middle:g}; of another sum: line{'s' * (len(other) > 1)} {lines}")

    def _check(self, shares: Array, kind: Fractions) -> None:
        whole = WHOLES.get(kind, 1)
        names = {"percent": "percentages", "ppm": "ppm"}.get(kind, "fractions")
        sums = shares.sum(axis=1)
        negative = shares.min(axis=1) < -1e-9
        self._refuse(negative, lambda row: f"a fraction is below 0{self._balance_words(shares[row])}")
        missed = misses(sums)
        off = ~negative & (missed > NEAR)
        hint = f"correct the row: up to {NEAR * 100:g} % are allowed"
        if off.sum() > (1 - MOSTLY) * len(off):
            hint += '; if all rows are parts of any sum, write in the campaign file: [data] fractions = "amount"'
        self._refuse(off, lambda row: f"{names} sum to {sums[row] * whole:g}, not {whole}", hint)
        scaled = missed[(missed > ROUNDED) & (missed <= NEAR)]
        if len(scaled):
            rows = f"{len(scaled)} of {len(sums)} rows"
            self.notes.append(
                f"{rows} were scaled to sum to {whole}, which they missed by up to {scaled.max() * 100:.2g} %"
            )

    def _balance_words(self, shares: Array) -> str:
        names = self.wanted.components
        negative = [f"{n} = {s:g}" for n, s in zip(names, shares, strict=True) if s < 0]
        left_out = " (what the others leave)" if any(n not in self.places for n in names) else ""
        return f": {', '.join(negative)}{left_out}"

    # -- settings and values ---------------------------------------------------------------

    def _setting(self, parameter: Parameter) -> Array:
        import numpy as np

        column = self.rows.columns[parameter.name]
        if isinstance(parameter, CategoricalParameter):
            codes = {text: code_of(parameter, text) for text in set(column)}
            found = np.array([codes[text] for text in column])
            self._refuse(np.isnan(found), lambda row: str(parameter.problem(str(column[row]))))
            return found
        found = self._converted(parameter.name, column)
        self._refuse(np.isnan(found), lambda _: f"no value for {parameter.name}")
        if isinstance(parameter, IntegerParameter):
            self._refuse(
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
            self.notes.append(f"column {column!r}: {in_header!r} is not understood as a unit: taken as {wanted}")
        if not unit or unit == wanted or (told is None and not wanted):
            return 0.0, 1.0
        try:
            found = conversion(unit, wanted)
        except UnitError as error:
            message = f"column {column!r} is in {unit}, but the campaign has {name} in {wanted or 'no unit'}: {error}"
            if say:
                self.faults.append(Fault(message=message, line=1, code="LAB-0223"))
            return 0.0, 1.0
        if say and found != (0.0, 1.0):
            self.notes.append(f"column {column!r} is converted from {unit} to {wanted}")
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
        self._refuse(found < 0, lambda row: f"u = {found[row]:g}: a standard uncertainty is not negative")
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
            if state not in STATES and len(self.faults) <= MOST:
                message = f"state {state!r} is none of {', '.join(STATES)}"
                self.faults.append(Fault(message=message, line=int(self.rows.lines[row]), code="LAB-0222"))
        return states

    def _block(self) -> list[str]:
        told = [self.rows.columns[name] for name in BLOCKS if name in self.places]
        return ["/".join(c for c in cells if c) for cells in zip(*told, strict=True)] if told else [""] * len(self.rows)

    def _say_what_is_left_out(self) -> None:
        unused = [name for name in self.head.names if name and name not in self.places.values()]
        if unused:
            self.notes.append(f"not used: column{'s' if len(unused) > 1 else ''} {', '.join(map(repr, unused))}")
        if len(self.rows) < 2:
            return
        same = [n for n in self.wanted.names if n in self.places and constant(self.rows.columns[n])]
        inputs = [n for n in same if n not in self.wanted.quantities]
        if inputs:
            self.notes.append(f"the same in every row, so that nothing is learned from it: {', '.join(inputs)}")
        self.notes += [f"every value of {q} is the same" for q in same if q in self.wanted.quantities]


def misses(sums: Any) -> Any:
    """By how much sums miss 1, without what computers add: 0.98 misses it by 0.02."""
    import numpy as np

    return np.round(abs(sums - 1), 9)


def listed(lines: Array | Sequence[object], most: int = 10) -> str:
    """The first of some lines of a file."""
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return ", ".join(str(n) for n in lines[:most]) + more


def constant(column: Array) -> bool:
    """Whether all cells are equal."""
    return bool((column == column[0]).all())


def outside(data: Dataset, wanted: Wanted, tolerance: float) -> Iterator[Fault]:
    """Rows that the campaign's bounds, constraints and choices exclude, with line and value.

    Parameters
    ----------
    tolerance
        By how much a fraction may be beyond its bounds, as it is rounded.
    """
    for i, parameter in enumerate(wanted.process):
        if isinstance(parameter, CategoricalParameter):
            continue
        column, unit = data.settings[:, i], f" {parameter.unit}".rstrip()
        low, high = parameter.low - 1e-9 * abs(parameter.low), parameter.high + 1e-9 * abs(parameter.high)
        for row in ((column < low) | (column > high)).nonzero()[0][: MOST + 1]:
            said = f"{parameter.name} = {column[row]:g}{unit} is outside {parameter.low:g} to {parameter.high:g}{unit}"
            yield Fault(
                message=said, line=int(data.lines[row]), hint=f"widen process.{parameter.name}", code="LAB-0224"
            )
    if wanted.composition is not None:
        yield from compositions_outside(data, wanted.composition, tolerance)


def compositions_outside(data: Dataset, space: CompositionSpace, tolerance: float) -> Iterator[Fault]:
    """Rows whose fractions the space excludes."""
    for component, column in zip(space.components, data.shares.T, strict=True):
        low, high = float(component.low), float(component.high)
        bad = (column < low - tolerance) | (column > high + tolerance)
        if component.may_be_absent:
            bad &= column > tolerance
        for row in bad.nonzero()[0][: MOST + 1]:
            said = f"{component.name} = {column[row]:.6g} is outside {low:g} to {high:g}"
            hint = f"widen composition.components.{component.name}"
            yield Fault(message=said, line=int(data.lines[row]), hint=hint, code="LAB-0224")
    if space.max_present is not None:
        present = (data.shares > tolerance).sum(axis=1)
        for row in (present > space.max_present).nonzero()[0][: MOST + 1]:
            said = f"{present[row]} components are present, at most {space.max_present} may be"
            yield Fault(message=said, line=int(data.lines[row]), code="LAB-0224")
    for constraint in space.constraints:
        weights = [float(constraint.coefficients.get(n, 0)) for n in space.names]
        total, slack = data.shares @ weights, tolerance * sum(map(abs, weights))
        low = -float("inf") if constraint.low is None else float(constraint.low) - slack
        high = float("inf") if constraint.high is None else float(constraint.high) + slack
        for row in ((total < low) | (total > high)).nonzero()[0][: MOST + 1]:
            said = f"constraint {constraint.name!r}: {total[row]:.6g} is outside what it allows"
            yield Fault(message=said, line=int(data.lines[row]), code="LAB-0224")


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
