"""Run by alembic: migrates over the connection that `materials_db.sql.upgrade` hands in."""

from alembic import context

from materials_db.sql.tables import METADATA
from materials_db.sql.upgrade import VERSION_TABLE


def ours(object: object, name: str | None, type_: str, reflected: bool, compare_to: object) -> bool:
    """The durable engine keeps its own tables in the same database; they are not our business."""
    return type_ != "table" or name in METADATA.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    include_object=ours,
)
context.run_migrations()
