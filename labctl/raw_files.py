"""Raw files of a sample as files of a folder: for those who want to look into them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import ExistsError, UsageError

if TYPE_CHECKING:
    from materials_db.records import RawFile
    from materials_db.store import Transaction
    from materials_db.trace import Trace


def write(tx: Transaction, found: Trace, folder: Path) -> list[Path]:
    """All raw files behind a sample, hashed again on the way; those that are there already stay.

    Raises
    ------
    UsageError
        The folder is a file.
    ExistsError
        A file of that name says something else; nothing was written.
    DamagedFileError
        A raw file is not there or has changed; nothing was written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--raw-files {folder}: this is no folder", hint="name a folder")
    contents = {folder / name_of(file): tx.read_raw(file.id) for file in found.raw_files.values()}
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content:
            raise ExistsError(f"{path} is there already and says something else; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        path.write_bytes(content)
    return list(contents)


def name_of(file: RawFile) -> str:
    """The name that the instrument gave it, with the beginning of its hash: names repeat, hashes do not."""
    given = Path(file.name)
    return f"{given.stem}-{file.id[:12]}{given.suffix}"
