"""Remediations, what the Executor was asked and answered, and who approved."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from aegis.backend.schema import Document, Moment, metadata

remediations = Table(
    "remediations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident_id", Text, nullable=False, index=True),
    Column("incident_key", Text, nullable=False, index=True),
    Column("order_id", Text, nullable=False, unique=True),
    Column("proposal_id", Text, nullable=False, unique=True),
    Column("dedupe_key", Text, nullable=False, index=True),
    Column("namespace", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("requesters", Document, nullable=False),
    Column("proposal", Document, nullable=False),
    Column("facts", Document, nullable=True),
    Column("plan", Document, nullable=True),
    Column("checks", Document, nullable=False),
    Column("decision", Document, nullable=True),
    Column("proposed_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=True),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("remediation_id", Text, ForeignKey("remediations.id"), nullable=False, index=True),
    Column("body", Document, nullable=False),
    UniqueConstraint("order_id", "sequence"),
)

work_items = Table(
    "work_items",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("remediation_id", Text, ForeignKey("remediations.id"), nullable=False),
    Column("body", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("claimed_by", Text, nullable=True),
    Column("claimed_until", Moment, nullable=True),
    Column("done", Boolean, nullable=False, default=False),
    Column("withdrawn_at", Moment, nullable=True),
    Index("work_items_waiting", "created_at", postgresql_where=text("NOT done")),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("remediation_id", Text, ForeignKey("remediations.id"), nullable=False, index=True),
    Column("plan_hash", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("comment", Text, nullable=False, default=""),
    Column("given_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("key_id", Text, nullable=False, default=""),
    Column("signature", Text, nullable=False, default=""),
    UniqueConstraint("remediation_id", "plan_hash", "approver"),
)
