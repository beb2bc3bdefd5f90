"""A PostgreSQL server of our own, started by the tests that need one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from materials_db.looking import libpq


def binaries() -> Path | None:
    """Where the server's programs are; None when this machine has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def missing() -> str:
    """Why no server can be started, in words; empty when one can."""
    if binaries() is None:
        return "no PostgreSQL server on this machine (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not any(u.pw_name == "postgres" for u in pwd.getpwall()):
        return "PostgreSQL refuses to run as root, and there is no user postgres"
    return ""


@dataclass
class Cluster:
    """A private cluster on a loopback port."""

    folder: Path
    port: int
    prefix: tuple[str, ...] = ()  #: the server refuses root

    @property
    def url(self) -> str:
        """Its first database."""
        return f"postgresql+psycopg://lab@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *args: str) -> None:
        """One of PostgreSQL's own programs, on our data."""
        programs = binaries()
        assert programs is not None
        command = [*self.prefix, str(programs / program), "-D", str(self.folder / "data"), *args]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        """Serve; returns when it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def crash(self) -> None:
        """SIGQUIT: every connection is cut, nothing is tidied up."""
        self.run("pg_ctl", "-m", "immediate", "-w", "stop")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that can be crashed and started again.

    It does not lie in pytest's own folder: every session that begins shuts that one to other users.
    """
    with tempfile.TemporaryDirectory(prefix="labctl-pg-") as name:
        folder = Path(name)
        prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            prefix = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
        made = Cluster(folder, free_port(), prefix)
        made.run("initdb", "-U", "lab", "-A", "trust", "-E", "UTF8", "--locale=C")
        made.start()
        try:
            yield made
        finally:
            made.crash()


@contextmanager
def server() -> Iterator[str]:
    """A cluster that stays up; the URL of its first database."""
    with cluster() as made:
        yield made.url


def fresh_database(url: str) -> str:
    """A database of its own on the server."""
    name = f"lab_{uuid.uuid4().hex}"
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.rsplit("/", 1)[0] + f"/{name}"


def drop_database(url: str) -> None:
    """Away with a database, and with whoever is still connected."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(libpq(f"{server}/postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
