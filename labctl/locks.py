"""Who may do a lab's work: locks that are let go of when their holder dies, and only then.

On this machine the operating system holds them, on a PostgreSQL server the server does,
for as long as the holder's connection lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from labctl.labfile import MAIN
from materials_db import looking
from materials_db.looking import CONNECT_S, libpq, unreachable

if TYPE_CHECKING:
    import psycopg


# A machine that lost its power says no goodbye: the server gives its lock to others after half a minute.
ALIVE = "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"


class Place(Protocol):
    """What a lock needs of a lab: where it keeps its data."""

    @property
    def state(self) -> Path: ...

    @property
    def url(self) -> str: ...

    @property
    def on_server(self) -> bool: ...

    @property
    def glance_path(self) -> Path | str: ...


class Lock(Protocol):
    """Something that at most one process has."""

    def take(self) -> bool:
        """Whether it is ours now."""

    def release(self) -> None:
        """Let another process have it."""

    def is_free(self) -> bool:
        """Whether nobody has it at this moment."""

    def keep(self) -> bool:
        """Whether what we took is still ours, or can be had again after the server was away."""


class FileLock:
    """At most one process of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_free(self) -> bool:
        probe = FileLock(self.path)
        free = probe.take()
        probe.release()
        return free

    def keep(self) -> bool:
        return self._file is not None


class ServerLock:
    """At most one process of all that reach this PostgreSQL database."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        self.me = f"labctl {uuid.uuid4().hex[:12]} pid {os.getpid()} on {socket.gethostname()[:24]}"
        self._connection: psycopg.Connection[Any] | None = None

    def take(self) -> bool:
        """Raises UnreachableError when the server does not answer."""
        import psycopg

        if (has := self.holder()) and has != self.me:
            return False
        try:
            self._connection = psycopg.connect(
                libpq(self.url), autocommit=True, application_name=self.me, options=ALIVE, connect_timeout=CONNECT_S
            )
            taken = self._try(self._connection)
        except psycopg.OperationalError as error:
            self.release()
            raise unreachable(self.url, error) from error
        if not taken:
            self.release()
        return taken

    def _try(self, connection: psycopg.Connection[Any]) -> bool:
        """Ask for the lock. A connection of ours that broke may hold it still, until the server notices."""
        connection.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
            " WHERE application_name = %s AND pid <> pg_backend_pid()",
            [self.me],
        )
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [self.key]).fetchone()
        return row is not None and bool(row[0])

    def release(self) -> None:
        """Let go at once: of a connection that ends the server learns a moment later."""
        import psycopg

        if self._connection is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()
            self._connection = None

    def is_free(self) -> bool:
        return not self.holder()

    def holder(self) -> str:
        """Who has it, as it calls itself; empty when nobody has. Looking does not get in anybody's way."""
        high, low = divmod(self.key % 2**64, 2**32)
        rows = looking.server(self.url).rows(
            "SELECT coalesce(a.application_name, 'somebody') AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = %s AND l.objid = %s"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (high, low),
        )
        return str(rows[0]["name"]) if rows else ""

    def keep(self) -> bool:
        """True also while the server is away: then nobody else can have it either."""
        import psycopg

        from materials_db.errors import UnreachableError

        try:
            if self._connection is not None:
                self._connection.execute("SELECT 1")
                return True
        except psycopg.OperationalError:
            self.release()
        try:
            return self.take()
        except UnreachableError:
            return True


class Locks:
    """Several locks as one: all of them or none."""

    def __init__(self, *locks: Lock) -> None:
        self.locks = locks

    def take(self) -> bool:
        for lock in self.locks:
            if not lock.take():
                self.release()
                return False
        return True

    def release(self) -> None:
        for lock in reversed(self.locks):
            lock.release()

    def is_free(self) -> bool:
        return all(lock.is_free() for lock in self.locks)

    def keep(self) -> bool:
        return all(lock.keep() for lock in self.locks)


def host_lock(lab: Place, host: str = MAIN) -> Locks:
    """Who drives that host's instruments: at most one process of this machine, and of all machines.

    The first keeps two processes from the same cables and journals even when the server
    has lost sight of one of them, as of a process that was stopped and goes on.
    """
    if not lab.on_server:
        return Locks(FileLock(Path(lab.glance_path).with_suffix(".worker.lock")))
    return Locks(FileLock(lab.state / f"{host}.worker.lock"), ServerLock(lab.url, f"labctl host {host}"))


def is_worked(lab: Place, host: str) -> bool:
    """Whether a process drives that host's instruments, on whatever machine."""
    if not lab.on_server:
        return not host_lock(lab).is_free()
    return bool(ServerLock(lab.url, f"labctl host {host}").holder())


def control_lock(lab: Place) -> Locks:
    """Who decides what campaigns do next: one process of all. On a file it is the one that has the file."""
    return Locks(ServerLock(lab.url, "labctl control")) if lab.on_server else Locks()
