"""Pause and storm: every change is a row, and the newest one counts."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Table, Text

from aegis.backend.schema import Document, Moment, metadata

pauses = Table(
    "pauses",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("since", Moment, nullable=False),
)

storms = Table(
    "storms",
    metadata,
    Column("since", Moment, primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("unhealthy", Document, nullable=False),
    Column("workloads", BigInteger, nullable=False),
)
