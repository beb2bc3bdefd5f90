"""Raw files by their content: the name of a file is the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from materials_db.errors import DamagedFileError


class RawFolder:
    """A folder of content-addressed, read-only files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the bytes of that hash are."""
        return self.folder / sha256[:2] / sha256

    def put(self, content: bytes) -> str:
        """Keep these bytes; harmless to repeat. Durable when it returns.

        Written to a temporary file, synced, renamed, and the folder synced: a crash leaves
        the whole file or none.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if path.exists():
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
            draft.write(content)
            draft.flush()
            os.fchmod(draft.fileno(), 0o444)
            os.fsync(draft.fileno())
        os.replace(draft.name, path)  # noqa: PTH105 - the atomic rename, by its name
        sync_folder(path.parent)
        return sha256

    def read(self, sha256: str) -> bytes:
        """The bytes, hashed again on the way. Raises DamagedFileError."""
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise DamagedFileError(f"raw file {sha256} is missing from {self.folder}") from None
        return unchanged(sha256, content, f"in {self.path(sha256).parent}")


def unchanged(sha256: str, content: bytes, where: str) -> bytes:
    """These bytes, if they are still those of that hash. Raises DamagedFileError."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError(f"raw file {sha256} {where} is not what its name says: its bytes have changed")
    return content


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
