"""What Alembic runs: inside the connection that `Database.migrate` hands over."""

from alembic import context

context.run_migrations()
