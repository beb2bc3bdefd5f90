"""A database as it stands after years: ended campaigns in great number, copied from one that really ran.

Every row of the first campaign is copied under new ids by one SQL statement per table: E-00012 becomes
E-70012 in the seventh copy, wherever it is named. Copied are labctl's own tables, the audit log, the durable
engine's records of workflows and steps, and the journals of the instruments. Not copied are the raw files
themselves, which nothing reads at a restart. The hashes of the copied log lines are altered, so its chain does not verify.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

LETTERS = ("C", "E", "S", "X", "R", "M")  #: series of ids that people read: campaign, experiment, sample, ...
DIGESTS = {"hash", "prev_hash", "recipe_id", "raw_file_id"}  #: columns of SHA-256
WITH_DIGEST = {"recipe", "raw_file"}  #: tables whose id is one
OURS = (
    "campaign", "recipe", "candidate", "experiment", "sample", "job", "composition", "ingredient", "raw_file",
    "measurement", "event",
)  # fmt: skip
ENGINES = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs", "datasource_outputs")


def fill(url: str, journals: Path, copies: int) -> None:
    """So many copies of the one campaign that a lab has run."""
    engine = sa.create_engine(url)
    schema = "dbos" if engine.dialect.name == "postgresql" else None
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE copies (k INTEGER)")
        connection.execute(sa.text("INSERT INTO copies VALUES (:k)"), [{"k": k} for k in range(1, copies + 1)])
        for name in OURS:
            connection.exec_driver_sql(statement(connection, name, None))
        for name in ENGINES:
            connection.exec_driver_sql(statement(connection, name, schema))
        raise_counters(connection)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")  # what its autovacuum does within a minute of such a growth
    engine.dispose()
    for path in journals.glob("*.sqlite"):
        fill_journal(path, copies)


def statement(connection: sa.Connection, table: str, schema: str | None) -> str:
    """The SQL that copies a table."""
    columns = {c["name"]: c["type"] for c in sa.inspect(connection).get_columns(table, schema=schema)}
    asked = [altered(table, name, type, connection.dialect.name) for name, type in columns.items()]
    where = f"{schema}.{table}" if schema else table
    return f"INSERT INTO {where} ({', '.join(columns)}) SELECT {', '.join(asked)} FROM {where} CROSS JOIN copies"


def altered(table: str, column: str, type: sa.types.TypeEngine[object], dialect: str) -> str:
    """The column's value in copy k."""
    if table == "event" and column == "seq":
        return "seq + k * (SELECT max(seq) FROM event)"
    if column in DIGESTS or (column == "id" and table in WITH_DIGEST):
        return f"'x' || substr(CAST(100 + k AS TEXT), 2) || substr({column}, 4)"  # no digest begins so
    if not isinstance(type, sa.String | sa.JSON):
        return column
    found = f"CAST({column} AS TEXT)" if dialect == "postgresql" else column
    for letter in LETTERS:
        found = f"replace({found}, '{letter}-0', '{letter}-' || k)"
    return f"CAST({found} AS {type})" if dialect == "postgresql" and isinstance(type, sa.JSON) else found


def raise_counters(connection: sa.Connection) -> None:
    """New ids come after all copies; the log's next number after its last line."""
    connection.exec_driver_sql("UPDATE counter SET value = 1000000 WHERE series IN ('C', 'experiment', 'R', 'M')")
    connection.exec_driver_sql("UPDATE counter SET value = (SELECT max(seq) FROM event) WHERE series = 'event'")


def fill_journal(path: Path, copies: int) -> None:
    """The jobs that an instrument's host remembers."""
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
        asked = [f"replace(replace({c}, 'E-0', 'E-' || k), 'S-0', 'S-' || k)" for c in columns]
        asked = [c if name != "released" else "released" for c, name in zip(asked, columns, strict=True)]
        numbers = f"WITH RECURSIVE copies(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM copies WHERE k < {copies})"
        connection.execute(
            f"{numbers} INSERT INTO job ({', '.join(columns)}) SELECT {', '.join(asked)} FROM job CROSS JOIN copies"
        )
