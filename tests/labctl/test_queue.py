"""What waits and why, as people read it: also where nobody works, a sample is parked, or the day is another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labctl.campaigning import apply_wish
from materials_db import glance, waiting
from materials_db import records as db
from materials_db.sql.store import SqlStore
from tests import postgres, records
from tests.campaigns.test_turns import queued

AT = records.AT


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SqlStore, Path | str]]:
    """A store with one campaign, of which one experiment waits; and where it is read."""
    place: Path | str = tmp_path / "lab.sqlite"
    if request.param == "postgresql":
        place = postgres.fresh_database(request.getfixturevalue("postgres_url"))
    url = f"sqlite:///{place}" if isinstance(place, Path) else place
    store = SqlStore.open(url, tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        tx.add(*records.floor(), records.campaign(), *queued(1, "C-0001", 0), at=AT, actor="test")
    yield store, place
    store.close()


def beat(store: SqlStore, ago: timedelta) -> None:
    """The last sign of life of the only worker."""
    with store.transaction() as tx:
        at = tx.now() - ago
        tx.beat(
            db.Worker(
                host="main", machine="m", pid=1, version="0", journal="j", control=True, since=at, beat_at=at, instruments=[]
            )
        )  # fmt: skip


def reasons(place: Path | str, *, planned: bool = False) -> dict[str, str]:
    return {row["job"]: row["reason"] for row in waiting.queue(place, planned=planned)}


def first(store: SqlStore, state: str) -> str:
    """Id of the first job in that state."""
    with store.transaction() as tx:
        return tx.find(db.Job, state=state)[0].id


def test_where_no_worker_gives_a_sign_of_life_the_queue_says_since_when(kept: tuple[SqlStore, Any]) -> None:
    store, place = kept
    job = first(store, "queued")
    beat(store, timedelta(seconds=1))
    assert not reasons(place)[job].startswith("no worker")
    beat(store, 2 * waiting.HOST_SILENT)
    assert reasons(place)[job].startswith("no worker since ")
    assert reasons(place)[job].endswith(": labctl campaign resume C-0001")


def test_a_parked_sample_is_in_the_queue_with_its_question(kept: tuple[SqlStore, Any]) -> None:
    store, place = kept
    job = first(store, "queued")
    with store.transaction() as tx:
        tx.move(db.Job, job, at=AT, actor="test", state="failed", fault="jam", started_at=AT, ended_at=AT)
        sample = tx.get(db.Job, job).sample_id
        task = db.Task(
            id="T-00001", question="parked", title="look at it", job_id=job, instrument="doser-1", samples=[sample],
            prompt={}, asked_at=AT, state="open",
        )  # fmt: skip
        tx.add(task, at=AT, actor="test")
    assert reasons(place)[job] == "waiting for a person: labctl task show T-00001"


@pytest.mark.parametrize(
    ("stamp", "words"),
    [("2026-01-05T18:59:12.5Z", "18:59"), ("2026-01-06 08:01 at the latest", "06 Jan 08:01")],
)
def test_a_moment_of_another_day_has_its_day(stamp: str, words: str) -> None:
    assert waiting.clock_time(stamp, "2026-01-05") == words


def test_what_people_have_asked_of_a_campaign_is_seen_until_it_is_done(kept: tuple[SqlStore, Any]) -> None:
    store, place = kept
    assert glance.campaign(place, "C-0001")["standing"] == "running"
    with store.transaction() as tx:
        apply_wish(tx, tx.get(db.Campaign, "C-0001"), "pause", datetime.now(UTC))
    found = glance.campaign(place, "C-0001")
    assert (found["state"], found["standing"]) == ("running", "running, pause wanted")
    held = "budget of 16 used; S-00011 held until a person answers: labctl task list"
    with store.transaction() as tx:
        tx.move(db.Campaign, "C-0001", at=AT, actor="test", state="paused", wanted="run", reason=held)
    with store.transaction() as tx:
        apply_wish(tx, tx.get(db.Campaign, "C-0001"), "pause", datetime.now(UTC))
    assert glance.campaign(place, "C-0001")["reason"] == held
