"""The smallest things that can be written in one commit with an engine's step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from materials_db.sql.store import sqlite_pragmas


class ListLedger:
    """Rows in a list, all or nothing; stands where a memory store would."""

    def __init__(self) -> None:
        self._rows: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[list[str]]:
        draft = list(self._rows)
        yield draft
        self._rows = draft

    def write(self, tx: Any, name: str) -> str:
        tx.append(name)
        return name

    def rows(self) -> list[str]:
        return list(self._rows)


class SqlLedger:
    """Rows in a table of the engine's own database."""

    def __init__(self, path: Path) -> None:
        sqlite_pragmas(full_sync=False)
        self.url = f"sqlite:///{path}"
        self.engine = sa.create_engine(self.url)
        with self.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE ledger (name TEXT)"))
        self.engine.dispose()

    def bind(self, session: Any) -> Any:
        return nullcontext(session)

    def write(self, tx: Any, name: str) -> str:
        tx.execute(sa.text("INSERT INTO ledger VALUES (:name)"), {"name": name})
        return name

    def rows(self) -> list[str]:
        with self.engine.connect() as connection:
            rows = [row[0] for row in connection.execute(sa.text("SELECT name FROM ledger"))]
        self.engine.dispose()
        return rows
