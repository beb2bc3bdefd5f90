"""Copy a whole lab from one database into another, all or nothing; and look whether one is sound."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from materials_db import chain
from materials_db.errors import ConflictError, DamagedLogError, MaterialsDBError
from materials_db.raw import RawFolder
from materials_db.sql.store import EVENTS, answering, keep_bytes, make_engine
from materials_db.sql.tables import METADATA, table
from materials_db.sql.upgrade import upgrade_over

NOT_COPIED = ("worker", "raw_bytes")  #: who works there is said anew; a file's lab keeps raw files in a folder
AT_ONCE = 2000  #: rows that are in memory together


def move(source_url: str, raw: RawFolder, target_url: str) -> dict[str, int]:
    """Copy every table and every raw file, then check what arrived, then commit; the number of rows by table.

    Raises
    ------
    ConflictError
        The target is not empty.
    DamagedFileError
        A raw file is not there or has changed. Nothing was written.
    DamagedLogError
        The log does not verify, here or there. Nothing was written.
    MaterialsDBError
        The target cannot take the rows, or does not answer. Nothing was written.
    """
    source, target = make_engine(source_url, full_sync=True), make_engine(target_url, full_sync=True)
    try:
        with answering(target), answering(source), source.connect() as old, target.begin() as new:
            refuse_unless_empty(new)
            upgrade_over(new)
            counts = {t.name: copy(old, new, t) for t in METADATA.sorted_tables if t.name not in NOT_COPIED}
            counts["raw_bytes"] = copy_files(old, new, raw)
            compare(old, new, counts)
        return counts
    except sa.exc.DBAPIError as error:
        raise MaterialsDBError(f"{target.url} did not take the rows; nothing was written: {error.orig}") from error
    finally:
        source.dispose()
        target.dispose()


def refuse_unless_empty(new: sa.Connection) -> None:
    """Raise ConflictError when something is there already."""
    if there := sa.inspect(new).get_table_names():
        raise ConflictError(
            f"the database {new.engine.url} is not empty: it has {', '.join(sorted(there)[:4])}. Nothing was written."
            " Name an empty one; make it with: createdb -h HOST NAME"
        )


def copy(old: sa.Connection, new: sa.Connection, rows_of: sa.Table) -> int:
    """Copy one table in the order in which it was written, so that links lead to what is there; how many rows."""
    rows = old.execution_options(yield_per=AT_ONCE).execute(sa.select(rows_of).order_by(sa.text("rowid"))).mappings()
    count = 0
    for part in rows.partitions(AT_ONCE):
        new.execute(sa.insert(rows_of), [dict(row) for row in part])
        count += len(part)
    return count


def copy_files(old: sa.Connection, new: sa.Connection, raw: RawFolder) -> int:
    """Copy the bytes of every raw file, each hashed again on the way; how many."""
    files = old.execute(sa.select(table("raw_file").c.id)).scalars().all()
    for sha256 in files:
        keep_bytes(new, raw.read(sha256))
    return len(files)


def compare(old: sa.Connection, new: sa.Connection, counts: dict[str, int]) -> None:
    """Raise unless as many rows stand on both sides, and both logs verify and end with the same line."""
    for name, count in counts.items():
        arrived = new.execute(sa.select(sa.func.count()).select_from(table(name))).scalar_one()
        if arrived != count:
            raise MaterialsDBError(f"of {count} rows of {name} {arrived} arrived; nothing was written")
    if verified(old) != verified(new):
        raise DamagedLogError("the copied log ends with another line; nothing was written")


def verified(connection: sa.Connection) -> tuple[int, str | None]:
    """Length and last hash of a log that verifies. Raises DamagedLogError."""
    counter, target = table("counter"), table("event")
    expected = connection.execute(sa.select(counter.c.value).where(counter.c.series == EVENTS)).scalar() or 0
    rows = connection.execute(sa.select(target).order_by(target.c.seq)).mappings()
    count = chain.verify((dict(row) for row in rows), expected)
    return count, connection.execute(sa.select(target.c.hash).where(target.c.seq == count)).scalar()


def broken_links(connection: sa.Connection) -> Iterator[str]:
    """Rows that point at nothing, in words. The databases keep them out; a damaged file may hold some."""
    for rows in METADATA.sorted_tables:
        for key in rows.foreign_keys:
            target = key.column.table.alias("target")
            lost = sa.select(rows.c.id).where(
                key.parent.is_not(None), ~sa.exists().where(target.c[key.column.name] == key.parent)
            )
            for id in connection.execute(lost.limit(10)).scalars():
                yield f"{rows.name} {id}: its {key.parent.name} is not there"
