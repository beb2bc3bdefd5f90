"""`labctl optimizer columns`: a campaign file to start from, written from the columns of a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.dataset import BLOCKS, NEAR, PERCENT, STATE
from campaigns.tables import Head, head_of, is_number, read_rows, records_of, stem_and_unit
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


def campaign_of(table: Path, objective: str | None, *, minimize: bool) -> str:
    """The text of a campaign file.

    Raises
    ------
    FileFaults
        The table cannot be read.
    UsageError
        No column can be the objective.
    """
    head = head_of(table, header=False)
    with_header = not all(is_number(cell) for cell in first_cells(head)) if head.names else True
    head = head_of(table, header=with_header)
    columns = read_columns(head)
    if not columns or not len(columns[0].cells):
        raise FileFaults(table, [Fault(message="no rows below the header", line=1, code="LAB-0225")])
    wanted = objective_of(columns, objective)
    inputs = [c for c in columns if c is not wanted and not special(c.header)]
    parts, total = composition_of(inputs)
    settings = [c for c in inputs if c not in parts and usable(c)]
    left = [c for c in inputs if c not in parts and c not in settings]
    return "\n".join(
        [
            *introduction(table, wanted, minimize=minimize),
            *(f"# left out: {c.header!r}, {why_left_out(c)}" for c in left),
            *data_section([wanted, *parts, *settings], total, header=with_header),
            *composition_section(parts, total),
            *(line for c in settings for line in process_section(c)),
            "",
        ]
    )


def first_cells(head: Head) -> Sequence[str]:
    """The first record of a table."""
    return next((row for _, row in records_of(head)), [])


def read_columns(head: Head) -> list[Column]:
    """All columns: numbers where every cell that is not empty is one, else text."""
    import numpy as np

    names = {name: name for name in head.names if name}
    text = read_rows(head, names, text=set(names), optional=set(names)).columns
    found: list[Column] = []
    for header, cells in text.items():
        name = name_for(header, [c.name for c in found])
        filled = [c for c in cells if c]
        numeric = bool(filled) and all(is_number(c) for c in filled)
        numbers = np.array([float(c.replace(",", ".")) if c else math.nan for c in cells]) if numeric else cells
        found.append(Column(header, name, numbers))
    return found


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


def composition_of(columns: Sequence[Column]) -> tuple[list[Column], float]:
    """The longest run of neighbouring columns that sum to the same in every row, and that sum."""
    import numpy as np

    for size in range(len(columns), 1, -1):
        for start in range(len(columns) - size + 1):
            run = list(columns[start : start + size])
            if any(c.is_text or np.isnan(c.cells).any() or c.cells.min() < 0 for c in run):
                continue
            total = np.sum([c.cells for c in run], axis=0)
            middle = float(np.median(total))
            if middle > 0 and (abs(total - middle) <= NEAR * middle).all() and sum(c.varies for c in run) > 1:
                return run, middle
    return [], 1.0


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
    return "too many different texts" if column.is_text and all(column.cells) else "some cells are empty"


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


def composition_section(parts: Sequence[Column], total: float) -> list[str]:
    """The columns that sum to the whole."""
    import numpy as np

    if not parts:
        return []
    shares = np.array([c.cells for c in parts]) / np.sum([c.cells for c in parts], axis=0)
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
