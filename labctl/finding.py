"""Where the lab is, found without importing anything that takes time."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from labctl.errors import NoLabError, UsageError

FILE = "labctl.toml"
DATABASE = "sqlite:///.labctl/lab.sqlite"


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
        return folder.resolve()
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE).is_file():
            return folder
    raise NoLabError(f"no {FILE} in {start.resolve()} or any folder above it")


def sqlite_path(folder: Path) -> Path:
    """The lab's SQLite file.

    Raises
    ------
    UsageError
        The lab keeps its data elsewhere.
    """
    try:
        data = tomllib.loads((folder / FILE).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        from campaigns.toml_file import read

        data = read(folder / FILE).data  # says in which line what is wrong
    section = data.get("lab")
    url = section.get("database", DATABASE) if isinstance(section, dict) else DATABASE
    if not isinstance(url, str) or not url.startswith("sqlite:///"):
        raise UsageError(
            f"{folder / FILE}: lab.database is {url!r}", hint=f'use a SQLite file, for example "{DATABASE}"'
        )
    return (folder / url.removeprefix("sqlite:///")).resolve()
