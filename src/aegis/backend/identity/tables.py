"""People, their sessions, and the services' keys."""

from sqlalchemy import Boolean, Column, ForeignKey, Table, Text

from aegis.backend.schema import Document, Moment, metadata

people = Table(
    "people",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("grants", Document, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("person", Text, ForeignKey("people.name", ondelete="CASCADE"), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

service_keys = Table(
    "service_keys",
    metadata,
    Column("service", Text, primary_key=True),
    Column("key_hash", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment, nullable=True),
)
