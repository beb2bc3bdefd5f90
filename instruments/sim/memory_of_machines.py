"""What the machines remember, on disk: runs, and where time stood. Survives a kill of the simulator."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PastRun:
    """One run of one machine."""

    device: str
    number: int
    label: str
    sample: str
    program: dict[str, Any]
    started: datetime
    duration_s: float
    attempt: int  #: how often this machine had run for this sample before
    code: int  #: fault with which it ends, 0 for none
    message: str
    aborted: datetime | None
    pieces: tuple[str, ...] = ()  #: the samples of a tray, when there are several; told when it is added


class MachineMemory:
    """Runs by machine, in SQLite; each START is on disk before it is acknowledged."""

    def __init__(self, path: Path | str, *, full_sync: bool = True) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'OFF'}")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS run (device TEXT, number INTEGER, label TEXT, sample TEXT, program TEXT,"
            " started TEXT, duration_s REAL, attempt INTEGER, code INTEGER, message TEXT, aborted TEXT,"
            " PRIMARY KEY (device, number))"
        )
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS piece (sample TEXT, device TEXT, number INTEGER,"
            " PRIMARY KEY (sample, device, number)) WITHOUT ROWID"
        )
        self.db.execute("INSERT OR IGNORE INTO piece SELECT sample, device, number FROM run")  # from before trays
        self.db.execute("CREATE INDEX IF NOT EXISTS by_label ON run (label)")
        self.db.execute("CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT)")

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def add(self, run: PastRun) -> None:
        """Written before START is acknowledged, with every sample that it is about."""
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO piece VALUES (?, ?, ?)", [(s, run.device, run.number) for s in run.pieces or (run.sample,)]
        )
        self.db.execute(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                run.device, run.number, run.label, run.sample, json.dumps(run.program), run.started.isoformat(),
                run.duration_s, run.attempt, run.code, run.message,
            ),
        )  # fmt: skip
        self.db.execute("COMMIT")

    def abort(self, device: str, number: int, at: datetime) -> None:
        """The run was stopped."""
        self.db.execute("UPDATE run SET aborted=? WHERE device=? AND number=?", (at.isoformat(), device, number))

    def _rows(self, where: str, *values: Any) -> list[PastRun]:
        rows = self.db.execute(f"SELECT * FROM run WHERE {where}", values).fetchall()  # noqa: S608 - our own words
        return [
            PastRun(
                device=r[0], number=r[1], label=r[2], sample=r[3], program=json.loads(r[4]),
                started=datetime.fromisoformat(r[5]), duration_s=r[6], attempt=r[7], code=r[8], message=r[9],
                aborted=datetime.fromisoformat(r[10]) if r[10] else None,
            )
            for r in rows
        ]  # fmt: skip

    def run(self, device: str, number: int) -> PastRun | None:
        """One run of one machine."""
        return next(iter(self._rows("device=? AND number=?", device, number)), None)

    def last(self, device: str) -> PastRun | None:
        """The newest run of a machine."""
        return next(iter(self._rows("device=? ORDER BY number DESC LIMIT 1", device)), None)

    def labelled(self, device: str, label: str) -> PastRun | None:
        """The first run of a machine with that label."""
        return next(iter(self._rows("label=? AND device=? ORDER BY number LIMIT 1", label, device)), None)

    def runs(self, device: str) -> list[PastRun]:
        """All runs of a machine, oldest first."""
        return self._rows("device=? ORDER BY number", device)

    def of_sample(self, sample: str, device: str) -> list[PastRun]:
        """Runs of a machine for a sample, alone or in a tray, oldest first."""
        pieces = "SELECT number FROM piece WHERE sample=? AND device=?"
        return self._rows(f"device=? AND number IN ({pieces}) ORDER BY number", device, sample, device)

    def acts(self) -> dict[str, int]:
        """How often each labelled act was begun, over all machines."""
        return dict(self.db.execute("SELECT label, count(*) FROM run GROUP BY label").fetchall())

    def acts_on(self) -> dict[str, dict[str, int]]:
        """How often each labelled act was begun on each sample: sample -> label -> count. A tray counts for all in it."""
        query = "SELECT p.sample, r.label, count(*) FROM piece p JOIN run r USING (device, number) GROUP BY 1, 2"
        found: dict[str, dict[str, int]] = {}
        for sample, label, count in self.db.execute(query).fetchall():
            found.setdefault(sample, {})[label] = count
        return found

    def made(self) -> dict[str, int]:
        """How often each sample was made: runs that dosed."""
        query = "SELECT sample, count(*) FROM run WHERE program LIKE '%\"doses\"%' GROUP BY sample"
        return dict(self.db.execute(query).fetchall())

    def note(self, key: str, value: str) -> None:
        """Keep a fact beside the runs."""
        self.db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, value))

    def noted(self, key: str) -> str | None:
        """A fact that was kept."""
        row = self.db.execute("SELECT value FROM note WHERE key=?", (key,)).fetchone()
        return str(row[0]) if row else None
