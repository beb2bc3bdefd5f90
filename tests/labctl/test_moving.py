"""A lab's data move from a file to a server: all of them, or none."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from labctl import moving, wiring
from labctl.errors import UsageError
from labctl.locks import host_lock
from materials_db import glance, looking
from materials_db import records as db
from materials_db.errors import ConflictError, DamagedFileError, DamagedLogError
from tests import postgres
from tests.records import AT

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    fresh = postgres.fresh_database(postgres_url)
    yield fresh
    looking.server(fresh).close()


def tables_on(url: str) -> int:
    with psycopg.connect(looking.libpq(url)) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row is not None
        return int(row[0])


def test_all_rows_and_the_log_arrive_and_the_file_says_so(small_lab: Path, url: str) -> None:
    lab = wiring.open_lab(small_lab)
    with lab.store.transaction() as tx:
        events, next_run = tx.events(), tx.next_number("R")
    before = (small_lab / "labctl.toml").read_text()
    counts = moving.move_to(lab, url, switch=True)
    assert counts["event"] == len(events)
    moved = wiring.open_lab(small_lab)
    assert moved.url == url
    assert (small_lab / "labctl.toml").read_text().replace(f'database = "{url}"\n', "") == before
    assert glance.experiments(url) == glance.experiments(lab.glance_path)
    with moved.store.transaction() as tx:
        assert tx.events() == events
        assert tx.next_number("R") == next_run + 1
    assert counts["raw_bytes"] == 1
    shutil.rmtree(small_lab / ".labctl" / "raw")  # of no use any more
    assert {row["state"] for row in moving.check(moved)} == {"ok"}
    moved.store.close()


def test_a_raw_file_that_is_gone_is_said_and_nothing_is_moved(small_lab: Path, url: str) -> None:
    shutil.rmtree(small_lab / ".labctl" / "raw")
    with pytest.raises(DamagedFileError, match="missing"):
        moving.move_to(wiring.open_lab(small_lab), url, switch=True)
    assert tables_on(url) == 0


def test_without_switch_the_lab_stays_where_it_is(small_lab: Path, url: str) -> None:
    before = (small_lab / "labctl.toml").read_text()
    moving.move_to(wiring.open_lab(small_lab), url, switch=False)
    assert (small_lab / "labctl.toml").read_text() == before


def test_a_database_line_that_is_there_is_replaced(small_lab: Path) -> None:
    path = small_lab / "labctl.toml"
    path.write_text(path.read_text().replace("[lab]\n", '[lab] # ours\ndatabase = "sqlite:///old.sqlite" # here\n'))
    moving.switch_to(path, "postgresql:///lab")
    assert wiring.open_lab(small_lab).url == "postgresql+psycopg:///lab"
    assert "old.sqlite" not in path.read_text()


def test_a_target_that_is_not_empty_is_refused(small_lab: Path, url: str) -> None:
    with psycopg.connect(looking.libpq(url), autocommit=True) as connection:
        connection.execute("CREATE TABLE accounts (id int)")
    with pytest.raises(ConflictError, match="accounts"):
        moving.move_to(wiring.open_lab(small_lab), url, switch=True)
    assert tables_on(url) == 1


def test_nothing_is_moved_while_a_worker_runs(small_lab: Path, url: str) -> None:
    lab = wiring.open_lab(small_lab)
    lock = host_lock(lab)
    lock.take()
    with pytest.raises(moving.BusyError, match="worker"):
        moving.move_to(lab, url, switch=True)
    lock.release()
    assert tables_on(url) == 0


def test_nothing_is_moved_while_a_campaign_is_under_way(small_lab: Path, url: str) -> None:
    lab = wiring.open_lab(small_lab)
    with lab.store.transaction() as tx:
        old = tx.get(db.Campaign, "C-0001")
        tx.add(old.model_copy(update={"id": "C-0002", "state": "running", "ended_at": None}), at=AT, actor="test")
    with pytest.raises(moving.BusyError, match="C-0002"):
        moving.move_to(lab, url, switch=True)
    assert tables_on(url) == 0


def test_a_damaged_log_leaves_the_target_empty(small_lab: Path, url: str) -> None:
    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.execute("DROP TRIGGER event_no_update")
    connection.execute("UPDATE event SET actor = 'nobody' WHERE seq = 5")
    connection.commit()
    connection.close()
    lab = wiring.open_lab(small_lab)
    with pytest.raises(DamagedLogError, match="line 5"):
        moving.move_to(lab, url, switch=True)
    assert tables_on(url) == 0
    assert {row["check"]: row["state"] for row in moving.check(lab)}["audit log"] == "wrong"
    lab.store.close()


def test_links_that_lead_nowhere_and_lost_raw_files_are_found(small_lab: Path) -> None:
    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.execute("DROP TRIGGER sample_no_delete")
    connection.execute("DELETE FROM sample WHERE id = 'S-00002'")
    connection.commit()
    connection.close()
    file = next(p for p in (small_lab / ".labctl" / "raw").rglob("*") if p.is_file())
    file.unlink()
    lab = wiring.open_lab(small_lab)
    states = {row["check"]: row for row in moving.check(lab)}
    assert "sample_id is not there" in states["links"]["found"]
    assert states["raw files"]["state"] == "wrong"
    lab.store.close()


def test_a_lab_on_a_server_is_not_moved_again(small_lab: Path, url: str) -> None:
    moving.move_to(wiring.open_lab(small_lab), url, switch=True)
    with pytest.raises(UsageError, match="on a server already"):
        moving.move_to(wiring.open_lab(small_lab), url, switch=True)


def test_a_row_that_was_replaced_by_hand_is_told_by_check(small_lab: Path) -> None:
    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.execute("INSERT OR REPLACE INTO recipe SELECT id, steps, batch_mg + 1 FROM recipe")
    connection.commit()
    connection.close()
    done = subprocess.run([sys.executable, "-m", "labctl", "db", "check"], capture_output=True, text=True, timeout=60)
    states = {line.split("\t")[1]: line.split("\t") for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert [name for name, line in states.items() if line[0] == "wrong"] == ["rows"]
    assert ": batch_mg is " in states["rows"][2]


def test_rows_are_not_compared_with_a_log_that_was_changed(small_lab: Path) -> None:
    connection = sqlite3.connect(small_lab / ".labctl" / "lab.sqlite")
    connection.execute(
        "INSERT OR REPLACE INTO event SELECT seq, at, 'nobody', type, subject, payload, prev_hash, hash FROM event"
    )
    connection.commit()
    connection.close()
    lab = wiring.open_lab(small_lab)
    states = {row["check"]: row["state"] for row in moving.check(lab)}
    assert (states["audit log"], states["rows"]) == ("wrong", "note")
    lab.store.close()
