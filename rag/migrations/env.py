"""What Alembic runs: the migrations, on the connection that the catalog hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from rag.database import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
