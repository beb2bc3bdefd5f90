from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from materials_db.memory import MemoryStore
from materials_db.sql.store import SqlStore
from tests import postgres


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server(tmp_path_factory.mktemp("pg")) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every implementation of the store, empty."""
    if request.param == "memory":
        yield MemoryStore()
        return
    url = f"sqlite:///{tmp_path}/lab.sqlite"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres_url"))
    opened = SqlStore.open(url, tmp_path / "raw", full_sync=False)
    yield opened
    opened.close()


def fresh_database(url: str) -> str:
    """A database of its own on the server."""
    import uuid

    import sqlalchemy as sa

    name = f"lab_{uuid.uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.rsplit("/", 1)[0] + f"/{name}"
