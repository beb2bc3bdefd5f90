"""The hash chain of the audit log: every line covers the line before.

Canonical JSON (RFC 8785) is what is hashed and what is stored, because the same number
can be written in several ways and a hash must not depend on which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import rfc8785

from materials_db.errors import DamagedLogError
from materials_db.records import Event

GENESIS = "0" * 64  #: stands before the first line


def stamp(at: datetime) -> str:
    """A moment as the log writes it: UTC, microseconds, sortable as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def unstamp(text: str) -> datetime:
    """The moment that `stamp` wrote."""
    return datetime.fromisoformat(text)


def link(prev_hash: str, seq: int, at: str, actor: str, type: str, subject: str, payload: bytes) -> str:
    """Hash of one line.

    Parameters
    ----------
    payload
        Canonical JSON, exactly as it is stored.
    """
    head = rfc8785.dumps([prev_hash, seq, at, actor, type, subject])
    return hashlib.sha256(head + b"\n" + payload).hexdigest()


def canonical(payload: dict[str, Any]) -> bytes:
    """The payload as RFC 8785 writes it."""
    return rfc8785.dumps(payload)


def append(
    prev_hash: str, first_seq: int, at: datetime, actor: str, lines: Iterable[tuple[str, str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """New lines as rows, each linked to the one before. `lines` are (type, subject, payload)."""
    rows = []
    when = stamp(at)
    for seq, (type, subject, payload) in enumerate(lines, start=first_seq):
        text = canonical(payload)
        digest = link(prev_hash, seq, when, actor, type, subject, text)
        rows.append(
            {
                "seq": seq, "at": when, "actor": actor, "type": type, "subject": subject,
                "payload": text.decode(), "prev_hash": prev_hash, "hash": digest,
            }
        )  # fmt: skip
        prev_hash = digest
    return rows


def verify(rows: Iterable[dict[str, Any]], expected: int | None = None) -> int:
    """Check a whole log, given as rows in order; the number of lines.

    Parameters
    ----------
    expected
        How many lines there must be, where that is known from elsewhere (truncation).

    Raises
    ------
    DamagedLogError
        Naming the first line that does not fit.
    """
    prev_hash, count = GENESIS, 0
    for row in rows:
        count += 1
        if row["seq"] != count:
            raise DamagedLogError(f"line {count} of the audit log is missing: line {row['seq']} stands in its place")
        found = link(
            row["prev_hash"], row["seq"], row["at"], row["actor"], row["type"], row["subject"], row["payload"].encode()
        )
        if row["prev_hash"] != prev_hash or row["hash"] != found:
            raise DamagedLogError(f"line {count} of the audit log ({row['type']} {row['subject']}) was changed")
        prev_hash = row["hash"]
    if expected is not None and count != expected:
        raise DamagedLogError(f"the audit log ends at line {count}, but {expected} lines were written")
    return count


def event(row: dict[str, Any]) -> Event:
    """One line as a value."""
    return Event(
        seq=row["seq"],
        at=unstamp(row["at"]),
        actor=row["actor"],
        type=row["type"],
        subject=row["subject"],
        payload=json.loads(row["payload"]),
        prev_hash=row["prev_hash"],
        hash=row["hash"],
    )
