"""One read-only query at a time, on a SQLite file or on PostgreSQL, with nothing else imported.

The views in `glance` are written once, in SQLite's words; the few that PostgreSQL says
otherwise are put into its own here.
"""

from __future__ import annotations

import atexit
import functools
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from materials_db.errors import DamagedDatabaseError, MaterialsDBError, NewerDatabaseError, UnreachableError

if TYPE_CHECKING:
    import psycopg

Row = dict[str, Any]
Place = Path | str  #: a SQLite file, or the URL of a PostgreSQL database
REVISIONS = ("0001", "0002", "0003", "0004", "0005")  #: all that this version knows, oldest first; it reads the last
CONNECT_S = 10  #: wall seconds for which a server may be silent before it counts as unreachable
FIELD = re.compile(r"json_extract\(([\w.]+), '\$\.(\w+)\.(\w+)'\)")


def there(place: Place) -> bool:
    """Whether the lab has a database with our tables yet. Raises MaterialsDBError where a folder is in its place."""
    if isinstance(place, Path) and place.is_dir():
        raise MaterialsDBError(f"the database {place} is a folder; move it away, or name another file in labctl.toml")
    return place.exists() if isinstance(place, Path) else server(place).has_tables()


def ask(place: Place, query: str, *values: Any) -> list[Row]:
    """Rows of one query; none in a lab that has not run anything yet.

    Raises
    ------
    UnreachableError
        The server does not answer.
    DamagedDatabaseError
        The file is damaged.
    NewerDatabaseError
        A newer labctl made the tables: they may mean something else.
    """
    if not there(place):
        return []
    return ask_file(place, query, values) if isinstance(place, Path) else ask_server(place, query, values)


def refuse_other(revision: str | None, place: Place) -> None:
    """Raise NewerDatabaseError when we do not know these tables, MaterialsDBError when they are an older labctl's."""
    if revision in REVISIONS[:-1]:
        raise MaterialsDBError(
            f"the database {place} was made by an older labctl (tables of version {revision}, now {REVISIONS[-1]});"
            " the next labctl campaign run or resume brings it up to date"
        )
    if revision is not None and revision not in REVISIONS:
        raise NewerDatabaseError(
            f"the database {place} has tables of version {revision}, which this labctl does not know"
            f" (it knows up to {max(REVISIONS)}). Nothing was touched. Upgrade labctl, or open another lab."
        )


# -- SQLite -----------------------------------------------------------------------------------


def ask_file(path: Path, query: str, values: Sequence[Any]) -> list[Row]:
    """Ask a SQLite file."""
    with reading(path) as connection:
        connection.row_factory = sqlite3.Row
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'labctl_version'").fetchone():
            return []  # a worker is making the tables at this moment
        row = connection.execute("SELECT version_num FROM labctl_version").fetchone()
        refuse_other(row and row[0], path)
        return [dict(row) for row in connection.execute(query, values)]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be read only. Raises MaterialsDBError for whatever SQLite says of it meanwhile."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        yield connection
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise DamagedDatabaseError(path, error) from error
        raise MaterialsDBError(f"cannot read the database {path}: {error}") from error
    finally:
        connection.close()


def is_damage(error: BaseException) -> bool:
    """Whether it says that a SQLite file is damaged, also from within what SQLAlchemy made of it.

    Text that is no UTF-8 has no code of its own: Python's module says so in words.
    """
    said = getattr(error, "orig", None) or error
    if not isinstance(said, sqlite3.DatabaseError):
        return isinstance(said, DamagedDatabaseError)
    code = getattr(said, "sqlite_errorcode", 0) & 0xFF  # the rest tells more about the same
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(said).startswith("Could not decode to UTF-8")


def faults_of(path: Path, most: int = 1) -> list[str]:
    """What SQLite finds wrong with the file when it looks at every page, read-only; empty where it is sound.

    Raises
    ------
    DamagedDatabaseError
        It cannot even begin.
    """
    with reading(path) as connection:
        said = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({most:d})")]
    return [] if said == ["ok"] else [" ".join(words.split()) for words in said]


# -- PostgreSQL -------------------------------------------------------------------------------


def libpq(url: str) -> str:
    """The address without the name of our driver, as PostgreSQL's own tools have it."""
    return re.sub(r"^postgresql\+psycopg:", "postgresql:", url)


class Server:
    """A connection that is kept between looks: a new one costs the server a process each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: psycopg.Connection[Row] | None = None
        self._turn = threading.RLock()
        self._known = False  #: whether this connection has seen tables that we know

    def has_tables(self) -> bool:
        """Whether our tables are there. Raises NewerDatabaseError."""
        if not self._known and self.rows("SELECT 1 WHERE to_regclass('labctl_version') IS NOT NULL", ()):
            found = self.rows("SELECT version_num FROM labctl_version", ())
            refuse_other(found[0]["version_num"] if found else None, self.url)
            self._known = bool(found)
        return self._known

    def connection(self) -> psycopg.Connection[Row]:
        """The connection, opened if need be. It cannot write."""
        import psycopg
        from psycopg.rows import dict_row
        from psycopg.types.string import TextLoader

        if self._connection is None or self._connection.closed:
            options = "-c default_transaction_read_only=on"
            self._connection = psycopg.connect(
                libpq(self.url), autocommit=True, row_factory=dict_row, options=options, connect_timeout=CONNECT_S
            )
            self._connection.adapters.register_loader("json", TextLoader)  # as SQLite gives it
        return self._connection

    def rows(self, query: str, values: Sequence[Any]) -> list[Row]:
        """Rows of a query; one more try when the connection that was kept has gone."""
        import psycopg

        kept = self._connection is not None
        try:
            with self._turn:
                return self.connection().execute(query.encode(), values).fetchall()
        except psycopg.OperationalError as error:
            self.close()
            if kept:
                return self.rows(query, values)
            raise unreachable(self.url, error) from error
        except psycopg.Error as error:
            raise MaterialsDBError(f"cannot read the database {self.url}: {error}") from error

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._known = None, False


@functools.cache
def server(url: str) -> Server:
    """The server at that address; its connection is closed when the process ends."""
    found = Server(url)
    atexit.register(found.close)
    return found


def unreachable(url: str, error: Exception) -> UnreachableError:
    """What to say when a server does not answer."""
    return UnreachableError(f"the database {url} does not answer: {' '.join(str(error).split())}")


def ask_server(url: str, query: str, values: Sequence[Any]) -> list[Row]:
    """Ask PostgreSQL, in its own words."""
    return server(url).rows(for_postgresql(query), values)


@functools.cache
def for_postgresql(query: str) -> str:
    """The same query as PostgreSQL says it."""
    return FIELD.sub(r"(\1 #>> '{\2,\3}')", query.replace("%", "%%").replace("?", "%s"))
