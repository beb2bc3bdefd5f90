"""What a host remembers of its jobs, written to disk before anything is sent.

One SQLite file per instrument, in the host's hands alone. Every write waits for the disk:
after a crash the journal knows each act that may have begun.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from instruments.contract import Fault, JobRequest, JobResult, JobState, JobStatus

TABLE = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, request TEXT NOT NULL, mark TEXT NOT NULL, state TEXT NOT NULL,
    run_id TEXT, fault TEXT, message TEXT NOT NULL DEFAULT '', started_at TEXT NOT NULL, ended_at TEXT,
    result TEXT, released INTEGER NOT NULL DEFAULT 0
)
"""
HIGHEST = "CREATE TABLE IF NOT EXISTS fence (one INTEGER PRIMARY KEY CHECK (one = 1), highest INTEGER NOT NULL)"


@dataclass(frozen=True)
class Entry:
    """One job in the journal."""

    request: JobRequest
    digest: str
    mark: str
    state: JobState
    run_id: str | None
    fault: Fault | None
    message: str
    started_at: datetime
    ended_at: datetime | None
    released: bool

    def status(self, message: str = "", fault: Fault | None = None, eta: datetime | None = None) -> JobStatus:
        """As it is told to campaigns."""
        return JobStatus(
            job_id=self.request.job_id,
            state=self.state,
            fault=fault or self.fault,
            message=message or self.message,
            run_id=self.run_id,
            eta=eta,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )


class Journal:
    """See module.

    Parameters
    ----------
    path
        The file, or ``":memory:"`` for a forecast.
    full_sync
        Whether every write waits for the disk. Only a test or a forecast may say no.
    """

    def __init__(self, path: Path | str, *, full_sync: bool = True) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'OFF'}")
        self.db.execute("PRAGMA cache_size=-128")  # KiB; it is asked for single rows
        self.db.execute(TABLE)
        self.db.execute(HIGHEST)
        self._forget: list[str] = []

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def get(self, job_id: str) -> Entry | None:
        """What is known of a job."""
        row = self.db.execute(
            "SELECT request, digest, mark, state, run_id, fault, message, started_at, ended_at, released FROM job WHERE id=?",
            (job_id,),
        ).fetchone()
        if row is None:
            return None
        return Entry(
            request=JobRequest.model_validate_json(row[0]),
            digest=row[1],
            mark=row[2],
            state=JobState(row[3]),
            run_id=row[4],
            fault=Fault(row[5]) if row[5] else None,
            message=row[6],
            started_at=datetime.fromisoformat(row[7]),
            ended_at=datetime.fromisoformat(row[8]) if row[8] else None,
            released=bool(row[9]),
        )

    def admit(self, fence: int) -> int:
        """The highest fence that ever came, this one included. Lower ones are of holders that were replaced."""
        row = self.db.execute(
            "INSERT INTO fence VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET highest = max(highest, excluded.highest)"
            " WHERE excluded.highest > highest RETURNING highest",
            (fence,),
        ).fetchone()
        return int(row[0] if row else self.db.execute("SELECT highest FROM fence").fetchone()[0])

    def intent(self, request: JobRequest, mark: str, at: datetime) -> None:
        """Written before START: from here on the act may have happened.

        What was released before is forgotten in the same commit, so that forgetting costs
        no wait for the disk of its own.
        """
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("UPDATE job SET result=NULL, released=1 WHERE id=?", [(id,) for id in self._forget])
        self.db.execute(
            "INSERT OR REPLACE INTO job (id, digest, request, mark, state, started_at) VALUES (?, ?, ?, ?, ?, ?)",
            (request.job_id, request.digest, request.model_dump_json(), mark, JobState.INTENT.value, at.isoformat()),
        )
        self.db.execute("COMMIT")
        self._forget.clear()

    def running(self, job_id: str, run_id: str) -> None:
        """The device began it, as this run."""
        self.db.execute("UPDATE job SET state=?, run_id=? WHERE id=?", (JobState.RUNNING.value, run_id, job_id))

    def ended(
        self,
        job_id: str,
        state: JobState,
        at: datetime,
        *,
        fault: Fault | None = None,
        message: str = "",
        result: JobResult | None = None,
    ) -> None:
        """The job will not move again by itself."""
        self.db.execute(
            "UPDATE job SET state=?, fault=?, message=?, ended_at=?, result=? WHERE id=?",
            (
                state.value,
                fault.value if fault else None,
                message,
                at.isoformat(),
                result.model_dump_json() if result else None,
                job_id,
            ),
        )

    def result(self, job_id: str) -> JobResult | None:
        """What the job left behind, until it is released."""
        row = self.db.execute("SELECT result FROM job WHERE id=?", (job_id,)).fetchone()
        return JobResult.model_validate_json(row[0]) if row and row[0] else None

    def release(self, job_id: str) -> None:
        """The result is kept elsewhere; it is dropped here with the next intent."""
        self._forget.append(job_id)

    def open_jobs(self) -> list[str]:
        """Jobs that nobody has released."""
        rows = self.db.execute("SELECT id FROM job WHERE released=0 ORDER BY rowid").fetchall()
        return [row[0] for row in rows if row[0] not in self._forget]
