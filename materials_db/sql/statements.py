"""Statements that are asked again and again, built once each: SQLAlchemy takes longer to build one than SQLite to answer it.

Values are parameters of the names that the functions here document; no column has such a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from materials_db.sql.tables import table

Compared = Literal["one", "any", "null"]
Shape = tuple[tuple[str, Compared], ...]  #: which fields are compared, and with what


def insert(target: sa.Table, on_server: bool) -> Any:
    """An INSERT that knows about conflicts, on either database."""
    return postgresql.insert(target) if on_server else sqlite.insert(target)


@cache
def row_of(kind: str) -> sa.Select[Any]:
    """The row with `the_id`."""
    target = table(kind)
    return sa.select(target).where(target.c.id == sa.bindparam("the_id"))


@cache
def added(kind: str, on_server: bool) -> Any:
    """Insert rows; ids of those that are new."""
    target = table(kind)
    return insert(target, on_server).on_conflict_do_nothing(index_elements=["id"]).returning(target.c.id)


@cache
def moved(kind: str, fields: tuple[str, ...], from_states: bool) -> sa.Update:
    """Set each field to `to_FIELD` in the row with `the_id`, if its state is one of `was`; the row after it."""
    target = table(kind)
    update = sa.update(target).where(target.c.id == sa.bindparam("the_id"))
    if from_states:
        update = update.where(target.c.state.in_(sa.bindparam("was", expanding=True)))
    return update.values({field: sa.bindparam(f"to_{field}") for field in fields}).returning(*target.c)


@cache
def found(kind: str, shape: Shape, order: str, newest_first: bool, limited: bool) -> sa.Select[Any]:
    """Rows whose fields equal `is_FIELD`, in that order and then by id, at most `at_most`."""
    target = table(kind)
    query = sa.select(target).where(*conditions(target, shape))
    keys = [target.c.id] if order == "id" else [target.c[order], target.c.id]
    query = query.order_by(*(in_order(key, newest_first) for key in keys))
    return query.limit(sa.bindparam("at_most")) if limited else query


def in_order(key: Any, newest_first: bool) -> Any:
    """What never happened comes first, or last where the newest comes first; an id is always there, and indexed so."""
    if newest_first:
        return key.desc() if key.primary_key else key.desc().nulls_last()
    return key if key.primary_key else key.nulls_first()


@cache
def standing(kind: str, fields: tuple[str, ...], shape: Shape) -> sa.Select[Any]:
    """Ids and these fields of the rows whose fields equal `is_FIELD`."""
    target = table(kind)
    columns = [target.c.id, *(target.c[field] for field in fields)]
    return sa.select(*columns).where(*conditions(target, shape)).order_by(target.c.id)


def shape_of(equal: Mapping[str, Any]) -> Shape:
    """How given values are compared: a list or tuple means any of it."""
    return tuple((field, compared(value)) for field, value in equal.items())


def compared(value: Any) -> Compared:
    """How one value is."""
    return "any" if isinstance(value, list | tuple) else "null" if value is None else "one"


def values_of(equal: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `conditions`."""
    return {f"is_{field}": value for field, value in equal.items() if value is not None}


def conditions(target: sa.Table, shape: Shape) -> list[sa.ColumnElement[bool]]:
    """That fields equal `is_FIELD`, or are none."""
    return [
        condition(target.c[field], sa.bindparam(f"is_{field}", expanding=how == "any"), how) for field, how in shape
    ]


def condition(column: Any, value: sa.BindParameter[Any], how: Compared) -> Any:
    """One of them."""
    return column.in_(value) if how == "any" else column.is_(None) if how == "null" else column == value


@cache
def advanced(on_server: bool) -> Any:
    """Count the series on `by` so many; the number it stands at."""
    target = table("counter")
    start = insert(target, on_server).values(series=sa.bindparam("the_series"), value=sa.bindparam("by"))
    upsert = start.on_conflict_do_update(
        index_elements=["series"], set_={"value": target.c.value + sa.bindparam("by", type_=target.c.value.type)}
    )
    return upsert.returning(target.c.value)


@cache
def taken_more(on_server: bool, limited: bool) -> Any:
    """Take `amount` under `the_name`, if that leaves no more than `at_most` taken; no row where it would not."""
    target = table("allowance")
    amount = sa.bindparam("amount", type_=target.c.taken.type)
    start = insert(target, on_server).values(name=sa.bindparam("the_name"), taken=amount)
    within = target.c.taken + amount <= sa.bindparam("at_most", type_=target.c.taken.type) if limited else None
    upsert = start.on_conflict_do_update(index_elements=["name"], set_={"taken": target.c.taken + amount}, where=within)
    return upsert.returning(target.c.taken)


@cache
def taken() -> sa.Select[Any]:
    """What is taken under `the_name`."""
    target = table("allowance")
    return sa.select(target.c.taken).where(target.c.name == sa.bindparam("the_name"))


@cache
def claimed(on_server: bool) -> Any:
    """The lease of `the_instrument` for `the_holder` from `now`, with a new fence unless it has it; no row while another has."""
    target = table("lease")
    holder: Any = sa.bindparam("the_holder")
    now: Any = sa.bindparam("now", type_=target.c.since.type)
    start = insert(target, on_server).values(
        instrument=sa.bindparam("the_instrument"), holder=holder, fence=1, since=now
    )
    mine = target.c.holder == holder
    upsert = start.on_conflict_do_update(
        index_elements=["instrument"],
        set_={
            "holder": holder,
            "fence": sa.case((mine, target.c.fence), else_=target.c.fence + 1),
            "since": sa.case((mine, target.c.since), else_=start.excluded.since),
        },
        where=sa.or_(target.c.holder.is_(None), mine),
    )
    return upsert.returning(*target.c)


@cache
def released() -> sa.Update:
    """Give back the lease of `the_instrument` if `the_holder` has it."""
    target = table("lease")
    update = sa.update(target).where(
        target.c.instrument == sa.bindparam("the_instrument"), target.c.holder == sa.bindparam("the_holder")
    )
    return update.values(holder=None, since=None)


@cache
def all_rows(name: str, order: str) -> sa.Select[Any]:
    """Every row of a small table."""
    target = table(name)
    return sa.select(target).order_by(target.c[order])


@cache
def hash_at() -> sa.Select[Any]:
    """The hash of event `the_seq`."""
    target = table("event")
    return sa.select(target.c.hash).where(target.c.seq == sa.bindparam("the_seq"))


@cache
def log_lines() -> sa.Insert:
    """New lines of the audit log."""
    return sa.insert(table("event"))
