"""What the database refuses.

MaterialsDBError
├── NotFoundError        no record of that id
├── ConflictError        it exists with other content, or its state has moved on
├── IntegrityError       it points at nothing, or breaks a rule
├── DamagedLogError      the audit log does not verify
├── DamagedFileError     a raw file is not what its name says
├── DamagedDatabaseError the database file itself cannot be read any more
├── NewerDatabaseError   made by a newer labctl
├── NetworkDriveError    a file on a drive where it would be lost
├── UnreachableError     it does not answer, or broke off in the middle
└── FormulaError         not a formula that can be trusted
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class MaterialsDBError(Exception):
    """The database refused."""


class NotFoundError(MaterialsDBError):
    """No record of that id.

    Parameters
    ----------
    kind
        What was looked for, where there is a list of it to look through.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ConflictError(MaterialsDBError):
    """A record exists with other content, or its state has moved on."""


class IntegrityError(MaterialsDBError):
    """A record points at something that is not there, or breaks a rule."""


class DamagedLogError(MaterialsDBError):
    """The audit log does not verify: a line was changed, removed or put in another order."""


class DamagedFileError(MaterialsDBError):
    """A raw file is missing or its bytes have changed."""


class DamagedDatabaseError(MaterialsDBError):
    """The SQLite file itself is damaged, by a disk or by a program that wrote into it.

    Parameters
    ----------
    said
        What SQLite says of it.
    """

    remedy = "move that file away, restore a backup in its place, then: labctl db check"

    def __init__(self, path: Path | str, said: object) -> None:
        super().__init__(f"the database {path} is damaged ({said}); labctl leaves it as it is")


class NewerDatabaseError(MaterialsDBError):
    """The database was made by a newer labctl. Nothing was touched."""


class NetworkDriveError(MaterialsDBError):
    """A database file on a network drive, where SQLite's locks do not hold."""

    remedy = (
        "keep the lab on a local disk, or its data on a server: database = 'postgresql+psycopg://USER@HOST/DATABASE'"
    )

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(
            f"the database {path} lies on a network drive ({kind}), where locks do not hold and data are lost"
        )


class UnreachableError(MaterialsDBError):
    """The database does not answer, or broke off in the middle: what was asked may have been done or not."""


class FormulaError(MaterialsDBError, ValueError):
    """A formula that cannot be trusted."""
