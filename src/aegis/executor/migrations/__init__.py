"""The Executor's schema, revision by revision."""
