"""which instruments a worker drives, by the lab file of its machine"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker", sa.Column("instruments", sa.JSON(), nullable=False, server_default="[]"))
