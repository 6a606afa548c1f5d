"""What the AI Engine keeps: incidents it follows, proposals it made, what it has learned, what must still be told."""

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text

from aegis.kit.outbox import outbox_table

metadata = MetaData()

Moment = DateTime(timezone=True)

incidents = Table(
    "incidents",
    metadata,
    Column("key", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("written_at", Moment, nullable=False, index=True),
)

proposals = Table(
    "proposals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident_key", Text, nullable=False, index=True),
    Column("remediation_id", Text, nullable=True, index=True),
    Column("made_at", Moment, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("name", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("written_at", Moment, nullable=False),
)

outbox = outbox_table(metadata)
