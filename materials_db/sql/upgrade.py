"""Bring a database to the tables of this version, or refuse one that is ahead of it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from materials_db.errors import NewerDatabaseError

VERSION_TABLE = "labctl_version"
TURN = 0x1ABC71  #: the advisory lock of whoever makes tables; any number that nobody else uses
SCRIPTS = Path(__file__).parent / "migrations"


def config() -> Config:
    """Alembic without an ini file."""
    settings = Config()
    settings.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return settings


def current(connection: sa.Connection) -> str | None:
    """The revision of this database; None when it is empty."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def known() -> list[str]:
    """All revisions of this version, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()]


def upgrade(engine: sa.Engine) -> None:
    """Apply what is missing, all or nothing. Raises NewerDatabaseError."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql" and current(connection) != known()[0]:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))  # one process at a time
        upgrade_over(connection)


def upgrade_over(connection: sa.Connection) -> None:
    """Apply what is missing, within a transaction that somebody else commits. Raises NewerDatabaseError."""
    found, revisions = current(connection), known()
    if found == revisions[0]:
        return
    if found is not None and found not in revisions:
        raise NewerDatabaseError(
            f"the database {connection.engine.url.database} has tables of version {found}, which this labctl does not"
            f" know (it knows up to {revisions[0]}). Nothing was touched. Upgrade labctl, or open another lab."
        )
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")
