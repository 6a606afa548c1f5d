"""Incidents, each with its findings and its newest diagnosis."""

from sqlalchemy import Column, Table, Text

from aegis.backend.schema import Document, Moment, metadata

incidents = Table(
    "incidents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False, index=True),
    Column("workload", Document, nullable=False),
    Column("affected", Document, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("findings", Document, nullable=False),
    Column("diagnosis", Document, nullable=True),
    Column("opened_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("resolved_at", Moment, nullable=True),
    Column("merged_into", Text, nullable=True),
)
