"""One PostgreSQL server for all tests of a process that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server(tmp_path_factory.mktemp("pg")) as url:
        yield url
