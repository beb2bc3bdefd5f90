"""One way to write rows: a table for people, tab-separated text for pipes, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labctl.cleaning import clean
from labctl.options import Format

Row = Mapping[str, Any]
SCHEMA = "labctl/v1"
WRAPPED = 24  #: narrowest that a wrapped column is still read with ease


@dataclass(frozen=True)
class Column:
    """How one field is shown.

    Parameters
    ----------
    rank
        0 is always shown; in a narrow terminal the highest ranks go first.
    wrap
        Whether it may go on in the next line: sentences that are no use when cut.
    """

    key: str
    title: str
    show: Callable[[Any], str] = str
    right: bool = False
    rank: int = 1
    wrap: bool = False


def emit(
    rows: Sequence[Row],
    columns: Sequence[Column],
    format: Format,
    *,
    kind: str,
    id: str = "id",
    none: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write rows to stdout in the format that was asked for.

    Parameters
    ----------
    none
        What a person is told where there are no rows.
    about
        Further fields of the JSON document: what is true of all rows.
    """
    if format is Format.json:
        document = {"schema": SCHEMA, "kind": kind, **plain(about or {}), "items": [plain(r) for r in rows]}
        print(json.dumps(document, indent=2))
    elif format is Format.jsonl:
        for row in rows:
            print(json.dumps(plain(row)))
    elif format is Format.csv:
        write_csv(rows, columns)
    elif format is Format.name:
        for row in rows:
            print(clean(str(row[id])))
    elif sys.stdout.isatty():
        print_table(rows, columns, none or f"no {kind} yet")
    else:
        for row in rows:
            print("\t".join(whole(row.get(c.key), c) for c in columns))


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.isoformat() if isinstance(value, datetime) else value


def cell(row: Row, column: Column) -> str:
    """A field as text on one line; nothing where there is nothing."""
    value = row.get(column.key)
    return "" if value is None else clean(column.show(value))


def whole(value: Any, column: Column) -> str:
    """A field for a pipe: nothing is rounded or cut, what is shown by a word is that word."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return column.show(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return clean(json.dumps(plain(value)) if isinstance(value, Mapping | list | tuple) else str(value))


def write_csv(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """CSV with a header, raw values."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([c.key for c in columns])
    for row in rows:
        writer.writerow([csv_cell(row.get(c.key)) for c in columns])


def csv_cell(value: Any) -> Any:
    """A value for a spreadsheet; text that a spreadsheet would run as a formula is quoted."""
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(plain(value))
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # a bare carriage return ends a line for some readers
        return "'" + value if value.lstrip()[:1] in ("=", "+", "-", "@") or value[:1] in ("\t", "\n") else value
    return value


def print_table(rows: Sequence[Row], columns: Sequence[Column], none: str) -> None:
    """A table that fits the terminal: columns of the highest rank are left out first."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not rows:
        console.print(Text(none))
        return
    said = [c for c in columns if c.rank == 0 or any(cell(row, c) for row in rows)]
    shown = fitting(rows, said, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    for column in shown:
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            overflow="fold" if column.wrap else "ellipsis",
            no_wrap=not column.wrap,
        )
    for row in rows:
        table.add_row(*(Text(cell(row, c)) for c in shown))
    console.print(table)
    hidden = [c.title for c in said if c not in shown]
    if hidden:
        console.print(Text(f"not shown in {console.width} columns: {', '.join(hidden)} (-o json has all)", style="dim"))


def fitting(rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit."""
    shown = list(columns)
    while len(shown) > 1 and total_width(rows, shown) > width and max(c.rank for c in shown) > 0:
        worst = max(c.rank for c in shown)
        shown.remove(next(c for c in reversed(shown) if c.rank == worst))
    return shown


def total_width(rows: Sequence[Row], columns: Sequence[Column]) -> int:
    """Characters that a table needs."""
    longest = [max([len(c.title), *(len(cell(r, c)) for r in rows)]) for c in columns]
    widths = [min(n, WRAPPED) if c.wrap else n for n, c in zip(longest, columns, strict=True)]
    return sum(widths) + 3 * (len(columns) - 1) + 2


# -- how values are shown -------------------------------------------------------------------


def figures(digits: int) -> Callable[[Any], str]:
    """Numbers with so many figures."""
    return lambda value: f"{value:.{digits}g}"


def moment(text: Any) -> str:
    """A moment in UTC, to the minute."""
    return str(text).replace("T", " ")[:16]


def in_unit(number: str, unit: str) -> str:
    """A number with its unit, if it has one."""
    return f"{number} {unit}".rstrip()


def value_and_u(value: float | None, u: float | None, unit: str = "") -> str:
    """A value with its standard uncertainty, rounded to what the uncertainty allows: ``13.74(5) mS/cm`` as 13.74 +- 0.05."""
    if value is None:
        return "-"
    if not u:
        return in_unit(f"{value:.4g}", unit)
    from math import floor, log10

    places = max(0, 1 - floor(log10(u)))
    return in_unit(f"{value:.{places}f} +- {u:.{places}f}", unit)


def quiet_pipe() -> None:
    """Whoever read our output has gone (`| head`): say no more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
