"""What grows for ever is no longer read as a whole: entries wait for their seals in a list of their own.

The witness whose countersignatures count is written down once, and closed to the application like the trail itself.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

APP_ROLE = "aegis_backend_app"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE audit_waiting (entry_id text NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (at, entry_id))"
    )
    # By the database, in the transaction of the entry: no code can record one and forget that it waits.
    op.execute("""
        CREATE FUNCTION aegis_audit_entry_waits() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            INSERT INTO audit_waiting (entry_id, at) VALUES (NEW.id, NEW.at);
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER audit_entry_waits AFTER INSERT ON audit_entries
        FOR EACH ROW EXECUTE FUNCTION aegis_audit_entry_waits()
    """)
    op.execute("""
        INSERT INTO audit_waiting (entry_id, at)
        SELECT id, at FROM audit_entries entry
        WHERE NOT EXISTS (SELECT FROM audit_seals seal WHERE seal.entry_id = entry.id AND seal.at = entry.at)
    """)
    op.execute("""
        CREATE TABLE audit_witness_keys (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            public_key text NOT NULL, key_id text NOT NULL, at timestamptz NOT NULL
        )
    """)
    op.execute(f"GRANT SELECT, DELETE ON audit_waiting TO {APP_ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON audit_witness_keys TO {APP_ROLE}")
    op.execute("CREATE INDEX remediations_state_updated_at ON remediations (state, updated_at)")
    op.execute("DROP INDEX ix_remediations_state")
