"""Rows that were changed past the triggers are found by the log that knows better."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from materials_db import agreement as rules_of
from materials_db import chain, rules
from materials_db import records as db
from materials_db.agreement import Agreement
from materials_db.chain import canonical, stamp
from materials_db.sql.agreement import agreement
from materials_db.sql.store import SqlStore, make_engine
from materials_db.sql.tables import table
from materials_db.sql.upgrade import config
from tests import postgres
from tests.records import AT, campaign, fill


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """A store with three measured experiments."""
    url = f"sqlite:///{tmp_path}/lab.sqlite"
    if request.param == "postgresql":
        url = postgres.fresh_database(request.getfixturevalue("postgres_url"))
    opened = SqlStore.open(url, tmp_path / "raw", full_sync=False)
    with opened.transaction() as tx:
        fill(tx, experiments=3)
    yield opened
    opened.close()


def seen(store: SqlStore) -> Agreement:
    """What somebody sees who only looks."""
    reader = SqlStore.reader(str(store.engine.url), store.raw.folder)
    try:
        return agreement(reader)
    finally:
        reader.close()


def found(store: SqlStore) -> list[str]:
    """The rows that differ, in words."""
    return [str(difference) for difference in seen(store).first]


def tamper(store: SqlStore, *statements: str) -> None:
    """Write by hand, with whatever kept it out switched off."""
    with store.engine.begin() as connection:
        if store.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        else:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
                connection.exec_driver_sql(f"DROP TRIGGER {name[0]}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_rows_that_nobody_touched_agree(store: SqlStore) -> None:
    with store.transaction() as tx:
        count = sum(len(tx.find(kind)) for kind in rules.ALL)
    assert str(seen(store)) == f"{count}, all as the log says"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE measurement SET value = 99 WHERE id = 'M-00002'", ["measurement M-00002: value is 12 in the log, 99 in its row"]),
        ("UPDATE job SET state = 'failed' WHERE run = 'R-00001'", ["job E-00001/measure: state is 'done' in the log, 'failed' in its row"]),
        (
            """UPDATE job SET params = '{"repeats": 4}' WHERE run = 'R-00001'""",
            ["job E-00001/measure: params.repeats is 3 in the log, 4 in its row"],
        ),
        ("UPDATE experiment SET ended_at = NULL WHERE number = 3", [
            "experiment E-00003: ended_at is '2026-03-01T09:34:15.123456Z' in the log, None in its row"]),
        ("DELETE FROM measurement WHERE id = 'M-00003'", ["measurement M-00003 is in the log, but has no row"]),
        (
            "INSERT INTO lot SELECT 'L-9999', component, formula, supplier, supplier_lot, purity, amount_mg, price_per_g, currency,"
            " received_at, origin FROM lot",
            ["lot L-9999 is not in the log"],
        ),
    ],
)  # fmt: skip
def test_what_was_written_by_hand_is_named(store: SqlStore, statement: str, said: list[str]) -> None:
    tamper(store, statement)
    assert found(store) == said


def test_a_replaced_row_goes_past_the_triggers_and_is_named(tmp_path: Path) -> None:
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        fill(tx, experiments=2)
    by_hand = sqlite3.connect(tmp_path / "lab.sqlite")
    columns = ", ".join("'77.0'" if c.name == "value" else c.name for c in table("measurement").c)
    by_hand.execute(f"INSERT OR REPLACE INTO measurement SELECT {columns} FROM measurement WHERE id = 'M-00001'")
    by_hand.commit()
    by_hand.close()
    with store.transaction() as tx:
        assert tx.verify_events()
    assert found(store) == ["measurement M-00001: value is 11 in the log, 77 in its row"]
    store.close()


def test_of_many_that_differ_the_first_are_named_and_the_rest_counted(store: SqlStore) -> None:
    tamper(store, "UPDATE measurement SET quality = 'suspect'", "UPDATE sample SET site = 'elsewhere'")
    assert str(seen(store)).endswith("; and 3 more")


def test_what_is_no_json_and_no_number_any_more_is_named(tmp_path: Path) -> None:
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        fill(tx, experiments=2)
    tamper(
        store,
        "UPDATE job SET params = 'repeats' WHERE run = 'R-00001'",
        "UPDATE measurement SET u = 'little' WHERE id = 'M-00001'",
        "UPDATE lot SET received_at = 'yesterday'",
    )
    assert sorted(found(store)) == [
        "job E-00001/measure: params is {'repeats': 3} in the log, 'repeats' in its row",
        f"lot L-0001: received_at is {stamp(AT)!r} in the log, 'yesterday' in its row",
        "measurement M-00001: u is 0.05 in the log, 'little' in its row",
    ]
    store.close()


def test_lines_of_an_older_labctl_do_not_know_newer_fields() -> None:
    said = rules_of.logged(db.Campaign, ['{"id": "C-0001", "name": "old"}', '{"state": "done", "ended_at": null}'])
    assert (said["priority"], said["abort"], said["due_at"], said["state"]) == (0.0, False, None, "done")
    assert "seed" not in said
    row = {"id": "C-0001", "name": "old", "priority": 0, "abort": 0, "due_at": None, "state": "done", "seed": 7}
    assert rules_of.difference("campaign", "C-0001", said, row) is None


def test_a_lab_made_with_the_first_tables_agrees_once_it_is_brought_up_to_date(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/lab.sqlite", full_sync=False)
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        then = sa.Table("campaign", sa.MetaData(), autoload_with=connection)
        old = {name: value for name, value in campaign().model_dump().items() if name in then.c}
        connection.execute(sa.insert(then), {**old, "created_at": stamp(AT)})
        said = {name: value for name, value in campaign().model_dump(mode="json").items() if name in then.c}
        lines = chain.append(chain.GENESIS, 1, AT, "test", [("campaign.added", "C-0001", said)])
        connection.execute(sa.insert(table("event")), lines)
    engine.dispose()
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    assert "priority" not in said
    assert (seen(store).rows, found(store)) == (1, [])
    store.close()


@pytest.mark.parametrize(
    "value", [1.0, -0.0, 1e20, 1.2345678901234567e20, 1e21, 1e-7, 5e-324, 2**53 - 1, 0.1 + 0.2, "ü€\n"]
)
def test_what_the_log_writes_shorter_is_the_same(value: Any) -> None:
    assert rules_of.parsed(canonical({"x": value}).decode()) == {"x": value}


@pytest.mark.parametrize("kind", rules.ALL, ids=lambda kind: kind.kind)
def test_a_record_has_the_columns_of_its_table(kind: type[db.Record]) -> None:
    """Else a column would stand in no line of the log."""
    assert set(kind.model_fields) == set(table(kind.kind).c.keys())


def test_a_writer_may_go_on_meanwhile(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read after their lines: what is written between must not be seen."""
    from materials_db.sql import agreement as at_hand

    real = at_hand.rows_of

    def write_first(connection: sa.Connection, kind: type[db.Record], ids: list[str]) -> Any:
        with store.transaction() as tx:
            tx.move(db.Campaign, "C-0001", at=AT, actor="test", priority=tx.next_number("priority"))
        return real(connection, kind, ids)

    monkeypatch.setattr(at_hand, "rows_of", write_first)
    assert seen(store).differing == 0


def test_memory_does_not_grow_with_the_lab(tmp_path: Path) -> None:
    peaks = []
    for experiments in (200, 800):
        store = SqlStore.open(f"sqlite:///{tmp_path}/{experiments}.sqlite", tmp_path / "raw", full_sync=False)
        with store.transaction() as tx:
            fill(tx, experiments=experiments)
        seen(store)
        tracemalloc.start()
        assert seen(store).differing == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        store.close()
    assert peaks[1] < 1.3 * peaks[0]
