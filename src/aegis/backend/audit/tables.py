"""Entries, seals, checkpoints, witnesses and their keys: the Backend's role may only add to them and read."""

from sqlalchemy import BigInteger, Column, Identity, Table, Text

from aegis.backend.schema import Document, Moment, metadata

# All three are partitioned by month (in the migration), so that retention drops whole partitions.
entries = Table(
    "audit_entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Document, nullable=False),
)

seals = Table(
    "audit_seals",
    metadata,
    Column("sequence", BigInteger, primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("entry_id", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("sequence", BigInteger, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
)

witnesses = Table(
    "audit_witnesses",
    metadata,
    Column("sequence", BigInteger, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
)

witness_keys = Table(
    "audit_witness_keys",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

# Which entries no seal covers yet. The database itself adds to it, with each entry; the sealer takes away.
waiting = Table(
    "audit_waiting",
    metadata,
    Column("entry_id", Text, primary_key=True),
    Column("at", Moment, primary_key=True),
)
