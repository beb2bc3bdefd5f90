"""The rows of a whole database beside its audit log, some hundred records at a time.

Triggers refuse to change what was written, but not everything that is done by hand: SQLite's
INSERT OR REPLACE goes past them, and who may drop a trigger may drop it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from materials_db import rules
from materials_db.agreement import Agreement, Difference, difference, logged, parsed
from materials_db.records import Record
from materials_db.sql.store import SqlStore, answering
from materials_db.sql.tables import table

KINDS: dict[str, type[Record]] = {f"{kind.kind}.added": kind for kind in rules.ALL}
AT_ONCE = 500  #: records that are in memory together; SQLite of old allows no more than 999 values in a query
NAMED = 3  #: rows that are told of; whoever has that many wants the backup, not a list


def agreement(store: SqlStore) -> Agreement:
    """Compare all rows with the log as they stand at one moment, whoever goes on writing meanwhile.

    The log must verify: what it says is taken as true.

    Parameters
    ----------
    store
        A `SqlStore.reader`: nobody is kept from writing.
    """
    with answering(store.engine), snapshot(store.engine) as connection:
        found, apart = 0, 0
        first: list[Difference] = []
        for different in itertools.chain(compared(connection), strangers(connection)):
            found += 1
            if different is not None:
                apart += 1
                first += [different][: NAMED - len(first)]
    return Agreement(rows=found, differing=apart, first=tuple(first))


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees one moment: rows and their lines are written together, and must be read so."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            connection.exec_driver_sql("BEGIN")  # Python's module would give every query a moment of its own
        yield connection


def compared(connection: sa.Connection) -> Iterator[Difference | None]:
    """Every record that the log knows: how its row differs, or None."""
    for lines in added(connection):
        for type, of_kind in itertools.groupby(sorted(lines), key=lambda line: line[0]):
            kind, ids = KINDS[type], [id for _, id in of_kind]
            rows = rows_of(connection, kind, ids)
            for id, said in said_of(connection, kind, ids):
                yield difference(kind.kind, id, said, rows.get(id))


def added(connection: sa.Connection) -> Iterator[list[tuple[str, str]]]:
    """Type and subject of the lines that say a record is new, in parts. Records made together lie together."""
    lines, last = table("event"), 0
    query = sa.select(lines.c.seq, lines.c.type, lines.c.subject).order_by(lines.c.seq).limit(AT_ONCE)
    while part := connection.execute(query.where(lines.c.seq > last, lines.c.type.in_(KINDS))).all():
        last = part[-1].seq
        yield [(line.type, line.subject) for line in part]


def said_of(connection: sa.Connection, kind: type[Record], ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the log says of each of these records; by subject, as the index has them."""
    lines = table("event")
    types = (f"{kind.kind}.added", f"{kind.kind}.moved")
    query = sa.select(lines.c.subject, lines.c.payload).where(lines.c.subject.in_(ids), lines.c.type.in_(types))
    ordered = query.order_by(lines.c.subject, lines.c.seq)
    answer = connection.execute(ordered, execution_options={"yield_per": AT_ONCE})
    for id, found in itertools.groupby(answer, key=lambda line: line.subject):
        yield id, logged(kind, (line.payload for line in found))


def rows_of(connection: sa.Connection, kind: type[Record], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows of these records, by id: columns as they are stored, whatever somebody has put there."""
    target = table(kind.kind)
    texts = {column.name for column in target.c if isinstance(column.type, sa.JSON)}
    columns = [as_it_is(column).label(column.name) for column in target.c]
    rows = connection.execute(sa.select(*columns).where(target.c.id.in_(ids))).mappings()
    return {row["id"]: {name: read(row[name]) if name in texts else row[name] for name in row} for row in rows}


def as_it_is(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The column without what our types make of it: they stumble over what they did not write."""
    plain = sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column
    return sa.type_coerce(plain, sa.types.NullType())


def read(text: Any) -> Any:
    """A cell of JSON; as it is where it is none."""
    try:
        return parsed(text)
    except (TypeError, ValueError):
        return text


def strangers(connection: sa.Connection) -> Iterator[Difference]:
    """Rows that the log does not know."""
    lines = table("event")
    for type, kind in KINDS.items():
        target = table(kind.kind)
        known = sa.exists().where(lines.c.subject == target.c.id, lines.c.type == type)
        answer = connection.execute(sa.select(target.c.id).where(~known), execution_options={"yield_per": AT_ONCE})
        for id in answer.scalars():
            yield Difference(kind=kind.kind, id=id, found=id)
