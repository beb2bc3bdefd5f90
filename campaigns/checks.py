"""All that is wrong with a file, told at once: what can still be asked of it where something is at fault already."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from campaigns.toml_file import Document, Fault, faults, steps_of

M = TypeVar("M", bound=BaseModel)
NOTHING: Mapping[str, str] = MappingProxyType({})
ANY = "*"  #: in a key, any item of a list
ITEM = re.compile(r"(\[\d+\])+$")  #: the end of a key that leads to an item of a list


def sound_part(
    model: type[M], document: Document, stand_ins: Mapping[str, Any], units_from: Mapping[str, str] = NOTHING
) -> tuple[M | None, list[Fault], set[str]]:
    """The document without what is at fault, so that the rest can be looked at; the faults; keys that were not read besides.

    Parameters
    ----------
    stand_ins
        In place of what the document must have; ``[*]`` in a key is any item of a list.
    units_from
        Tables whose numbers cannot be read without another, and that other.

    Returns
    -------
    None in place of the document where too little of it is left.
    """
    try:
        return model.model_validate(document.data), [], set()
    except ValidationError as error:
        found = faults(model, document, error)
    left, out = mended(document.data, (fault.key for fault in found), stand_ins), {f.meant for f in found if f.meant}
    for _ in ("less the keys at fault", "less their tables"):
        try:
            return model.model_validate(left), found, out
        except ValidationError as error:
            tables = {table_at_fault(model, fault) for fault in faults(model, document, error)}
        tables |= {table for table, other in units_from.items() if other in tables}
        left, out = mended(left, tables, stand_ins), out | tables
    return None, found, out


def mended(data: Any, keys: Iterable[str], stand_ins: Mapping[str, Any]) -> Any:
    """A copy with what stands in for these keys, and without those for which nothing does.

    A list goes as a whole then, so that items of other lists keep their numbers.
    """
    for key in keys:
        steps = steps_of(key)
        fitting = [value for other, value in stand_ins.items() if same(steps_of(other), steps)]
        data = changed(data, steps, fitting[0]) if fitting else changed(data, steps_of(ITEM.sub("", key)))
    return data


def changed(data: Any, steps: Sequence[str], stand_in: Any = None) -> Any:
    """A copy of nested tables and lists with something else, or nothing, where these steps lead to."""
    first, *inside = steps or [""]
    if isinstance(data, list):
        return [inner(value, inside, stand_in) if str(i) == first else value for i, value in enumerate(data)]
    if not isinstance(data, Mapping):
        return data
    if inside:
        return {key: changed(value, inside, stand_in) if key == first else value for key, value in data.items()}
    rest = {key: value for key, value in data.items() if key != first}
    return rest if stand_in is None else {**rest, first: stand_in}


def inner(item: Any, steps: Sequence[str], stand_in: Any) -> Any:
    """What becomes of an item of a list: it stays, so that all keep their numbers."""
    return changed(item, steps, stand_in) if steps else stand_in


def same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two keys are the same, any item of a list being like another where one says so."""
    return len(one) == len(other) and touching(one, other)


def touching(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one key is the other, or leads to it."""
    return all(a == b or ANY in (a, b) for a, b in zip(one, other, strict=False))


def table_at_fault(model: type[BaseModel], fault: Fault) -> str:
    """The table of the file that is at fault; of a table of named ones (`[process.NAME]`), that one."""
    table, *inside = steps_of(fault.key) or [""]
    named = table in model.model_fields and get_origin(model.model_fields[table].annotation) is dict
    return f"{table}.{inside[0]}" if named and inside else table


@dataclass(frozen=True)
class Check(Generic[M]):
    """A question about a file, and the keys on which the answer rests: it is asked where none of these is at fault.

    ``recipe.steps[*].name`` is that key of every item. What is asked of each item by itself need not name it: a
    fault is told where nothing was found at its own key.
    """

    faults: Callable[[M], list[Fault]]
    reads: frozenset[str]


def asked(subject: M, found: Sequence[Fault], checks: Iterable[Check[M]], unread: Iterable[str] = ()) -> list[Fault]:
    """What these checks find where nothing was found so far and all was read."""
    known = [steps_of(key) for key in (*(fault.key for fault in found), *unread)]

    def sound(key: str) -> bool:
        steps = steps_of(key)
        return not any(touching(steps, other) for other in known)

    told = (fault for check in checks if all(map(sound, check.reads)) for fault in check.faults(subject))
    return list(dict.fromkeys(fault for fault in told if sound(fault.key)))  # two checks may find the same
