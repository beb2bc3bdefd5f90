from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.acceptance.lab import LabFolder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str:
    """The line of labctl.toml: empty for the SQLite file that is the default."""
    if request.param == "sqlite":
        return ""
    return postgres.fresh_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def lab(tmp_path: Path, database: str) -> Iterator[LabFolder]:
    made = LabFolder.make(tmp_path / "lab", database=database)
    yield made
    made.close()
