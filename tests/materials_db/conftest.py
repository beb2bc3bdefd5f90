from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from materials_db.memory import MemoryStore
from materials_db.sql.store import SqlStore
from tests import postgres


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every implementation of the store, empty."""
    if request.param == "memory":
        yield MemoryStore()
        return
    url = f"sqlite:///{tmp_path}/lab.sqlite"
    if request.param == "postgresql":
        url = postgres.fresh_database(request.getfixturevalue("postgres_url"))
    opened = SqlStore.open(url, tmp_path / "raw", full_sync=False)
    yield opened
    opened.close()
