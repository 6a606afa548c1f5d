"""The Backend's schema, revision by revision. Expand first; contract a release later."""
