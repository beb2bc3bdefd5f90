"""`labctl optimizer columns`: a campaign file to start from, written from the columns of a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.layout import BLOCKS, STATE
from campaigns.shares import MOSTLY, NEAR, PERCENT, listed, misses
from campaigns.tables import Head, head_of, is_number, number_in, read_rows, records_of, stem_and_unit
from campaigns.toml_file import Fault, FileFaults
from campaigns.units import unit_in
from labctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_CHOICES = 20  #: different words up to which a column of text is a choice
STEPS = (0.01, 0.001, 0.0001)  #: dispenser steps that are tried


@dataclass(frozen=True)
class Column:
    """A column of the table: its header, the name it gets, its cells."""

    header: str
    name: str
    cells: Array  #: numbers, or text
    no_numbers: Sequence[int]  #: rows whose cells are words, in a column of numbers

    @property
    def is_text(self) -> bool:
        """Whether its cells are words."""
        return bool(self.cells.dtype == object)

    @property
    def unit(self) -> str:
        """The unit in its header."""
        unit = stem_and_unit(self.header)[1]
        return unit_in(unit) if unit.casefold() not in PERCENT else ""

    @property
    def varies(self) -> bool:
        """Whether its cells differ."""
        return len(set(self.cells.tolist())) > 1


@dataclass(frozen=True)
class Mixture:
    """Neighbouring columns that sum to the same in most rows."""

    parts: Sequence[Column] = ()
    total: float = 1.0
    others: Sequence[int] = ()  #: rows that do not sum to it

    @property
    def sums(self) -> Array:
        """What each row sums to; an empty cell is a component that is absent."""
        return sums_of(self.parts)


@dataclass(frozen=True)
class Started:
    """A campaign file to start from."""

    text: str
    remarks: tuple[str, ...]  #: rows that do not fit what the file says of the table; they are in the text, too


def campaign_of(table: Path, objective: str | None, *, minimize: bool) -> Started:
    """A campaign file, and what does not fit it.

    Raises
    ------
    FileFaults
        The table cannot be read, or two columns that are used have one name.
    UsageError
        No column can be the objective.
    """
    head = head_of(table, header=False)
    with_header = head.titled or not head.names or not all(is_number(cell) for cell in first_cells(head))
    head = head_of(table, header=with_header)
    columns, at = read_columns(head)
    if not columns or not len(columns[0].cells):
        raise FileFaults(table, [Fault(message="no rows below the header", line=1, code="LAB-0225")])
    wanted = objective_of(columns, objective)
    inputs = [c for c in columns if c is not wanted and not special(c.header)]
    mixture = composition_of(inputs)
    settings = [c for c in inputs if c not in mixture.parts and usable(c)]
    left = [c for c in inputs if c not in mixture.parts and c not in settings]
    used = [wanted, *mixture.parts, *settings]
    refuse_equal_names(head, used)
    remarks = (*rows_without_numbers([*used, *left], at), *rows_of_another_sum(mixture, at))
    lines = [
        *introduction(table, wanted, minimize=minimize),
        *(f"# left out: {c.header!r}, {why_left_out(c)}" for c in left),
        *(f"# {remark}" for remark in remarks),
        *data_section(used, mixture.total, header=with_header),
        *composition_section(mixture),
        *(line for c in settings for line in process_section(c)),
        "",
    ]
    return Started("\n".join(lines), remarks)


def refuse_equal_names(head: Head, used: Sequence[Column]) -> None:
    """Two columns of one name cannot be told apart by a campaign file."""
    faults = [
        Fault(
            message=f"{head.names.count(c.header)} columns are named {c.header!r}",
            line=1,
            hint=f"give one of them another name than {c.header!r} in the table",
            code="LAB-0220",
        )
        for c in used
        if head.names.count(c.header) > 1
    ]
    if faults:
        raise FileFaults(head.path, faults)


def rows_without_numbers(columns: Sequence[Column], at: Array) -> list[str]:
    """Which cells of columns of numbers are none, in words."""
    return [
        f"column {c.header!r} holds numbers, except in line{plural(c.no_numbers)} {listed(at[list(c.no_numbers)])}: correct this first"
        for c in columns
        if len(c.no_numbers)
    ]


def rows_of_another_sum(mixture: Mixture, at: Array) -> list[str]:
    """Which rows do not sum to what most do, in words."""
    words = {i for c in mixture.parts for i in c.no_numbers}
    rows = [i for i in mixture.others if i not in words]
    if not rows:
        return []
    names, sums = ", ".join(c.name for c in mixture.parts), mixture.sums
    where = listed([f"{at[i]} (sum {sums[i]:g})" for i in rows])
    return [
        f"{names} sum to {mixture.total:g} and none is below 0, except in line{plural(rows)} {where}: correct this first"
    ]


def plural(things: Sequence[object]) -> str:
    """The ending of a noun."""
    return "s" if len(things) > 1 else ""


def first_cells(head: Head) -> Sequence[str]:
    """The first record of a table."""
    return next((row for _, row in records_of(head)), [])


def read_columns(head: Head) -> tuple[list[Column], Array]:
    """All columns, and the line of each row."""
    names = {name: name for name in head.names if name}
    rows = read_rows(head, names, text=set(names), optional=set(names))
    found: list[Column] = []
    for header, cells in rows.columns.items():
        found.append(column_of(header, name_for(header, [c.name for c in found]), cells))
    return found, rows.lines


def column_of(header: str, name: str, cells: Array) -> Column:
    """A column: of numbers where most cells that are not empty are some, else of text."""
    import numpy as np

    filled = [i for i, cell in enumerate(cells) if cell]
    numbers = [number_in(cell) for cell in cells]
    words = [i for i in filled if numbers[i] is None]
    if not filled or len(words) > (1 - MOSTLY) * len(filled):
        return Column(header, name, cells, ())
    return Column(header, name, np.array([math.nan if n is None else n for n in numbers]), words)


def name_for(header: str, taken: Sequence[str]) -> str:
    """A name that a campaign file may use."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem_and_unit(header)[0]).strip("_") or "x"
    name = name[:60] if name[0].isalpha() else f"x{name[:59]}"
    return name if name not in taken else next(f"{name}_{i}" for i in range(2, 10_000) if f"{name}_{i}" not in taken)


def special(header: str) -> bool:
    """Whether a column tells something beside inputs and values."""
    plain = stem_and_unit(header)[0].casefold()
    return plain in ("u", STATE, *BLOCKS) or header.casefold().startswith("u(")


def objective_of(columns: Sequence[Column], said: str | None) -> Column:
    """The column that was named, else the last one with numbers."""
    numeric = [c for c in columns if not c.is_text and not special(c.header)]
    if said is not None:
        found = [c for c in numeric if said in (c.header, c.name)]
        if not found:
            raise UsageError(
                f"no column with numbers is named {said!r}", hint=f"there are {', '.join(c.header for c in numeric)}"
            )
        return found[0]
    if not numeric:
        raise UsageError("no column holds numbers, so none can be the objective")
    return numeric[-1]


def composition_of(columns: Sequence[Column]) -> Mixture:
    """The longest run of neighbouring columns that sum to the same in most rows."""
    for size in range(len(columns), 1, -1):
        for start in range(len(columns) - size + 1):
            if found := mixture_of(columns[start : start + size]):
                return trimmed(found)
    return Mixture()


def mixture_of(run: Sequence[Column]) -> Mixture | None:
    """These columns as a mixture, if they sum to the same in most rows."""
    import numpy as np

    if any(c.is_text for c in run) or sum(c.varies for c in run) < 2:
        return None
    sums = sums_of(run)
    total = whole_of(float(np.median(sums)))
    if not total > 0:
        return None
    fits = misses(sums / total) <= NEAR
    for column in run:
        fits &= ~(column.cells < 0)
        fits[list(column.no_numbers)] = False
    return Mixture(run, total, np.flatnonzero(~fits).tolist()) if fits.mean() >= MOSTLY else None


def trimmed(mixture: Mixture) -> Mixture:
    """Without a column at an end without which more rows fit: a setting that is 0 in most rows is no component."""
    for fewer in (mixture.parts[1:], mixture.parts[:-1]):
        found = mixture_of(fewer) if mixture.others else None
        if found and len(found.others) < len(mixture.others):
            return trimmed(found)
    return mixture


def sums_of(columns: Sequence[Column]) -> Array:
    """What each row sums to; an empty cell is a component that is absent."""
    import numpy as np

    return np.asarray(np.nansum([c.cells for c in columns], axis=0))


def whole_of(middle: float) -> float:
    """What rows should sum to, from what the middle one does: 1 or 100, if it is near."""
    return next((whole for whole in (1.0, 100.0) if misses(middle / whole) <= NEAR), middle)


def usable(column: Column) -> bool:
    """Whether a column can be a process parameter."""
    import numpy as np

    if column.is_text:
        different = len(set(column.cells))
        return 1 < different <= MOST_CHOICES and different < len(column.cells) and all(column.cells)
    return bool(column.varies and not np.isnan(column.cells).any())


def why_left_out(column: Column) -> str:
    """Why a column cannot be a process parameter."""
    if not column.varies:
        return "the same in every row"
    return "too many different texts" if column.is_text and all(column.cells) else "some cells are empty or no numbers"


# -- the file -----------------------------------------------------------------------------------


def introduction(table: Path, wanted: Column, *, minimize: bool) -> list[str]:
    """The first sections."""
    name = name_for(table.stem, [])
    return [
        f"# A campaign file from the columns of {table.name}. Look through what was guessed, then:",
        f"#   labctl optimizer replay {table.name} --campaign THIS_FILE     how fast would the best have been found",
        f"#   labctl optimizer suggest THIS_FILE --history {table.name}      what to make next",
        "",
        "[campaign]",
        f"name = {text(name)}",
        "",
        "[objective]",
        f"quantity = {text(wanted.name)}",
        f"direction = {text('minimize' if minimize else 'maximize')}",
        f"unit = {text(wanted.unit)}",
    ]


def text(value: str) -> str:
    """A string as TOML writes it: JSON's escapes are among TOML's."""
    return json.dumps(value)


def data_section(columns: Sequence[Column], total: float, *, header: bool) -> list[str]:
    """How the table is written."""
    kind = "fraction" if abs(total - 1) <= NEAR else "percent" if abs(total - 100) <= 100 * NEAR else "amount"
    lines = ["", "[data]", f'fractions = "{kind}"'] + ([] if header else ["header = false"])
    renamed = [c for c in columns if c.name != c.header]
    return [
        *lines,
        "",
        "[data.columns]  # our name = the header in the table",
        *(f"{c.name} = {text(c.header)}" for c in renamed),
        "",
    ]


def composition_section(mixture: Mixture) -> list[str]:
    """The columns that sum to the whole; their ranges are of the rows that do."""
    import numpy as np

    parts = mixture.parts
    if not parts:
        return []
    cells = np.delete(np.nan_to_num([c.cells for c in parts]), mixture.others, axis=1)
    shares = cells / cells.sum(axis=0)
    ranges = [(down(float(row.min())), up(float(row.max()))) for row in shares]
    lines = ["[composition]", f"step = {step_for(ranges):g}", ""]
    for column, (low, high) in zip(parts, ranges, strict=True):
        lines += [f"[composition.components.{column.name}]", f"min = {low:.4g}", f"max = {high:.4g}", ""]
    return lines


def down(share: float) -> float:
    """Four decimals, not above the share."""
    return max(0.0, math.floor(share * 1e4 + 1e-6) / 1e4)


def up(share: float) -> float:
    """Four decimals, not below the share."""
    return min(1.0, math.ceil(share * 1e4 - 1e-6) / 1e4)


def step_for(ranges: Sequence[tuple[float, float]]) -> float:
    """The coarsest step by which every component can still take ten values."""
    narrowest = min(high - low for low, high in ranges if high > low)
    return next((s for s in STEPS if 10 * s <= narrowest), STEPS[-1])


def process_section(column: Column) -> list[str]:
    """A column as a process parameter."""
    import numpy as np

    lines = [f"[process.{column.name}]"]
    if column.is_text:
        return [*lines, 'type = "categorical"', f"choices = {json.dumps(sorted(set(column.cells)))}", ""]
    low, high = float(column.cells.min()), float(column.cells.max())
    if (column.cells == np.round(column.cells)).all() and not column.unit:
        return [*lines, 'type = "integer"', f"min = {int(low)}", f"max = {int(high)}", ""]
    unit = column.unit
    ends = [text(f"{x!r} {unit}") if unit else repr(x) for x in (low, high)]
    return [*lines, 'type = "float"', f"unit = {text(unit)}", f"min = {ends[0]}", f"max = {ends[1]}", ""]
