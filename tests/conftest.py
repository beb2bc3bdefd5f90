"""What all tests share: one PostgreSQL server for each process, and no database left open behind a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from materials_db.sql.store import SqlStore
from tests import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as url:
        yield url


@pytest.fixture(autouse=True)
def no_database_stays_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command ends with its process, which closes what it opened; a test that calls its parts does not."""
    opened: list[SqlStore] = []
    real = SqlStore.open

    def open_and_remember(*args: Any, **options: Any) -> SqlStore:
        opened.append(real(*args, **options))
        return opened[-1]

    monkeypatch.setattr(SqlStore, "open", open_and_remember)
    yield
    for store in opened:
        store.close()
