"""The seam to the database: append records, move states, ask for both.

Two implementations pass one suite: `materials_db.memory` (dictionaries, shipped for tests
and forecasts) and `materials_db.sql` (SQLite by default).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from materials_db.records import Event, Lease, Record, Worker

R = TypeVar("R", bound=Record)


class Transaction(Protocol):
    """One all-or-nothing piece of work. Nothing is visible to others until it commits."""

    def add(self, *records: Record, at: datetime, actor: str) -> None:
        """Write new records, each with its event.

        Raises
        ------
        ConflictError
            A record with that id exists with other content. The same content again is
            no error and writes nothing, so that a repeated step is harmless.
        IntegrityError
            A record points at something that is not there, or breaks a rule.
        """

    def get(self, kind: type[R], id: str) -> R:
        """The record of that id. Raises NotFoundError, naming the nearest known ids."""

    def find(
        self, kind: type[R], /, *, order: str = "id", newest_first: bool = False, limit: int | None = None, **equal: Any
    ) -> list[R]:
        """Records whose fields equal what is given (a list or tuple means any of), in order."""

    def standing(self, kind: type[Record], /, **equal: Any) -> list[dict[str, Any]]:
        """Of such records, by id, only the id and what `move` may change: plans and files stay where they are."""

    def move(
        self, kind: type[R], id: str, *, at: datetime, actor: str, was: Sequence[str] | None = None, **changes: Any
    ) -> R:
        """Change the mutable fields of one record, if its state is one of `was`.

        One conditional update, never select-then-set. Raises ConflictError when the state
        is another one, NotFoundError when the record is not there.
        """

    def next_number(self, series: str) -> int:
        """1, 2, 3, ... within a named series; never given twice, gaps possible after a rollback."""

    def take(self, name: str, amount: int, limit: int | None) -> bool:
        """Add to what is taken of something that runs out, unless more than `limit` would be taken then.

        One conditional statement; a negative amount gives back. False when nothing was taken.
        """

    def count_from(self, name: str, amount: int) -> None:
        """Begin to count what is taken of something, so much of it being taken already; nothing where that was begun."""

    def taken(self, name: str) -> int | None:
        """How much of it is taken; None when nobody ever took any."""

    def claim(self, instrument: str, holder: str, *, at: datetime) -> Lease | None:
        """Take the lease of an instrument, or keep it if `holder` has it; None while another holds it."""

    def release(self, instrument: str, holder: str) -> bool:
        """Give the lease back; False when `holder` did not have it."""

    def leases(self) -> list[Lease]:
        """All leases ever taken, by instrument."""

    def now(self) -> datetime:
        """Wall time by the database's clock: the one clock that all machines of a lab can see."""

    def beat(self, worker: Worker) -> None:
        """Write down that this worker lives; it takes the place of what its host said before."""

    def workers(self) -> list[Worker]:
        """What every host said last, by name."""

    def put_raw(self, content: bytes) -> str:
        """Store bytes under their SHA-256 (fsynced, read-only) and return it. Idempotent."""

    def read_raw(self, sha256: str) -> bytes:
        """The bytes, re-hashed on the way. Raises DamagedFileError when they differ."""

    def events(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> list[Event]:
        """The audit log in order."""

    def verify_events(self) -> int:
        """Check the whole hash chain; the number of events. Raises DamagedLogError naming the first bad one."""


class MaterialsStore(Protocol):
    """Where everything is remembered."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commits when the block ends well, rolls back when it raises."""

    def close(self) -> None: ...
