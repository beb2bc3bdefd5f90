"""All that is wrong with a file, told at once: what can still be asked of it where something is at fault already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any, Generic, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from campaigns.toml_file import Document, Fault, faults, steps_of

M = TypeVar("M", bound=BaseModel)
NOTHING: Mapping[str, str] = MappingProxyType({})


def sound_part(
    model: type[M], document: Document, stand_ins: Mapping[str, Any], units_from: Mapping[str, str] = NOTHING
) -> tuple[M | None, list[Fault], set[str]]:
    """The document without what is at fault, so that the rest can be looked at; the faults; tables that were left out.

    Parameters
    ----------
    stand_ins
        In place of tables that the document must have.
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
    left, out = without(document.data, (fault.key for fault in found)), set[str]()
    for _ in ("less the keys at fault", "less their tables"):
        try:
            return model.model_validate(left), found, out
        except ValidationError as error:
            out |= {table_at_fault(model, fault) for fault in faults(model, document, error)}
        out |= {table for table, other in units_from.items() if other in out}
        left = {**stand_ins, **without(left, out)}
    return None, found, out


def without(data: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A copy without these keys. Items of a list stay, so that all keep their numbers."""
    return dict(reduce(removed, map(steps_of, keys), data))


def removed(data: Any, steps: Sequence[str]) -> Any:
    """A copy of nested tables and lists without what these steps lead to."""
    first, *inside = steps or [""]
    if isinstance(data, Mapping) and not inside:
        return {key: value for key, value in data.items() if key != first}
    if isinstance(data, Mapping):
        return {key: removed(value, inside) if key == first else value for key, value in data.items()}
    if isinstance(data, list) and inside:
        return [removed(value, inside) if str(i) == first else value for i, value in enumerate(data)]
    return data


def table_at_fault(model: type[BaseModel], fault: Fault) -> str:
    """The table of the file that is at fault; of a table of named ones (`[process.NAME]`), that one."""
    table, *inside = steps_of(fault.key) or [""]
    named = table in model.model_fields and get_origin(model.model_fields[table].annotation) is dict
    return f"{table}.{inside[0]}" if named and inside else table


@dataclass(frozen=True)
class Check(Generic[M]):
    """A question about a file, and the keys on which the answer rests: it is asked where none of these is at fault."""

    faults: Callable[[M], list[Fault]]
    reads: frozenset[str]


def asked(subject: M, found: Sequence[Fault], checks: Iterable[Check[M]], unread: Iterable[str] = ()) -> list[Fault]:
    """What these checks find where nothing was found so far and all was read."""
    known = [steps_of(key) for key in (*(fault.key for fault in found), *unread)]

    def sound(key: str) -> bool:
        steps = steps_of(key)
        return all(steps[: len(other)] != other[: len(steps)] for other in known)

    return [
        fault for check in checks if all(map(sound, check.reads)) for fault in check.faults(subject) if sound(fault.key)
    ]
