"""Plans (encrypted), the journal of orders, what was seen of the cluster's health, and what has to be reported."""

from sqlalchemy import Boolean, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text

from aegis.kit.outbox import outbox_table

metadata = MetaData()

Moment = DateTime(timezone=True)

plans = Table(
    "plans",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("order_id", Text, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # encrypted: it holds values of the cluster
    Column("made_at", Moment, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("remediation_id", Text, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("concerns", Text, nullable=True),
    Column("owner_uid", Text, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("spec_hash", Text, nullable=False),
    Column("order", LargeBinary, nullable=False),  # the exact bytes that were signed
    Column("stage", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False, default=""),
    Column("guardrail", Text, nullable=False, default=""),
    Column("received_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("acted_at", Moment, nullable=True),
    Column("well_since", Moment, nullable=True),
    Column("worse_looks", Integer, nullable=False, default=0),
    Column("lease_until", Moment, nullable=True),
    Column("undo_because", Text, nullable=False, default=""),
    Column("undo_ends_in", Text, nullable=False, default="undone"),
    Column("undo_since", Moment, nullable=True),
    Column("is_stampless", Boolean, nullable=False, default=False),  # it was kept, and its stamp taken off, before
    Column("look_at", Moment, nullable=False),
    Column("claimed_until", Moment, nullable=True),
    Column("reports", Integer, nullable=False, default=0),
    Column("concluded", Boolean, nullable=False, default=False),
)

healthy_revisions = Table(
    "healthy_revisions",
    metadata,
    Column("owner_uid", Text, primary_key=True),
    Column("template_hash", Text, primary_key=True),
    Column("seen_at", Moment, nullable=False),
)

whole_revisions = Table(
    "whole_revisions",
    metadata,
    Column("owner_uid", Text, primary_key=True),
    Column("template_hash", Text, nullable=False),
    Column("lives", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

kills = Table(
    "kills",
    metadata,
    Column("pod_uid", Text, primary_key=True),
    Column("container", Text, primary_key=True),
    Column("at", Moment, primary_key=True),
)

storms = Table(
    "storms",
    metadata,
    Column("since", Moment, primary_key=True),
    Column("last_bad_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=True),
)

readings = Table(
    "readings",
    metadata,
    Column("of", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("bad_since", Moment, nullable=True),
)

outbox = outbox_table(metadata)
