"""A materials database in dictionaries: for tests, forecasts and whole campaigns under a virtual clock.

Same promises as the SQL store, checked by the same suite; nothing survives the process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from materials_db import chain, rules
from materials_db.errors import DamagedFileError, IntegrityError
from materials_db.records import Event, Lease, RawFile, Record, Worker

R = TypeVar("R", bound=Record)
INDEXED = ("campaign_id", "experiment_id", "sample_id", "job_id", "state")


class MemoryStore:
    """See module."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Record]] = {kind.kind: {} for kind in rules.ALL}
        self.index: dict[tuple[str, str, Any], dict[str, None]] = {}
        self.log: list[dict[str, Any]] = []
        self.numbers: dict[str, int] = {}
        self.allowances: dict[str, int] = {}
        self.leased: dict[str, Lease] = {}
        self.hosts: dict[str, Worker] = {}
        self.raw: dict[str, bytes] = {}
        self.lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        with self.lock, ExitStack() as unless_done:
            tx = MemoryTransaction(self)
            unless_done.callback(tx.undo)
            yield tx
            unless_done.pop_all()

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryTransaction:
    """Writes at once and remembers how to take it back."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self._undo: list[Callable[[], object]] = []

    def undo(self) -> None:
        """Take back everything that was written."""
        for step in reversed(self._undo):
            step()

    def add(self, *records: Record, at: datetime, actor: str) -> None:
        lines = []
        for record in records:
            rules.check_measurement(record)
            known = self.store.tables[record.kind].get(record.id)
            if known is None:
                self._check_pointers(record)
                self._put(record)
                lines.append((f"{record.kind}.added", record.id, record.model_dump(mode="json")))
            elif not same_facts(known, record):
                raise rules.conflict(record)
        self._log(lines, at, actor)

    def _check_pointers(self, record: Record) -> None:
        for field, kind in rules.POINTS.get(record.kind, {}).items():
            id = getattr(record, field)
            if id is not None and id not in self.store.tables[kind]:
                raise IntegrityError(f"{record.kind} {record.id} points at {kind} {id}, which is not on record")

    def _put(self, record: Record) -> None:
        table = self.store.tables[record.kind]
        before = table.get(record.id)
        table[record.id] = record
        self._undo.append(lambda: table.pop(record.id) if before is None else table.__setitem__(record.id, before))
        for field in INDEXED:
            self._reindex(record.kind, field, record.id, getattr(before, field, None), getattr(record, field, None))

    def _reindex(self, kind: str, field: str, id: str, before: Any, after: Any) -> None:
        if before == after:
            return
        index = self.store.index
        if before is not None:
            index[kind, field, before].pop(id, None)
            self._undo.append(lambda: index[kind, field, before].__setitem__(id, None))
        if after is not None:
            index.setdefault((kind, field, after), {})[id] = None
            self._undo.append(lambda: index[kind, field, after].pop(id, None))

    def _log(self, lines: Sequence[tuple[str, str, dict[str, Any]]], at: datetime, actor: str) -> None:
        log = self.store.log
        prev = log[-1]["hash"] if log else chain.GENESIS
        length = len(log)
        log.extend(chain.append(prev, length + 1, at, actor, lines))
        self._undo.append(lambda: log.__delitem__(slice(length, None)))

    def get(self, kind: type[R], id: str) -> R:
        record = self.store.tables[kind.kind].get(id)
        if record is None:
            raise rules.not_found(kind, id, self.store.tables[kind.kind])
        assert isinstance(record, kind)
        return record

    def find(
        self, kind: type[R], /, *, order: str = "id", newest_first: bool = False, limit: int | None = None, **equal: Any
    ) -> list[R]:
        found = [r for r in self._candidates(kind, equal) if all(matches(getattr(r, f), v) for f, v in equal.items())]
        found.sort(key=lambda r: ((value := getattr(r, order)) is not None, value, r.id), reverse=newest_first)
        return found[:limit]

    def standing(self, kind: type[Record], /, **equal: Any) -> list[dict[str, Any]]:
        return [r.model_dump(include={"id", *kind.mutable}) for r in self.find(kind, **equal)]

    def _candidates(self, kind: type[R], equal: dict[str, Any]) -> list[R]:
        table = self.store.tables[kind.kind]
        if (id := equal.get("id")) is not None:
            wanted = [id] if isinstance(id, str) else id
            return [r for i in wanted if isinstance(r := table.get(i), kind)]
        field = next((f for f in INDEXED if f in equal and not isinstance(equal[f], list | tuple)), None)
        ids = table if field is None else self.store.index.get((kind.kind, field, equal[field]), {})
        return [r for id in list(ids) if isinstance(r := table[id], kind)]

    def move(
        self, kind: type[R], id: str, *, at: datetime, actor: str, was: Sequence[str] | None = None, **changes: Any
    ) -> R:
        rules.check_move(kind, changes)
        before = self.get(kind, id)
        state = getattr(before, "state", None)
        if was is not None and state not in was:
            raise rules.wrong_state(kind, id, state, was)
        after = kind.model_validate({**before.model_dump(), **changes})
        self._put(after)
        self._log([(f"{kind.kind}.moved", id, changed(after, changes))], at, actor)
        return after

    def next_number(self, series: str) -> int:
        numbers = self.store.numbers
        before = numbers.get(series, 0)
        numbers[series] = before + 1
        self._undo.append(lambda: numbers.__setitem__(series, before))
        return before + 1

    def take(self, name: str, amount: int, limit: int | None) -> bool:
        allowances = self.store.allowances
        before = allowances.get(name)
        if limit is not None and (before or 0) + amount > limit:
            return False
        allowances[name] = (before or 0) + amount
        self._undo.append(lambda: allowances.pop(name) if before is None else allowances.__setitem__(name, before))
        return True

    def count_from(self, name: str, amount: int) -> None:
        if name not in self.store.allowances:
            self.take(name, amount, None)

    def taken(self, name: str) -> int | None:
        return self.store.allowances.get(name)

    def claim(self, instrument: str, holder: str, *, at: datetime) -> Lease | None:
        known = self.store.leased.get(instrument)
        if known is not None and known.holder == holder:
            return known
        if known is not None and known.holder is not None:
            return None
        lease = Lease(instrument=instrument, holder=holder, fence=known.fence + 1 if known else 1, since=at)
        self._lease(lease, known)
        return lease

    def release(self, instrument: str, holder: str) -> bool:
        known = self.store.leased.get(instrument)
        if known is None or known.holder != holder:
            return False
        self._lease(known.model_copy(update={"holder": None, "since": None}), known)
        return True

    def _lease(self, lease: Lease, before: Lease | None) -> None:
        leased = self.store.leased
        leased[lease.instrument] = lease
        self._undo.append(
            lambda: leased.pop(lease.instrument) if before is None else leased.__setitem__(lease.instrument, before)
        )

    def leases(self) -> list[Lease]:
        return sorted(self.store.leased.values(), key=lambda lease: lease.instrument)

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - stands for a server's clock

    def beat(self, worker: Worker) -> None:
        before = dict(self.store.hosts)
        self.store.hosts[worker.host] = worker
        self._undo.append(lambda: setattr(self.store, "hosts", before))

    def workers(self) -> list[Worker]:
        return [self.store.hosts[name] for name in sorted(self.store.hosts)]

    def put_raw(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.store.raw[sha256] = content
        return sha256

    def read_raw(self, sha256: str) -> bytes:
        content = self.store.raw.get(sha256)
        if content is None:
            raise DamagedFileError(f"raw file {sha256} is missing")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedFileError(f"raw file {sha256} is not what its name says: its bytes have changed")
        return content

    def events(self, *, subject: str | None = None, after: int = 0, limit: int | None = None) -> list[Event]:
        rows = [row for row in self.store.log[after:] if subject is None or row["subject"] == subject]
        return [chain.event(row) for row in rows[:limit]]

    def verify_events(self) -> int:
        return chain.verify(self.store.log)


def matches(value: Any, wanted: Any) -> bool:
    """Whether a field equals what is asked for; a list or tuple means any of it."""
    return value in wanted if isinstance(wanted, list | tuple) else bool(value == wanted)


def same_facts(known: Record, record: Record) -> bool:
    """Whether two records say the same, leaving aside what may have moved since.

    The same bytes are the same file, whoever brought them first: samples of one tray bring them at once.
    """
    if isinstance(known, RawFile):
        return True
    fixed = {field for field in type(known).model_fields if field not in known.mutable}
    return known.model_dump(include=fixed) == record.model_dump(include=fixed)


def changed(after: Record, changes: dict[str, Any]) -> dict[str, Any]:
    """The changed fields as JSON, for the log."""
    return after.model_dump(mode="json", include=set(changes))
