"""Tables that people bring: CSV with a header, columns by name, every fault with its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from campaigns.toml_file import Fault, FileFaults, read_text


def header_of(path: Path) -> list[str]:
    """Names of the columns."""
    lines = read_text(path).splitlines()
    return [column.strip() for column in lines[0].split(",")] if lines else []


def read_csv(path: Path, mapping: Mapping[str, str], *, text: set[str], optional: bool = False) -> list[dict[str, Any]]:
    """Rows of a CSV with a header, by our names.

    Parameters
    ----------
    mapping
        Our name -> the column's name.
    text
        Our names whose values are text; all others must be finite numbers.
    optional
        Whether a cell may be empty (read as None).

    Raises
    ------
    FileFaults
        A column is missing or a cell is no number, with its line.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    header = [h.strip() for h in reader.fieldnames or []]
    reader.fieldnames = header
    missing = [column for column in mapping.values() if column not in header]
    if missing:
        hint = f"columns there: {', '.join(header) or 'none'}"
        raise FileFaults(path, [Fault(message=f"no column {c!r}", line=1, hint=hint, code="LAB-0220") for c in missing])
    rows, faults = [], []
    for row in reader:
        read_row: dict[str, Any] = {}
        for name, column in mapping.items():
            cell = (row.get(column) or "").strip()
            value, problem = read_cell(cell, is_text=name in text, optional=optional)
            if problem:
                faults.append(
                    Fault(message=f"column {column!r}: {problem}", line=reader.line_num, value=cell, code="LAB-0221")
                )
            read_row[name] = value
        rows.append(read_row)
    if faults:
        raise FileFaults(path, faults)
    return rows


def read_cell(cell: str, *, is_text: bool, optional: bool) -> tuple[Any, str]:
    """A cell's value and what is wrong with it."""
    if not cell:
        return None, "" if optional else "the cell is empty"
    if is_text:
        return cell, ""
    try:
        number = float(cell)
    except ValueError:
        return None, f"{cell!r} is not a number"
    if not math.isfinite(number):
        return None, f"{cell!r} is not a finite number"
    return (int(number) if number == int(number) and "." not in cell and "e" not in cell.lower() else number), ""
