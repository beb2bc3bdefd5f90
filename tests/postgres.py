"""A PostgreSQL server of our own, started by the tests that need one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A private cluster on a loopback port; the URL of its database."""
    programs = binaries()
    assert programs is not None
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses root
        shutil.chown(folder, "postgres")
        for parent in [folder, *folder.parents][:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)
        prefix = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    data, port = folder / "data", free_port()

    def run(*command: str) -> None:
        subprocess.run(
            [*prefix, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )

    run(str(programs / "initdb"), "-D", str(data), "-U", "lab", "-A", "trust", "-E", "UTF8", "--locale=C")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    run(str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://lab@127.0.0.1:{port}/postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")


def fresh_database(url: str) -> str:
    """A database of its own on the server."""
    name = f"lab_{uuid.uuid4().hex}"
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.rsplit("/", 1)[0] + f"/{name}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
