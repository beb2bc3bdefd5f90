"""tasks for people, holds, trays, priorities, allowances"""

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

first = importlib.import_module("materials_db.sql.migrations.versions.0001_first_tables")
MOVING = {
    "task": ("id", "question", "job_id", "instrument", "samples", "title", "prompt", "asked_at"),
    "hold": ("id", "instrument", "mode", "reason", "placed_by", "placed_at"),
}


def upgrade() -> None:
    op.add_column("campaign", sa.Column("abort", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("campaign", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("campaign", sa.Column("due_at", sa.String(27), nullable=True))
    op.add_column("experiment", sa.Column("site", sa.String(), nullable=True))
    op.add_column("job", sa.Column("tray", sa.String(), nullable=True))
    op.create_index(op.f("ix_job_tray"), "job", ["tray"], unique=False)
    op.create_table(
        "allowance",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("answered_by", sa.String(), nullable=False),
        sa.Column("answered_at", sa.String(27), nullable=True),
        sa.CheckConstraint("question IN ('step', 'in_doubt', 'parked')", name="question_known"),
        sa.CheckConstraint("state IN ('open', 'done', 'failed', 'withdrawn')", name="state_known"),
        sa.CheckConstraint("state NOT IN ('done', 'failed') OR length(answered_by) > 0", name="answer_has_a_name"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_task_job_id"), "task", ["job_id"], unique=False)
    op.create_index(op.f("ix_task_state"), "task", ["state"], unique=False)
    op.create_table(
        "hold",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("placed_by", sa.String(), nullable=False),
        sa.Column("placed_at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("released_by", sa.String(), nullable=False),
        sa.Column("released_at", sa.String(27), nullable=True),
        sa.CheckConstraint("mode IN ('hold', 'drain')", name="mode_known"),
        sa.CheckConstraint("state IN ('active', 'released')", name="state_known"),
        sa.CheckConstraint("length(placed_by) > 0", name="hold_has_a_name"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_hold_instrument"), "hold", ["instrument"], unique=False)
    op.create_index(op.f("ix_hold_state"), "hold", ["state"], unique=False)
    for name, columns in MOVING.items():
        first.refuse(name, "DELETE")
        first.refuse_change_of(name, columns)
