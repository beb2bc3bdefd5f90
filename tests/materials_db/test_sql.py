"""What the database itself refuses, and what it survives."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlmodel import Session

from materials_db import records as db
from materials_db.errors import DamagedFileError, DamagedLogError, MaterialsDBError, NewerDatabaseError
from materials_db.sql.store import SqlStore
from materials_db.sql.tables import METADATA
from materials_db.sql.upgrade import VERSION_TABLE
from tests.postgres import fresh_database
from tests.records import AT, fill


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A filled SQLite database."""
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        fill(tx, experiments=3)
    store.close()
    return tmp_path / "lab.sqlite"


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


FORBIDDEN = [
    "UPDATE measurement SET value = 99",
    "DELETE FROM measurement",
    "UPDATE sample SET site = 'elsewhere'",
    "UPDATE event SET actor = 'nobody'",
    "DELETE FROM event",
    "UPDATE lot SET amount_mg = 1",
    "DELETE FROM experiment",
    "UPDATE campaign SET seed = 8",
    "UPDATE job SET params = '{}'",
    "UPDATE experiment SET number = 77",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_what_was_written_cannot_be_changed_even_by_hand(lab: Path, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|written once"):
        execute(lab, statement)


@pytest.mark.postgres
@pytest.mark.parametrize("statement", FORBIDDEN)
def test_postgresql_refuses_the_same(postgres_url: str, tmp_path: Path, statement: str) -> None:
    url = fresh_database(postgres_url)
    store = SqlStore.open(url, tmp_path / "raw")
    with store.transaction() as tx:
        fill(tx)
    with pytest.raises(sa.exc.DBAPIError, match=r"append-only|written once"), store.engine.begin() as connection:
        connection.execute(sa.text(statement))
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET payload = replace(payload, '0', '1') WHERE seq = 9",
        "UPDATE event SET actor = 'nobody' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 5",
        "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
        "UPDATE event SET seq = CASE seq WHEN 2 THEN -1 ELSE 2 END WHERE seq IN (2, 4)",
    ],
)
def test_any_edit_of_the_log_is_found(lab: Path, damage: str) -> None:
    execute(lab, "DROP TRIGGER event_no_update", "DROP TRIGGER event_no_delete", damage)
    store = SqlStore.open(f"sqlite:///{lab}", lab.parent / "raw")
    with store.transaction() as tx, pytest.raises(DamagedLogError):
        tx.verify_events()
    store.close()


def test_a_flipped_bit_in_a_raw_file_is_found(lab: Path) -> None:
    file = next(p for p in (lab.parent / "raw").rglob("*") if p.is_file())
    assert file.stat().st_mode & 0o222 == 0
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)
    store = SqlStore.open(f"sqlite:///{lab}", lab.parent / "raw")
    with store.transaction() as tx, pytest.raises(DamagedFileError, match="changed"):
        tx.read_raw(file.name)
    store.close()


def test_migrations_make_exactly_the_tables_of_the_code(lab: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{lab}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_what_others_write_beside_the_engine_s_transaction_is_seen(lab: Path) -> None:
    """Before its first write the durable engine's transaction has not locked the file."""
    engine = sa.create_engine(f"sqlite:///{lab}")
    with Session(engine) as session, SqlStore.over(session, lab.parent / "raw") as tx:
        assert tx.get(db.Campaign, "C-0001").wanted == "run"
        execute(lab, "UPDATE campaign SET wanted = 'stop' WHERE id = 'C-0001'")
        assert tx.get(db.Campaign, "C-0001").wanted == "stop"
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_untouched(lab: Path) -> None:
    execute(lab, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    before = lab.read_bytes()
    with pytest.raises(NewerDatabaseError, match="9999"):
        SqlStore.open(f"sqlite:///{lab}", lab.parent / "raw")
    assert lab.read_bytes() == before


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lab.sqlite"
    path.write_text("these are lab notes, not a database\n" * 50)
    with pytest.raises(MaterialsDBError, match=r"lab\.sqlite"):
        SqlStore.open(f"sqlite:///{path}", tmp_path / "raw")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaterialsDBError, match="nowhere"):
        SqlStore.open(f"sqlite:///{tmp_path}/nowhere/lab.sqlite", tmp_path)


def claim_often(url: str, raw: Path, name: str, wins: Any) -> None:
    """One of several processes that want the same leases."""
    store = SqlStore.open(url, raw, full_sync=False)
    for i in range(60):
        with store.transaction() as tx:
            if tx.claim(f"instrument-{i}", name, at=AT) is not None:
                wins.put((f"instrument-{i}", name))
    store.close()


def race(work: Callable[..., None], *args: Any) -> list[Any]:
    """Six processes at once; what they report."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        wins = manager.Queue()
        workers = [context.Process(target=work, args=(*args, f"worker-{i}", wins)) for i in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return [wins.get() for _ in range(wins.qsize())]


def test_six_processes_racing_for_leases_never_share_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lab.sqlite"
    SqlStore.open(url, tmp_path / "raw").close()
    wins = race(claim_often, url, tmp_path / "raw")
    assert len(wins) == 60
    assert len({instrument for instrument, _ in wins}) == 60


WRITER = """
import sys
from pathlib import Path
from materials_db import records as r
from materials_db.sql.store import SqlStore
from tests.records import AT
folder = Path(sys.argv[1])
store = SqlStore.open(f"sqlite:///{folder}/lab.sqlite", folder / "raw", full_sync=True)
while True:
    with store.transaction() as tx:
        n = tx.next_number("L")
        tx.add(r.Lot(id=f"L-{n}", component="EC", formula="C3H4O3", amount_mg=1, received_at=AT, origin="simulated"), at=AT, actor="w")
    print(n, flush=True)
"""


def test_a_kill_during_writes_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged += [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
        writer.wait()
        writer.stdout.close()
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw")
    with store.transaction() as tx:
        from materials_db import records as r

        kept = {lot.id for lot in tx.find(r.Lot)}
        assert {f"L-{n}" for n in acknowledged} <= kept
        assert tx.verify_events() == len(kept)
    store.close()


def test_quick_looks_know_the_same_versions_as_the_migrations() -> None:
    from materials_db import looking
    from materials_db.sql.upgrade import known

    assert sorted(looking.REVISIONS) == sorted(known())
