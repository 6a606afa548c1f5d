"""The first schema: everything, with the audit trail partitioned by month and closed to the application."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

APP_ROLE = "aegis_backend_app"
"""Whom the service connects as: it may do what it needs, and to the audit trail only INSERT and SELECT."""

AUDIT_PARTITIONED = ("audit_entries", "audit_seals")
AUDIT_TABLES = (*AUDIT_PARTITIONED, "audit_checkpoints", "audit_witnesses")


def upgrade() -> None:
    _working_tables()
    _audit_tables()
    _rights()


def _audit_tables() -> None:
    op.execute("""
        CREATE TABLE audit_entries (
            id text NOT NULL, at timestamptz NOT NULL, actor text NOT NULL, event text NOT NULL,
            subject text NOT NULL, detail jsonb NOT NULL, PRIMARY KEY (id, at)
        ) PARTITION BY RANGE (at)
    """)
    op.execute("CREATE INDEX audit_entries_subject ON audit_entries (subject)")
    op.execute("""
        CREATE TABLE audit_seals (
            sequence bigint NOT NULL, at timestamptz NOT NULL, entry_id text NOT NULL,
            previous_hash text NOT NULL, hash text NOT NULL, PRIMARY KEY (sequence, at)
        ) PARTITION BY RANGE (at)
    """)
    op.execute("CREATE INDEX audit_seals_entry ON audit_seals (entry_id)")
    op.execute("""
        CREATE TABLE audit_checkpoints (
            sequence bigint PRIMARY KEY, hash text NOT NULL, at timestamptz NOT NULL,
            key_id text NOT NULL, signature text NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE audit_witnesses (sequence bigint PRIMARY KEY, key_id text NOT NULL, signature text NOT NULL)
    """)
    for table in AUDIT_PARTITIONED:
        # Nothing is ever lost for want of a partition; what lands here is moved by maintenance.
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    # The application may not create tables; this one thing it may have done for it.
    op.execute("""
        CREATE FUNCTION aegis_ensure_audit_partitions(moment timestamptz) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            parent text;
            month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
            partition text;
        BEGIN
            FOR step IN 0..1 LOOP
                FOREACH parent IN ARRAY ARRAY['audit_entries', 'audit_seals'] LOOP
                    partition := parent || to_char(month, '_YYYY_MM');
                    IF to_regclass(partition) IS NULL THEN
                        BEGIN
                            EXECUTE format(
                                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', partition, parent,
                                month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
                            );
                        EXCEPTION WHEN check_violation OR duplicate_table THEN
                            NULL;  -- the default partition holds rows of that month: they stay there
                        END;
                    END IF;
                END LOOP;
                month := month + interval '1 month';
            END LOOP;
        END $$
    """)


def _rights() -> None:
    op.execute(f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
                CREATE ROLE {APP_ROLE} NOLOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$
    """)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APP_ROLE}")
    op.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APP_ROLE}")
    for table in AUDIT_TABLES:
        op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {APP_ROLE}")
    for table in AUDIT_PARTITIONED:
        op.execute(f"REVOKE ALL ON {table}_default FROM {APP_ROLE}")
    op.execute("REVOKE EXECUTE ON FUNCTION aegis_ensure_audit_partitions FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION aegis_ensure_audit_partitions TO {APP_ROLE}")


def _working_tables() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("workload", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("affected", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("diagnosis", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index(op.f("ix_incidents_namespace"), "incidents", ["namespace"], unique=False)
    op.create_index(op.f("ix_incidents_state"), "incidents", ["state"], unique=False)
    op.create_table(
        "notification_outbox",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("put_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("queue", "key"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "pauses",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_table(
        "people",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("grants", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "policy_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_table(
        "remediations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("incident_key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("proposal_id", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requesters", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("proposal", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("plan", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("checks", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("decision", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_id"),
        sa.UniqueConstraint("proposal_id"),
    )
    op.create_index(op.f("ix_remediations_dedupe_key"), "remediations", ["dedupe_key"], unique=False)
    op.create_index(op.f("ix_remediations_incident_id"), "remediations", ["incident_id"], unique=False)
    op.create_index(op.f("ix_remediations_incident_key"), "remediations", ["incident_key"], unique=False)
    op.create_index(op.f("ix_remediations_state"), "remediations", ["state"], unique=False)
    op.create_table(
        "service_keys",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("service", "key_hash"),
    )
    op.create_table(
        "storms",
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("unhealthy", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("workloads", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("since"),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("remediation_id", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["remediation_id"],
            ["remediations.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("remediation_id", "plan_hash", "approver"),
    )
    op.create_index(op.f("ix_approvals_remediation_id"), "approvals", ["remediation_id"], unique=False)
    op.create_table(
        "outcomes",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("remediation_id", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["remediation_id"],
            ["remediations.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("order_id", "sequence"),
    )
    op.create_index(op.f("ix_outcomes_remediation_id"), "outcomes", ["remediation_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "work_items",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("remediation_id", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["remediation_id"],
            ["remediations.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "work_items_waiting", "work_items", ["created_at"], unique=False, postgresql_where=sa.text("NOT done")
    )
