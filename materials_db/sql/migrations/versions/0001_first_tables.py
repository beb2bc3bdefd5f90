"""first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


FACTS = (
    "lot", "instrument", "calibration", "candidate", "recipe", "sample", "ingredient", "composition", "raw_file",
    "measurement", "event",
)  # fmt: skip
#: columns that are written once, of tables whose other columns move
MOVING = {
    "campaign": (
        "id", "name", "file_text", "file_sha256", "spec", "seed", "versions", "created_at", "created_by", "origin",
    ),
    "experiment": ("id", "campaign_id", "candidate_id", "number", "replicate", "recipe_id", "plan", "planned_at"),
    "job": ("id", "run", "experiment_id", "sample_id", "step", "capability", "params", "attempt", "queued_at"),
}  # fmt: skip


def refuse(name: str, action: str) -> None:
    """The database itself refuses to change or delete what was written."""
    trigger(name, f"no_{action.lower()}", f"{action} ON {name}", "", f"{name} is append-only: {action} refused")


def refuse_change_of(name: str, columns: tuple[str, ...]) -> None:
    """Of this table only the moving columns may change."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    differ = "OLD.{c}::text IS DISTINCT FROM NEW.{c}::text" if postgresql else "OLD.{c} IS NOT NEW.{c}"
    when = "WHEN (" + " OR ".join(differ.format(c=c) for c in columns) + ")"
    trigger(name, "fixed_columns", f"UPDATE ON {name}", when, f"{name}: what was planned is written once")


def trigger(name: str, rule: str, event: str, when: str, message: str) -> None:
    """A trigger that raises, in the words of either database."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION {name}_{rule}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{message}'; END $$"
        )
        op.execute(f"CREATE TRIGGER {name}_{rule} BEFORE {event} FOR EACH ROW {when} EXECUTE FUNCTION {name}_{rule}()")
    else:
        op.execute(f"CREATE TRIGGER {name}_{rule} BEFORE {event} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END")


def upgrade() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("file_text", sa.String(), nullable=False),
        sa.Column("file_sha256", sa.String(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("wanted", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ended_at", sa.String(27), nullable=True),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.CheckConstraint(
            "state IN ('created', 'running', 'paused', 'done', 'stopped', 'failed')", name="state_known"
        ),
        sa.CheckConstraint("wanted IN ('run', 'pause', 'stop')", name="wanted_known"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_campaign_file_sha256"), "campaign", ["file_sha256"], unique=False)
    op.create_index(op.f("ix_campaign_state"), "campaign", ["state"], unique=False)
    op.create_table(
        "counter",
        sa.Column("series", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("series"),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.Column("prev_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index(op.f("ix_event_subject"), "event", ["subject"], unique=False)
    op.create_table(
        "instrument",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("verified_on_hardware", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.String(27), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_instrument_name"), "instrument", ["name"], unique=False)
    op.create_table(
        "lease",
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.String(27), nullable=True),
        sa.PrimaryKeyConstraint("instrument"),
    )
    op.create_index(op.f("ix_lease_holder"), "lease", ["holder"], unique=False)
    op.create_table(
        "lot",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("formula", sa.String(), nullable=False),
        sa.Column("supplier", sa.String(), nullable=False),
        sa.Column("supplier_lot", sa.String(), nullable=False),
        sa.Column("purity", sa.Float(), nullable=True),
        sa.Column("amount_mg", sa.Float(), nullable=False),
        sa.Column("price_per_g", sa.Float(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("received_at", sa.String(27), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.CheckConstraint("amount_mg >= 0", name="amount_not_negative"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_lot_component"), "lot", ["component"], unique=False)
    op.create_table(
        "recipe",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("batch_mg", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "calibration",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("instrument_id", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("certificate", sa.String(), nullable=False),
        sa.Column("performed_by", sa.String(), nullable=False),
        sa.Column("u_relative", sa.Float(), nullable=True),
        sa.Column("valid_from", sa.String(27), nullable=False),
        sa.Column("valid_to", sa.String(27), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.CheckConstraint("valid_from <= valid_to", name="valid_in_order"),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["instrument.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_calibration_instrument_id"), "calibration", ["instrument_id"], unique=False)
    op.create_table(
        "candidate",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("fractions", sa.JSON(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("optimizer", sa.String(), nullable=False),
        sa.Column("origin_of_proposal", sa.String(), nullable=False),
        sa.Column("predicted", sa.Float(), nullable=True),
        sa.Column("predicted_u", sa.Float(), nullable=True),
        sa.Column("history_sha256", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.String(27), nullable=False),
        sa.CheckConstraint("basis IN ('mass', 'mole')", name="basis_known"),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_candidate_campaign_id"), "candidate", ["campaign_id"], unique=False)
    op.create_table(
        "experiment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("candidate_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("replicate", sa.Integer(), nullable=False),
        sa.Column("recipe_id", sa.String(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("planned_at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("started_at", sa.String(27), nullable=True),
        sa.Column("ended_at", sa.String(27), nullable=True),
        sa.CheckConstraint("state IN ('planned', 'running', 'held', 'done', 'failed', 'aborted')", name="state_known"),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["candidate.id"],
        ),
        sa.ForeignKeyConstraint(
            ["recipe_id"],
            ["recipe.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("campaign_id", "number", name="one_experiment_per_number"),
    )
    op.create_index("ix_experiment_campaign_state", "experiment", ["campaign_id", "state"], unique=False)
    op.create_index(op.f("ix_experiment_candidate_id"), "experiment", ["candidate_id"], unique=False)
    op.create_table(
        "sample",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("batch_mg", sa.Float(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiment.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_sample_experiment_id"), "sample", ["experiment_id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("capability", sa.String(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("instrument_id", sa.String(), nullable=True),
        sa.Column("fault", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("device_run_id", sa.String(), nullable=True),
        sa.Column("as_run", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.String(27), nullable=True),
        sa.Column("due_at", sa.String(27), nullable=True),
        sa.Column("ended_at", sa.String(27), nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'queued', 'intent', 'running', 'waiting_human', 'done', 'failed', 'aborted', 'in_doubt')",
            name="state_known",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiment.id"],
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["instrument.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run"),
    )
    op.create_index(op.f("ix_job_experiment_id"), "job", ["experiment_id"], unique=False)
    op.create_index(
        "ix_job_open",
        "job",
        ["state", "queued_at"],
        unique=False,
        sqlite_where=sa.text("state NOT IN ('done', 'failed', 'aborted')"),
        postgresql_where=sa.text("state NOT IN ('done', 'failed', 'aborted')"),
    )
    op.create_index(op.f("ix_job_sample_id"), "job", ["sample_id"], unique=False)
    op.create_table(
        "composition",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("formula", sa.String(), nullable=False),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("u", sa.Float(), nullable=True),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.CheckConstraint("basis IN ('mass', 'mole')", name="basis_known"),
        sa.CheckConstraint("role = 'intended' OR job_id IS NOT NULL", name="measured_by_a_job"),
        sa.CheckConstraint("role IN ('intended', 'measured')", name="role_known"),
        sa.CheckConstraint("fraction >= 0 AND fraction <= 1", name="fraction_between_0_and_1"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_composition_component"), "composition", ["component"], unique=False)
    op.create_index(op.f("ix_composition_sample_id"), "composition", ["sample_id"], unique=False)
    op.create_table(
        "ingredient",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("lot_id", sa.String(), nullable=False),
        sa.Column("intended_mg", sa.Float(), nullable=False),
        sa.Column("weighed_mg", sa.Float(), nullable=False),
        sa.Column("u_mg", sa.Float(), nullable=False),
        sa.CheckConstraint("intended_mg >= 0 AND weighed_mg >= 0 AND u_mg >= 0", name="masses_not_negative"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["lot_id"],
            ["lot.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_ingredient_lot_id"), "ingredient", ["lot_id"], unique=False)
    op.create_index(op.f("ix_ingredient_sample_id"), "ingredient", ["sample_id"], unique=False)
    op.create_table(
        "raw_file",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("stored_at", sa.String(27), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_raw_file_job_id"), "raw_file", ["job_id"], unique=False)
    op.create_table(
        "measurement",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("u", sa.Float(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("quality_note", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("calibration_id", sa.String(), nullable=True),
        sa.Column("uncalibrated_reason", sa.String(), nullable=True),
        sa.Column("raw_file_id", sa.String(), nullable=True),
        sa.Column("no_raw_reason", sa.String(), nullable=True),
        sa.Column("taken_at", sa.String(27), nullable=False),
        sa.Column("supersedes_id", sa.String(), nullable=True),
        sa.Column("supersedes_reason", sa.String(), nullable=True),
        sa.CheckConstraint(
            "calibration_id IS NOT NULL OR length(trim(coalesce(uncalibrated_reason, ''))) > 0",
            name="calibrated_or_says_why_not",
        ),
        sa.CheckConstraint("origin IN ('measured', 'simulated')", name="origin_known"),
        sa.CheckConstraint("quality IN ('ok', 'suspect', 'invalid')", name="quality_known"),
        sa.CheckConstraint(
            "raw_file_id IS NOT NULL OR length(trim(coalesce(no_raw_reason, ''))) > 0", name="raw_file_or_says_why_not"
        ),
        sa.CheckConstraint(
            "supersedes_id IS NULL OR length(trim(coalesce(supersedes_reason, ''))) > 0", name="correction_says_why"
        ),
        sa.CheckConstraint("u >= 0 AND n >= 1", name="uncertainty_not_negative"),
        sa.ForeignKeyConstraint(
            ["calibration_id"],
            ["calibration.id"],
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["raw_file_id"],
            ["raw_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.id"],
        ),
        sa.ForeignKeyConstraint(
            ["supersedes_id"],
            ["measurement.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_measurement_calibration_id"), "measurement", ["calibration_id"], unique=False)
    op.create_index(op.f("ix_measurement_job_id"), "measurement", ["job_id"], unique=False)
    op.create_index(op.f("ix_measurement_quantity"), "measurement", ["quantity"], unique=False)
    op.create_index(op.f("ix_measurement_raw_file_id"), "measurement", ["raw_file_id"], unique=False)
    op.create_index("ix_measurement_sample_quantity", "measurement", ["sample_id", "quantity"], unique=False)
    for name in FACTS:
        refuse(name, "UPDATE")
    for name in (*FACTS, *MOVING):
        refuse(name, "DELETE")
    for name, columns in MOVING.items():
        refuse_change_of(name, columns)
