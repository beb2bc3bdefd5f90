"""Whether a row is what the audit log says of it.

The log holds every record whole as it was added, and every field as it was moved: the newest
word on each field is what its row must say. Where a field came with a later version of the
tables, older lines do not speak of it; its default was filled in then.

Not in the log, so not judged here: what is taken of allowances, leases, counters, what workers
said of themselves, and the bytes of raw files, whose names tell whether they have changed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime

from materials_db.chain import stamp, unstamp
from materials_db.records import Record

MOMENTS = (AwareDatetime, AwareDatetime | None)
LONGEST = 60  #: characters of a value that are shown
ABSENT = object()  #: what one side does not have


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where a row and the log part."""

    kind: str
    id: str
    field: str = ""  #: within JSON with the keys that lead there; empty where all of the row is meant
    logged: Any = ABSENT
    found: Any = ABSENT

    def __str__(self) -> str:
        name = f"{self.kind} {self.id}"
        if self.field:
            return f"{name}: {self.field} is {shown(self.logged)} in the log, {shown(self.found)} in its row"
        return f"{name} is in the log, but has no row" if self.found is ABSENT else f"{name} is not in the log"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many rows were compared, and which are not what the log says."""

    rows: int
    differing: int
    first: tuple[Difference, ...]  #: one for each of the first that differ

    def __str__(self) -> str:
        if not self.differing:
            return f"{self.rows}, all as the log says"
        others = self.differing - len(self.first)
        return "; ".join(map(str, self.first)) + (f"; and {others} more" if others else "")


def logged(kind: type[Record], payloads: Iterable[str]) -> dict[str, Any]:
    """What the lines on one record, in order, say of its fields.

    A field of which they do not speak and that has no default is left out.
    """
    said = {**defaults(kind)}
    for payload in payloads:
        said.update(parsed(payload))
    return {field: as_stored(kind, field, value) for field, value in said.items()}


@functools.cache
def defaults(kind: type[Record]) -> Mapping[str, Any]:
    """What fields are before anybody says otherwise."""
    return {n: f.get_default(call_default_factory=True) for n, f in kind.model_fields.items() if not f.is_required()}


@functools.cache
def moments(kind: type[Record]) -> frozenset[str]:
    """The fields that are moments."""
    return frozenset(name for name, field in kind.model_fields.items() if field.annotation in MOMENTS)


def as_stored(kind: type[Record], field: str, value: Any) -> Any:
    """The log writes moments as short as they can be said, the tables always with microseconds."""
    return stamp(unstamp(value)) if field in moments(kind) and value is not None else value


def parsed(text: str) -> Any:
    """JSON without a difference between 1 and 1.0: the log knows none.

    Large numbers have several exact spellings of one float, so whole ones are read as floats too.
    """
    return json.loads(text, parse_int=float)


def difference(kind: str, id: str, said: Mapping[str, Any], row: Mapping[str, Any] | None) -> Difference | None:
    """The first field in which a row is not what the log says; None where it is.

    Parameters
    ----------
    said
        What `logged` gave.
    row
        Its columns as they are stored, JSON read by `parsed`; None where there is no row.
    """
    if row is None:
        return Difference(kind=kind, id=id, logged=said)
    apart = next((field for field in row if field in said and said[field] != row[field]), None)
    if apart is None:
        return None
    field, was, found = next(partings(apart, said[apart], row[apart]))
    return Difference(kind=kind, id=id, field=field, logged=was, found=found)


def partings(field: str, was: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two values part, as deep within them as can be told."""
    if not (isinstance(was, dict) and isinstance(found, dict)):
        yield field, was, found
        return
    for key in [*was, *(key for key in found if key not in was)]:
        ours, theirs = was.get(key, ABSENT), found.get(key, ABSENT)
        if ours != theirs:
            yield from partings(f"{field}.{key}", ours, theirs)


def shown(value: Any) -> str:
    """A value for people."""
    if value is ABSENT:
        return "absent"
    text = repr(whole(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def whole(value: Any) -> Any:
    """Whole numbers as such, also within lists and objects."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
