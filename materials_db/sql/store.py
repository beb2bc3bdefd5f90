"""The materials database in SQL: SQLite on a laptop, PostgreSQL for a fleet, the same code.

Writes go through SQLAlchemy Core in bulk. What several processes may want at once (a
number, a lease, a state) is one conditional statement that says what it changed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from materials_db import chain, rules
from materials_db.drives import network_drive
from materials_db.errors import IntegrityError, MaterialsDBError, NetworkDriveError
from materials_db.looking import unreachable
from materials_db.memory import changed, same_facts
from materials_db.raw import RawFolder, unchanged
from materials_db.records import Event, Lease, Record, Worker
from materials_db.sql.tables import table

R = TypeVar("R", bound=Record)
EVENTS = "event"  #: the series that numbers the audit log; taking a number also takes the write lock


class SqlStore:
    """See module. Make one with `open`."""

    def __init__(self, engine: sa.Engine, raw: RawFolder) -> None:
        self.engine = engine
        self.raw = raw
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @classmethod
    def open(cls, url: str, raw_dir: Path, *, full_sync: bool = True) -> SqlStore:
        """Open the database, creating or migrating it as need be.

        Parameters
        ----------
        full_sync
            SQLite: whether every commit waits for the disk. PostgreSQL always does.

        Raises
        ------
        NewerDatabaseError
            It was made by a newer labctl; nothing was touched.
        NetworkDriveError
            The file would lie on a network drive.
        MaterialsDBError
            The folder is not there, the file is no database, the server does not answer.
        """
        engine = make_engine(url, full_sync=full_sync)
        try:
            bring_up_to_date(engine)
        except MaterialsDBError:
            engine.dispose()
            raise
        return cls(engine, RawFolder(raw_dir))

    @classmethod
    def reader(cls, url: str, raw_dir: Path) -> SqlStore:
        """A store on a database as it stands, which is neither made nor migrated and can't be written to."""
        return cls(reading_engine(url), RawFolder(raw_dir))

    @classmethod
    @contextmanager
    def over(cls, session: Any, raw_dir: Path) -> Iterator[SqlTransaction]:
        """A transaction on a session that somebody else commits (the durable engine)."""
        tx = SqlTransaction(session, RawFolder(raw_dir))
        yield tx
        tx.seal()

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        # One of our own transactions at a time: SQLite would let the others poll for the lock.
        with self._turn, answering(self.engine), Session(self.engine) as session, session.begin():
            tx = SqlTransaction(session, self.raw)
            yield tx
            tx.seal()

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def answering(engine: sa.Engine) -> Iterator[None]:
    """Raises UnreachableError when the server goes away or breaks the transaction off."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if engine.dialect.name == "postgresql" and broken_off(error):
            raise unreachable(str(engine.url), error.orig or error) from error
        raise


def broken_off(error: sa.exc.DBAPIError) -> bool:
    """Whether nothing was wrong with what was asked, so that the same may be asked again.

    By SQLSTATE class: 08 connection, 40 deadlock or serialization, 53 resources, 57 the
    server is stopped or starting. What has none never reached the server.
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    lost = error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and not state)
    return lost or state[:2] in ("08", "40", "53", "57")


def bring_up_to_date(engine: sa.Engine) -> None:
    """Make or migrate the tables. Raises MaterialsDBError when that cannot be."""
    from materials_db.sql.upgrade import upgrade

    try:
        with answering(engine):
            upgrade(engine)
    except sa.exc.DatabaseError as error:
        raise MaterialsDBError(f"cannot open the database {engine.url}: {error.orig}") from error


def make_engine(url: str, *, full_sync: bool) -> sa.Engine:
    """An engine whose transactions exclude other writers from their beginning."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True, pool_use_lifo=True)
    path = Path(sa.make_url(url).database or "")
    if not path.parent.is_dir():
        raise MaterialsDBError(f"cannot open the database {path}: the folder {path.parent} is not there")
    if kind := network_drive(path):
        raise NetworkDriveError(path, kind)
    engine = sa.create_engine(url, pool_use_lifo=True, connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", lambda connection, _: prepare_sqlite(connection, full_sync=full_sync))
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def reading_engine(url: str) -> sa.Engine:
    """An engine on whose connections the database itself refuses to write."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, connect_args={"options": "-c default_transaction_read_only=on"})
    name = f"{Path(sa.make_url(url).database or '').resolve().as_uri()}?mode=ro"
    return sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(name, uri=True, timeout=30), poolclass=sa.NullPool
    )


def prepare_sqlite(connection: Any, *, full_sync: bool) -> None:
    """The settings that every connection to a lab's file must have."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'NORMAL'}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA cache_size=-256")  # KiB for each of some thirty connections
    cursor.close()
    if sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", -1, unixepoch)


def unixepoch(*modifiers: str) -> float | int:
    """Stand-in for SQLite's own function of that name, which knows 'subsec' only from 3.42 on.

    The durable engine stamps its rows with ``unixepoch('subsec')`` wherever Python is new,
    however old the SQLite beside it.
    """
    now = datetime.now(UTC).timestamp()  # noqa: TID251 - the database's own stamp, no part of any decision
    return now if modifiers == ("subsec",) else int(now)


def sqlite_pragmas(*, full_sync: bool) -> None:
    """Give the same settings to every SQLite engine of this process, also those that others make."""
    SETTINGS["full_sync"] = full_sync
    if not sa.event.contains(sa.Engine, "connect", prepare_any):
        sa.event.listen(sa.Engine, "connect", prepare_any)


SETTINGS = {"full_sync": True}  #: for engines that others make


def prepare_any(connection: Any, _: Any) -> None:
    """Prepare a connection if it is one to SQLite."""
    if type(connection).__module__.startswith("sqlite3"):
        prepare_sqlite(connection, full_sync=SETTINGS["full_sync"])


class SqlTransaction:
    """One transaction over a session."""

    def __init__(self, session: Any, raw: RawFolder) -> None:
        self.session = session
        self.raw = raw
        self._on_server = session.get_bind().dialect.name == "postgresql"
        self._owed: list[tuple[str, str, str, dict[str, Any], datetime]] = []
        self._insert: Any = postgresql.insert if self._on_server else sqlite.insert

    # -- records --------------------------------------------------------------------------

    def add(self, *records: Record, at: datetime, actor: str) -> None:
        for record in records:
            rules.check_measurement(record)
        fresh: list[Record] = []
        for kind in rules.ALL:
            fresh += self._add_kind(kind, [r for r in records if r.kind == kind.kind])
        self._log([(f"{r.kind}.added", r.id, r.model_dump(mode="json")) for r in fresh], at, actor)

    def _add_kind(self, kind: type[Record], records: list[Record]) -> list[Record]:
        """Insert what is new; the rest must be the same."""
        if not records:
            return []
        target = table(kind.kind)
        statement = self._insert(target).on_conflict_do_nothing(index_elements=["id"]).returning(target.c.id)
        try:
            new = set(self.session.execute(statement, [r.model_dump() for r in records]).scalars())
        except sa.exc.IntegrityError as error:
            raise IntegrityError(f"{kind.kind} {', '.join(r.id for r in records)}: {error.orig}") from error
        for record in records:
            if record.id not in new and not same_facts(self.get(kind, record.id), record):
                raise rules.conflict(record)
        return [r for r in records if r.id in new]

    def get(self, kind: type[R], id: str) -> R:
        target = table(kind.kind)
        row = self.session.execute(sa.select(target).where(target.c.id == id)).mappings().first()
        if row is None:
            known = self.session.execute(sa.select(target.c.id).order_by(target.c.id.desc()).limit(200)).scalars()
            raise rules.not_found(kind, id, known)
        return kind.model_validate(dict(row))

    def find(
        self, kind: type[R], /, *, order: str = "id", newest_first: bool = False, limit: int | None = None, **equal: Any
    ) -> list[R]:
        target = table(kind.kind)
        query = sa.select(target).where(*conditions(target, equal))
        keys = [target.c[order], target.c.id]
        query = query.order_by(
            *(k.desc().nulls_last() for k in keys) if newest_first else (k.nulls_first() for k in keys)
        )
        rows = self.session.execute(query.limit(limit) if limit is not None else query).mappings()
        return [kind.model_validate(dict(row)) for row in rows]

    def standing(self, kind: type[Record], /, **equal: Any) -> list[dict[str, Any]]:
        target = table(kind.kind)
        columns = [target.c.id, *(target.c[field] for field in sorted(kind.mutable))]
        query = sa.select(*columns).where(*conditions(target, equal)).order_by(target.c.id)
        return [dict(row) for row in self.session.execute(query).mappings()]

    def move(
        self, kind: type[R], id: str, *, at: datetime, actor: str, was: Sequence[str] | None = None, **changes: Any
    ) -> R:
        rules.check_move(kind, changes)
        target = table(kind.kind)
        update = sa.update(target).where(target.c.id == id)
        if was is not None:
            update = update.where(target.c.state.in_(was))
        try:
            row = self.session.execute(update.values(**changes).returning(*target.c)).mappings().first()
        except sa.exc.IntegrityError as error:
            raise IntegrityError(f"{kind.kind} {id}: {error.orig}") from error
        if row is None:
            raise rules.wrong_state(kind, id, getattr(self.get(kind, id), "state", None), was or [])
        after = kind.model_validate(dict(row))
        self._log([(f"{kind.kind}.moved", id, changed(after, changes))], at, actor)
        return after

    # -- numbers and leases ---------------------------------------------------------------

    def next_number(self, series: str) -> int:
        return self._advance(series, 1)

    def _advance(self, series: str, by: int) -> int:
        target = table("counter")
        insert = self._insert(target).values(series=series, value=by)
        upsert = insert.on_conflict_do_update(index_elements=["series"], set_={"value": target.c.value + by})
        return int(self.session.execute(upsert.returning(target.c.value)).scalar_one())

    def take(self, name: str, amount: int, limit: int | None) -> bool:
        target = table("allowance")
        if limit is not None and amount > limit:
            return False
        insert = self._insert(target).values(name=name, taken=amount)
        within = None if limit is None else target.c.taken + amount <= limit
        upsert = insert.on_conflict_do_update(
            index_elements=["name"], set_={"taken": target.c.taken + amount}, where=within
        )
        return self.session.execute(upsert.returning(target.c.taken)).first() is not None

    def count_from(self, name: str, amount: int) -> None:
        insert = self._insert(table("allowance")).values(name=name, taken=amount)
        self.session.execute(insert.on_conflict_do_nothing(index_elements=["name"]))

    def taken(self, name: str) -> int | None:
        target = table("allowance")
        found: int | None = self.session.execute(sa.select(target.c.taken).where(target.c.name == name)).scalar()
        return found

    def claim(self, instrument: str, holder: str, *, at: datetime) -> Lease | None:
        target = table("lease")
        insert = self._insert(target).values(instrument=instrument, holder=holder, fence=1, since=at)
        mine = target.c.holder == holder
        upsert = insert.on_conflict_do_update(
            index_elements=["instrument"],
            set_={
                "holder": holder,
                "fence": sa.case((mine, target.c.fence), else_=target.c.fence + 1),
                "since": sa.case((mine, target.c.since), else_=insert.excluded.since),
            },
            where=sa.or_(target.c.holder.is_(None), mine),
        )
        row = self.session.execute(upsert.returning(*target.c)).mappings().first()
        return None if row is None else Lease.model_validate(dict(row))

    def release(self, instrument: str, holder: str) -> bool:
        target = table("lease")
        update = sa.update(target).where(target.c.instrument == instrument, target.c.holder == holder)
        return bool(self.session.execute(update.values(holder=None, since=None)).rowcount)

    def leases(self) -> list[Lease]:
        target = table("lease")
        rows = self.session.execute(sa.select(target).order_by(target.c.instrument)).mappings()
        return [Lease.model_validate(dict(row)) for row in rows]

    # -- workers --------------------------------------------------------------------------

    def now(self) -> datetime:
        asked = sa.func.clock_timestamp() if self._on_server else sa.func.strftime("%Y-%m-%dT%H:%M:%f+00:00", "now")
        return datetime.fromisoformat(str(self.session.execute(sa.select(asked)).scalar_one())).astimezone(UTC)

    def beat(self, worker: Worker) -> None:
        target = table("worker")
        values = worker.model_dump()
        insert = self._insert(target).values(**values)
        self.session.execute(insert.on_conflict_do_update(index_elements=["host"], set_=values))

    def workers(self) -> list[Worker]:
        target = table("worker")
        rows = self.session.execute(sa.select(target).order_by(target.c.host)).mappings()
        return [Worker.model_validate(dict(row)) for row in rows]

    # -- raw files ------------------------------------------------------------------------

    def put_raw(self, content: bytes) -> str:
        return keep_bytes(self.session, content) if self._on_server else self.raw.put(content)

    def read_raw(self, sha256: str) -> bytes:
        if self._on_server and (content := bytes_of(self.session, sha256)) is not None:
            return unchanged(sha256, content, "in the database")
        return self.raw.read(sha256)  # of a server's lab: what earlier versions left in the folder

    # -- the audit log --------------------------------------------------------------------

    def _log(self, lines: Sequence[tuple[str, str, dict[str, Any]]], at: datetime, actor: str) -> None:
        """Owe the log these lines: they are written together at the end of the transaction."""
        self._owed += [(actor, type, subject, payload, at) for type, subject, payload in lines]

    def seal(self) -> None:
        """Write what is owed to the log. Called before the commit; harmless to repeat."""
        if not self._owed:
            return
        owed, self._owed = self._owed, []
        target = table("event")
        last = self._advance(EVENTS, len(owed))  # takes the write lock: the head cannot move under us
        first = last - len(owed) + 1
        prev = self.session.execute(sa.select(target.c.hash).where(target.c.seq == first - 1)).scalar()
        rows: list[dict[str, Any]] = []
        for seq, (actor, type, subject, payload, at) in enumerate(owed, start=first):
            head = rows[-1]["hash"] if rows else prev or chain.GENESIS
            rows += chain.append(head, seq, at, actor, [(type, subject, payload)])
        self.session.execute(sa.insert(target), rows)

    def events(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> list[Event]:
        self.seal()
        target = table("event")
        query = sa.select(target).where(target.c.seq > after).order_by(target.c.seq).limit(limit)
        if subject is not None:
            query = query.where(target.c.subject == subject)
        return [chain.event(dict(row)) for row in self.session.execute(query).mappings()]

    def verify_events(self) -> int:
        self.seal()
        counter, target = table("counter"), table("event")
        expected = self.session.execute(sa.select(counter.c.value).where(counter.c.series == EVENTS)).scalar() or 0
        rows = self.session.execute(sa.select(target).order_by(target.c.seq).execution_options(yield_per=5000))
        return chain.verify((dict(row) for row in rows.mappings()), expected)


def conditions(target: sa.Table, equal: dict[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    """That fields equal what is given; a list or tuple means any of it."""
    for field, value in equal.items():
        column = target.c[field]
        yield column.in_(value) if isinstance(value, list | tuple) else column == value


# -- bytes of raw files on a server ---------------------------------------------------------


def keep_bytes(connection: Any, content: bytes) -> str:
    """Keep these bytes under their hash; harmless to repeat."""
    sha256 = hashlib.sha256(content).hexdigest()
    insert = postgresql.insert(table("raw_bytes")).values(sha256=sha256, content=content)
    connection.execute(insert.on_conflict_do_nothing(index_elements=["sha256"]))
    return sha256


def bytes_of(connection: Any, sha256: str) -> bytes | None:
    """What is kept under a hash, as it is."""
    target = table("raw_bytes")
    found: bytes | None = connection.execute(sa.select(target.c.content).where(target.c.sha256 == sha256)).scalar()
    return found
