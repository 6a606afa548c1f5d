"""What people were told, and what still has to reach them."""

from sqlalchemy import Column, Table, Text

from aegis.backend.schema import Document, Moment, metadata
from aegis.kit.outbox import outbox_table

notifications = Table(
    "notifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("detail", Document, nullable=False),
    Column("at", Moment, nullable=False),
)

notification_outbox = outbox_table(metadata, "notification_outbox")
