"""Every version of every policy; the newest that is not deleted is in force."""

from sqlalchemy import Boolean, Column, Integer, Table, Text

from aegis.backend.schema import Moment, metadata

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("saved_by", Text, nullable=False),
    Column("saved_at", Moment, nullable=False),
)
