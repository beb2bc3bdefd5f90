"""`labctl init`: a lab's folder with commented files to start from."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from labctl.errors import ExistsError, UsageError
from labctl.finding import addressable


def kinds() -> list[str]:
    """The labs that can be made."""
    return sorted(entry.name for entry in files("labctl").joinpath("templates").iterdir() if entry.is_dir())


def initialise(folder: Path, lab: str = "electrolyte") -> list[Path]:
    """Write the files of a new lab; the paths written.

    Raises
    ------
    ExistsError
        A file is already there. Nothing is written over, nothing is written at all.
    """
    if lab not in kinds():
        raise UsageError(f"there is no lab of the kind {lab!r}", hint=f"there are: {', '.join(kinds())}")
    if folder.exists() and not folder.is_dir():
        raise ExistsError(f"{folder} is a file", hint="name another folder")
    addressable(folder.resolve())
    wanted = {folder / name: source for name, source in walk(files("labctl").joinpath("templates", lab))}
    taken = [path for path in wanted if path.exists()]
    if taken:
        raise ExistsError(f"{taken[0]} is there already; nothing was written", hint="name another folder")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "lab"
    for path, source in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text(encoding="utf-8").replace("LAB_NAME", name), encoding="utf-8")
    return list(wanted)


def walk(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    """All files below a folder, with their names inside it."""
    found: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        name = f"{prefix}{entry.name}"
        found += walk(entry, f"{name}/") if entry.is_dir() else [(name, entry)]
    return found
