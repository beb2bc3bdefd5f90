"""Tables that people bring: CSV with a header, columns by name, every fault with its line.

Read as a stream, a block of rows at a time, so that a list of a million candidates needs no
more memory than its numbers.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.toml_file import Fault, FileFaults, near_files

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DELIMITERS = ",;\t|"
DELIMITER_TOLD = re.compile(r"sep=([,;\t|])\r?\n")  #: a first line that is meant for Excel
END = "\x04 end of the table"  #: read after the last line; inside of a text it tells that the text was not closed
BLOCK = 20_000  #: rows that are held as text at once
BEGINNING = 1 << 16  #: characters from which the header and the delimiter are told
LOOKED_AT = 20  #: records from which the delimiter is told
LARGEST = 1e100  #: size of a number from which on its square, as models need it, may be infinite
MOST = 20  #: faults after which a table is not read on
UNIT = re.compile(r"^(.*?)\s*[(\[]([^()\[\]]*)[)\]]$")
NUMBER_WITH_COMMA = re.compile(r"[+\-\N{MINUS SIGN}]?\d*,\d+(?:[eE][+\-\N{MINUS SIGN}]?\d+)?")


@dataclass(frozen=True)
class Head:
    """What the first lines of a table say about all of it."""

    path: Path
    names: tuple[str, ...]  #: of the columns; "1", "2", ... where the table has no header
    delimiter: str
    encoding: str
    first: int  #: records before the first row: the header, remarks (#), and a line that tells the delimiter
    titled: bool = False  #: whether the remark above the first row names the columns

    def column(self, name: str) -> int:
        """Index of a column."""
        return self.names.index(name)

    def find(self, name: str, *, exactly: bool = False) -> list[str]:
        """Columns that may mean `name`: so spelled, else with a unit behind it, else nearly so spelled.

        Parameters
        ----------
        exactly
            Whether upper and lower case differ: Co is not CO.
        """
        if name in self.names:
            return [name] * self.names.count(name)
        with_unit = [n for n in self.names if stem_and_unit(n)[0] == name]
        if with_unit or exactly:
            return with_unit
        return [n for n in self.names if spelling(name) in (spelling(n), spelling(stem_and_unit(n)[0]))]


@dataclass(frozen=True)
class Rows:
    """Columns of a table by our names."""

    lines: Array  #: line of the file in which each row ends; the header is line 1
    columns: Mapping[str, Array]  #: numbers (NaN where the cell is empty) or text

    def __len__(self) -> int:
        return len(self.lines)


def stem_and_unit(header: str) -> tuple[str, str]:
    """``conductivity (S/cm)`` as its name and its unit."""
    found = UNIT.match(header)
    return (found.group(1), found.group(2).strip()) if found and found.group(1) else (header, "")


def spelling(name: str) -> str:
    """A name without what people spell differently: case, spaces, hyphens."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


@contextmanager
def readable(path: Path, encoding: str) -> Iterator[None]:
    """What can go wrong with a file, as its fault."""
    try:
        yield
    except FileNotFoundError:
        fault = Fault(message="there is no such file", code="LAB-0203", hint=near_files(path))
        raise FileFaults(path, [fault]) from None
    except OSError as error:
        raise FileFaults(path, [Fault(message=f"cannot be read: {error.strerror}", code="LAB-0203")]) from None
    except UnicodeError:
        fault = Fault(message=f"is no {encoding.upper()} text; save the file as UTF-8", line=1, code="LAB-0202")
        raise FileFaults(path, [fault]) from None


def head_of(path: Path, *, header: bool = True) -> Head:
    """Names of the columns, and how the table is written. Raises FileFaults."""
    with readable(path, "utf-8"):
        with path.open("rb") as file:
            mark = file.read(2)
        encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as file:
            beginning = file.read(BEGINNING)
    lines = [line for line in beginning.splitlines() if line.strip()]
    told = DELIMITER_TOLD.match(beginning)
    lines = lines[bool(told) : -1 if len(beginning) == BEGINNING else None]
    remarks = list(takewhile(lambda line: line.startswith("#"), lines)) if not all_remarks(lines) else []
    delimiter = told[1] if told else delimiter_of(lines[len(remarks) :])
    try:
        first = first_of(lines[len(remarks) :], delimiter)
        above = first_of(remarks[-1:], delimiter)
    except csv.Error as error:
        raise FileFaults(path, [Fault(message=f"is no table: {error}", line=1, code="LAB-0220")]) from None
    before, titled = bool(told) + len(remarks), len(above) == len(first) and any(map(is_number, first))
    if not header:
        return Head(path, tuple(str(i + 1) for i in range(len(first))), delimiter, encoding, before, titled)
    if titled:  # as numpy writes a header
        return Head(path, (above[0].lstrip("# ") or above[0], *above[1:]), delimiter, encoding, before)
    if first and all(is_number(n) for n in first):
        hint = "write the names of the columns into the first line, or in the campaign file: [data] header = false"
        raise FileFaults(
            path,
            [Fault(message="the first line holds numbers, not names", line=1 + before, hint=hint, code="LAB-0220")],
        )
    return Head(path, tuple(first), delimiter, encoding, 1 + before)


def all_remarks(lines: Sequence[str]) -> bool:
    """Whether there is nothing but lines that begin with #."""
    return all(line.startswith("#") for line in lines)


def first_of(lines: Sequence[str], delimiter: str) -> list[str]:
    """The cells of the first record that is not blank."""
    records = islice(csv.reader(lines, delimiter=delimiter), LOOKED_AT)
    return [cell.strip() for cell in next((r for r in records if any(c.strip() for c in r)), [])]


def delimiter_of(lines: Sequence[str]) -> str:
    """The sign between the cells: the one that cuts the first records into equally many, and most, cells."""

    def cut(delimiter: str) -> tuple[bool, int]:
        try:
            records = [r for r in islice(csv.reader(lines, delimiter=delimiter), LOOKED_AT) if any(r)]
        except csv.Error:
            return False, 0
        widths = {len(r) for r in records}
        return len(widths) == 1 and max(widths) > 1, len(records[0]) if records else 0

    return max(DELIMITERS, key=cut)


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    return number_in(cell) is not None


def number_in(cell: str) -> float | None:
    """The number that a cell holds, whatever its decimal sign; None where it is text."""
    if "_" in cell:  # Python reads 1_0 as 10
        return None
    try:  # publishers set another minus than keyboards
        return float(cell.replace(",", ".").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None


def records_of(head: Head) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the line in which it ends. Raises FileFaults."""
    with readable(head.path, head.encoding), head.path.open(encoding=head.encoding, newline="") as file:
        reader, before = csv.reader(chain(file, [END]), delimiter=head.delimiter), head.first
        try:
            full = ((reader.line_num, row) for row in reader if row and (row[0].strip() or any(map(str.strip, row))))
            for line, row in islice(full, head.first, None):
                if row == [END]:
                    return
                if row[-1].endswith(END):
                    raise FileFaults(head.path, [unclosed_quote(before + 1)])
                yield line, row
                before = line
        except csv.Error as error:
            fault = Fault(message=f"cannot be read: {error}", line=reader.line_num, code="LAB-0221")
            raise FileFaults(head.path, [fault]) from None


def unclosed_quote(line: int) -> Fault:
    """A text in quotes that goes on to the end of the file, with all the rows in it."""
    hint = "close it, or take it out; inside of a text in quotes it is written twice"
    return Fault(message="a quote mark is opened and never closed", line=line, hint=hint, code="LAB-0221")


def read_rows(head: Head, wanted: Mapping[str, str], *, text: set[str], optional: set[str]) -> Rows:
    """The columns that are wanted, by our names.

    Parameters
    ----------
    wanted
        Our name -> the column's name.
    text
        Our names whose values are text; all others must be finite numbers.
    optional
        Our names whose cells may be empty.

    Raises
    ------
    FileFaults
        A cell is empty or no number, or a line has too many or too few cells; with the line.
    """
    import numpy as np

    faults: list[Fault] = []
    parts: dict[str, list[Array]] = {name: [] for name in wanted}
    lines: list[Array] = []
    records = records_of(head)
    while (block := list(islice(records, BLOCK))) and len(faults) < MOST:
        faults += [f for line, row in block if (f := width_fault(line, row, len(head.names)))]
        if faults:
            continue
        lines.append(np.array([line for line, _ in block]))
        for name, column in wanted.items():
            i = head.column(column)
            cells = Cells([row[i] for _, row in block], lines[-1], column, comma=head.delimiter != ",")
            parts[name].append(cells.words(name in optional) if name in text else cells.numbers(name in optional))
            faults += cells.faults
    if faults:
        raise FileFaults(head.path, shortened(faults))
    return Rows(joined(lines, int), {n: joined(p, object if n in text else float) for n, p in parts.items()})


def joined(parts: Sequence[Array], kind: Any) -> Array:
    """Blocks as one column."""
    import numpy as np

    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def shortened(faults: Sequence[Fault]) -> list[Fault]:
    """The first faults of a table: one bad column must not fill screens."""
    if len(faults) <= MOST:
        return list(faults)
    rest = Fault(
        message="more such faults follow; the table was not read on", line=faults[MOST].line, code=faults[0].code
    )
    return [*faults[:MOST], rest]


def width_fault(line: int, row: list[str], width: int) -> Fault | None:
    """A line with too many or too few cells."""
    if len(row) == width or (len(row) > width and not any(c.strip() for c in row[width:])):
        return None
    message = f"{len(row)} cells, but the first line has {width}"
    return Fault(
        message=message, line=line, hint="a text that contains the delimiter must be in quotes", code="LAB-0221"
    )


class Cells:
    """The cells of one column in a block of rows."""

    def __init__(self, cells: list[str], lines: Array, column: str, *, comma: bool) -> None:
        self.cells, self.lines, self.column, self.comma = cells, lines, column, comma
        self.faults: list[Fault] = []

    def words(self, optional: bool) -> Array:
        """As text."""
        import numpy as np

        self.cells = [c.strip() for c in self.cells]
        if not optional:
            self.faults += [self._fault(i, "the cell is empty") for i, cell in enumerate(self.cells) if not cell]
        words = np.empty(len(self.cells), dtype=object)
        words[:] = self.cells
        return words

    def numbers(self, optional: bool) -> Array:
        """As finite numbers; NaN where a cell is empty."""
        import numpy as np

        try:
            if "_" in "".join(self.cells):
                raise ValueError("Python reads 1_0 as 10")
            found = np.fromiter(map(float, self.cells), dtype=float, count=len(self.cells))
        except ValueError:
            self.cells = [c.strip() for c in self.cells]
            return np.array([self._number(i, cell, optional) for i, cell in enumerate(self.cells)])
        self.faults += [self._no_use(int(i), found[i]) for i in np.flatnonzero(~(abs(found) <= LARGEST))[:MOST]]
        return found

    def _number(self, i: int, cell: str, optional: bool) -> float:
        if not cell:
            if not optional:
                self.faults.append(self._fault(i, "the cell is empty"))
            return math.nan
        number = None if "," in cell and not self._with_comma(cell) else number_in(cell)
        if number is None:
            self.faults.append(self._fault(i, f"{cell!r} is not a number", "leave the cell empty if there is no value"))
            return math.nan
        if not abs(number) <= LARGEST:
            self.faults.append(self._no_use(i, number))
        return number

    def _with_comma(self, cell: str) -> bool:
        return self.comma and NUMBER_WITH_COMMA.fullmatch(cell) is not None

    def _no_use(self, i: int, number: float) -> Fault:
        if math.isfinite(number):
            hint = "write it in a larger unit, or leave the cell empty if there is no value"
            return self._fault(i, f"{self.cells[i]!r} is beyond what can be reckoned with, {LARGEST:g}", hint)
        hint = "leave the cell empty if there is no value"
        return self._fault(i, f"{self.cells[i]!r} is not a finite number", hint)

    def _fault(self, i: int, problem: str, hint: str = "") -> Fault:
        return Fault(
            message=f"column {self.column!r}: {problem}",
            line=int(self.lines[i]),
            value=self.cells[i],
            hint=hint,
            code="LAB-0221",
        )


def no_column(head: Head, name: str, key: str) -> Fault:
    """A column that is wanted and not there; `key` is where the campaign file can say which it is."""
    near = difflib.get_close_matches(name, head.names, n=1, cutoff=0.75)
    there = ", ".join(head.names[:12]) + (", ..." if len(head.names) > 12 else "")
    hint = f"columns there: {there or 'none'}"
    if head.names:
        example = near[0] if near else "its header"
        hint += f'; if one of them means it, say so in the campaign file: [{key}] {name} = "{example}"'
    return Fault(message=f"no column {name!r}", line=1, hint=hint, code="LAB-0220")
