"""bytes of raw files, where several machines read them"""

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

first = importlib.import_module("materials_db.sql.migrations.versions.0001_first_tables")


def upgrade() -> None:
    op.create_table(
        "raw_bytes",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    first.refuse("raw_bytes", "UPDATE")
    first.refuse("raw_bytes", "DELETE")
