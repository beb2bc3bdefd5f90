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
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from materials_db import chain, rules
from materials_db.drives import network_drive
from materials_db.errors import DamagedDatabaseError, IntegrityError, MaterialsDBError, NetworkDriveError
from materials_db.looking import is_damage, unreachable
from materials_db.memory import changed, same_facts
from materials_db.raw import RawFolder, unchanged
from materials_db.records import Event, Lease, Record, Worker
from materials_db.sql import statements as say
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
        DamagedDatabaseError
            The file is damaged, or is no database.
        MaterialsDBError
            The folder is not there, or the server does not answer.
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
        tx = SqlTransaction(session.connection(), RawFolder(raw_dir))
        yield tx
        tx.seal()

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        # One of our own transactions at a time: SQLite would let the others poll for the lock.
        with self._turn, answering(self.engine), self.engine.begin() as connection:
            tx = SqlTransaction(connection, self.raw, alone=self.engine.dialect.name == "sqlite")
            yield tx
            tx.seal()

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def answering(engine: sa.Engine) -> Iterator[None]:
    """Raises UnreachableError when the server goes away or breaks the transaction off, DamagedDatabaseError for a damaged file."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if engine.dialect.name == "postgresql" and broken_off(error):
            raise unreachable(str(engine.url), error.orig or error) from error
        if is_damage(error):
            raise DamagedDatabaseError(engine.url.database or "", error.orig) from error
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
    return sa.create_engine(url, creator=lambda: sqlite3.connect(name, uri=True, timeout=30), poolclass=sa.NullPool)


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
    """One transaction on a connection: without a session of the ORM, whose way to the same rows takes twice as long.

    Parameters
    ----------
    alone
        Whether nobody else can write from its beginning to its end. Then a record is read once.
    """

    def __init__(self, connection: sa.Connection, raw: RawFolder, *, alone: bool = False) -> None:
        self.connection = connection
        self.raw = raw
        self.alone = alone
        self._on_server = connection.dialect.name == "postgresql"
        self._owed: list[tuple[str, str, str, dict[str, Any], datetime]] = []
        self._seen: dict[tuple[str, str], Any] = {}  #: records as they stand, where we are alone

    def _rows(self, statement: Any, **values: Any) -> list[dict[str, Any]]:
        """The rows that a statement answers with."""
        answer = self.connection.execute(statement, values)
        names = list(answer.keys())
        return [dict(zip(names, row, strict=True)) for row in answer]

    def _value(self, statement: Any, **values: Any) -> Any:
        """The first column of its first row; None without one."""
        return self.connection.execute(statement, values).scalar()

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
        rows = [r.model_dump() for r in records]
        try:
            answer = self.connection.execute(say.added(kind.kind, self._on_server), rows if len(rows) > 1 else rows[0])
            new = set(answer.scalars())
        except sa.exc.IntegrityError as error:
            raise IntegrityError(f"{kind.kind} {', '.join(r.id for r in records)}: {error.orig}") from error
        for record in records:
            if record.id not in new and not same_facts(self.get(kind, record.id), record):
                raise rules.conflict(record)
        return [r for r in records if r.id in new]

    def get(self, kind: type[R], id: str) -> R:
        if (seen := self._seen.get((kind.kind, id))) is not None:
            return cast(R, seen)
        rows = self._rows(say.row_of(kind.kind), the_id=id)
        if not rows:
            target = table(kind.kind)
            known = self.connection.execute(sa.select(target.c.id).order_by(target.c.id.desc()).limit(200)).scalars()
            raise rules.not_found(kind, id, known)
        return self._see(kind.model_validate(rows[0]))

    def _see(self, record: R) -> R:
        if self.alone:
            self._seen[record.kind, record.id] = record
        return record

    def find(
        self, kind: type[R], /, *, order: str = "id", newest_first: bool = False, limit: int | None = None, **equal: Any
    ) -> list[R]:
        query = say.found(kind.kind, say.shape_of(equal), order, newest_first, limit is not None)
        most = {} if limit is None else {"at_most": limit}
        return [kind.model_validate(row) for row in self._rows(query, **say.values_of(equal), **most)]

    def standing(self, kind: type[Record], /, **equal: Any) -> list[dict[str, Any]]:
        query = say.standing(kind.kind, tuple(sorted(kind.mutable)), say.shape_of(equal))
        return self._rows(query, **say.values_of(equal))

    def move(
        self, kind: type[R], id: str, *, at: datetime, actor: str, was: Sequence[str] | None = None, **changes: Any
    ) -> R:
        rules.check_move(kind, changes)
        update = say.moved(kind.kind, tuple(changes), was is not None)
        before = {} if was is None else {"was": list(was)}
        try:
            rows = self._rows(update, the_id=id, **before, **{f"to_{field}": v for field, v in changes.items()})
        except sa.exc.IntegrityError as error:
            raise IntegrityError(f"{kind.kind} {id}: {error.orig}") from error
        if not rows:
            raise rules.wrong_state(kind, id, getattr(self.get(kind, id), "state", None), was or [])
        after = self._see(kind.model_validate(rows[0]))
        self._log([(f"{kind.kind}.moved", id, changed(after, changes))], at, actor)
        return after

    # -- numbers and leases ---------------------------------------------------------------

    def next_number(self, series: str) -> int:
        return self._advance(series, 1)

    def _advance(self, series: str, by: int) -> int:
        return int(self._value(say.advanced(self._on_server), the_series=series, by=by))

    def take(self, name: str, amount: int, limit: int | None) -> bool:
        if limit is not None and amount > limit:
            return False
        most = {} if limit is None else {"at_most": limit}
        statement = say.taken_more(self._on_server, limit is not None)
        return bool(self._rows(statement, the_name=name, amount=amount, **most))

    def count_from(self, name: str, amount: int) -> None:
        insert = say.insert(table("allowance"), self._on_server).values(name=name, taken=amount)
        self.connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))

    def taken(self, name: str) -> int | None:
        found: int | None = self._value(say.taken(), the_name=name)
        return found

    def claim(self, instrument: str, holder: str, *, at: datetime) -> Lease | None:
        statement = say.claimed(self._on_server)
        rows = self._rows(statement, the_instrument=instrument, the_holder=holder, now=at)
        return Lease.model_validate(rows[0]) if rows else None

    def release(self, instrument: str, holder: str) -> bool:
        return bool(
            self.connection.execute(say.released(), {"the_instrument": instrument, "the_holder": holder}).rowcount
        )

    def leases(self) -> list[Lease]:
        return [Lease.model_validate(row) for row in self._rows(say.all_rows("lease", "instrument"))]

    # -- workers --------------------------------------------------------------------------

    def now(self) -> datetime:
        asked = sa.func.clock_timestamp() if self._on_server else sa.func.strftime("%Y-%m-%dT%H:%M:%f+00:00", "now")
        return datetime.fromisoformat(str(self.connection.execute(sa.select(asked)).scalar_one())).astimezone(UTC)

    def beat(self, worker: Worker) -> None:
        target = table("worker")
        values = worker.model_dump()
        insert = say.insert(target, self._on_server).values(**values)
        self.connection.execute(insert.on_conflict_do_update(index_elements=["host"], set_=values))

    def workers(self) -> list[Worker]:
        return [Worker.model_validate(row) for row in self._rows(say.all_rows("worker", "host"))]

    # -- raw files ------------------------------------------------------------------------

    def put_raw(self, content: bytes) -> str:
        return keep_bytes(self.connection, content) if self._on_server else self.raw.put(content)

    def read_raw(self, sha256: str) -> bytes:
        if self._on_server and (content := bytes_of(self.connection, sha256)) is not None:
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
        last = self._advance(EVENTS, len(owed))  # takes the write lock: the head cannot move under us
        first = last - len(owed) + 1
        prev = self._value(say.hash_at(), the_seq=first - 1)
        rows: list[dict[str, Any]] = []
        for seq, (actor, type, subject, payload, at) in enumerate(owed, start=first):
            head = rows[-1]["hash"] if rows else prev or chain.GENESIS
            rows += chain.append(head, seq, at, actor, [(type, subject, payload)])
        self.connection.execute(say.log_lines(), rows)

    def events(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> list[Event]:
        self.seal()
        target = table("event")
        query = sa.select(target).where(target.c.seq > after).order_by(target.c.seq).limit(limit)
        if subject is not None:
            query = query.where(target.c.subject == subject)
        return [chain.event(dict(row)) for row in self.connection.execute(query).mappings()]

    def verify_events(self) -> int:
        self.seal()
        counter, target = table("counter"), table("event")
        expected = self.connection.execute(sa.select(counter.c.value).where(counter.c.series == EVENTS)).scalar() or 0
        rows = self.connection.execute(sa.select(target).order_by(target.c.seq).execution_options(yield_per=5000))
        return chain.verify((dict(row) for row in rows.mappings()), expected)


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
