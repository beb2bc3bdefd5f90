"""Where the lab is and where it keeps its data, found without importing anything that takes time."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from labctl.errors import NoLabError, UsageError

FILE = "labctl.toml"
DATABASE = "sqlite:///.labctl/lab.sqlite"
POSTGRESQL = re.compile(r"postgresql(?:\+psycopg)?://(?:(?P<user>[^:@/\s]+)@)?[^@/\s]*(?:/[^@/\s?]*)?(?:\?[^\s]*)?")
WAYS = "keep it in ~/.pgpass or another file that PGPASSFILE names, or in PGPASSWORD"


def find_lab(start: Path, explicit: Path | None = None) -> Path:
    """The lab's folder: the one named, else LABCTL_LAB, else the nearest labctl.toml upward.

    Raises
    ------
    NoLabError
        Saying where was looked.
    """
    named = explicit or (Path(os.environ["LABCTL_LAB"]) if os.environ.get("LABCTL_LAB") else None)
    if named is not None:
        folder = named.parent if named.name == FILE else named
        if not (folder / FILE).is_file():
            raise NoLabError(f"{folder} is not a lab: there is no {FILE} in it")
        return addressable(folder.resolve())
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE).is_file():
            return addressable(folder)
    raise NoLabError(f"no {FILE} in {start.resolve()} or any folder above it")


def addressable(folder: Path) -> Path:
    """The folder, if an address of a database can name it. Raises UsageError."""
    if "?" in str(folder):
        raise UsageError(
            f"{folder}: a lab's folder can't have '?' in its path, where the address of its database would end; rename it"
        )
    return folder


def fault_of(url: str) -> str:
    """What is wrong with the address of a database; empty when nothing is. A password is never repeated."""
    if re.match(r"postgres(ql)?(\+\w+)?://", url):
        if re.match(r"[^:]+://[^:/\s]*:[^/]*@", url) or re.search(r"[?&](ssl)?password=", url, re.IGNORECASE):
            return f"an address must not hold a password, which would be read and copied with the file; {WAYS}"
        if POSTGRESQL.fullmatch(url):
            return ""
        return "this is no PostgreSQL address; write for example 'postgresql+psycopg://lab@dbhost/lab'"
    if re.fullmatch(r"sqlite:///[^?#]+", url):
        return ""
    return f"this is neither a SQLite file, for example {DATABASE!r}, nor 'postgresql+psycopg://USER@HOST/DATABASE'"


def resolved(url: str, folder: Path) -> str:
    """The address as our libraries want it; a relative SQLite path is one in the lab's folder."""
    if url.startswith("sqlite:///"):
        return f"sqlite:///{(folder / url.removeprefix('sqlite:///')).resolve()}"
    return re.sub(r"^postgresql:", "postgresql+psycopg:", url)


def place_of(url: str) -> Path | str:
    """Where the quick read-only views look: a file, or a server."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else url


def tables(folder: Path) -> dict[str, Any]:
    """The lab file as it stands, unchecked. Raises FileFaults where it is no TOML, with the line."""
    try:
        return tomllib.loads((folder / FILE).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        from campaigns.toml_file import read

        return dict(read(folder / FILE).data)


def database_place(folder: Path) -> Path | str:
    """The lab's SQLite file, or the address of its PostgreSQL database.

    Raises
    ------
    UsageError
        The address cannot be one.
    """
    data = tables(folder)
    section = data.get("lab")
    url = section.get("database", DATABASE) if isinstance(section, dict) else DATABASE
    if fault := fault_of(url) if isinstance(url, str) else "this is no text":
        raise UsageError(f"{folder / FILE}: lab.database: {fault}")
    return place_of(resolved(url, folder))
