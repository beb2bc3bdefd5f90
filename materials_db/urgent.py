"""Holds written at once into a PostgreSQL database, where half a second for loading the store's libraries is too long.

The same rows and the same lines of the log as the store writes, in the same order of locks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from materials_db import chain
from materials_db.looking import CONNECT_S, libpq, refuse_other
from materials_db.records import Hold

if TYPE_CHECKING:
    import psycopg

ADVANCE = (
    "INSERT INTO counter (series, value) VALUES (%s, %s)"
    " ON CONFLICT (series) DO UPDATE SET value = counter.value + EXCLUDED.value RETURNING value"
)


def hold_all(url: str, instruments: Iterable[str], *, reason: str, by: str, at: datetime) -> None:
    """Hold every instrument for this reason, also one that is held for another; harmless to repeat.

    Nothing is written where no worker has made the tables yet.

    Raises
    ------
    psycopg.Error
        The server does not answer, or refuses.
    MaterialsDBError
        The tables are another labctl's.
    """
    import psycopg

    with psycopg.connect(libpq(url), connect_timeout=CONNECT_S) as connection:
        if not one(connection, "SELECT to_regclass('labctl_version') IS NOT NULL"):
            return
        refuse_other(one(connection, "SELECT version_num FROM labctl_version"), url)
        held = connection.execute("SELECT instrument FROM hold WHERE state = 'active' AND reason = %s", [reason])
        missing = sorted({*instruments} - {row[0] for row in held})
        made = [new_hold(connection, name, reason, by, at) for name in missing]
        if made:
            log(connection, made, by, at)


def new_hold(connection: psycopg.Connection[Any], instrument: str, reason: str, by: str, at: datetime) -> Hold:
    """One more row."""
    number = one(connection, ADVANCE, "H", 1)
    hold = Hold(id=f"H-{number:04d}", instrument=instrument, mode="hold", reason=reason, placed_by=by, placed_at=at)
    connection.execute(
        "INSERT INTO hold (id, instrument, mode, reason, placed_by, placed_at, state, released_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, '')",
        [hold.id, instrument, hold.mode, reason, by, chain.stamp(at), hold.state],
    )
    return hold


def log(connection: psycopg.Connection[Any], holds: list[Hold], by: str, at: datetime) -> None:
    """Their lines in the log. Its number comes last, as in every transaction: it locks the log's head."""
    first = one(connection, ADVANCE, "event", len(holds)) - len(holds) + 1
    head = one(connection, "SELECT hash FROM event WHERE seq = %s", first - 1) or chain.GENESIS
    lines = [("hold.added", hold.id, hold.model_dump(mode="json")) for hold in holds]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO event (seq, at, actor, type, subject, payload, prev_hash, hash) VALUES (%(seq)s, %(at)s,"
            " %(actor)s, %(type)s, %(subject)s, %(payload)s, %(prev_hash)s, %(hash)s)",
            chain.append(head, first, at, by, lines),
        )


def one(connection: psycopg.Connection[Any], query: str, *values: Any) -> Any:
    """The single value of a query; None without a row."""
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else None
