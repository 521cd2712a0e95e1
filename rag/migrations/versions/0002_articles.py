"""The articles of each version of a document, what each run did to it, who runs it, and how often it was found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.add_column("documents", sa.Column("legal_status", TEXT))
    op.add_column("documents", sa.Column("quality", sa.Float))
    op.add_column("runs", sa.Column("owner", TEXT))
    op.add_column("runs", sa.Column("kind", TEXT, nullable=False, server_default="sync"))
    op.create_table(
        "outlines",
        sa.Column("document", sa.Integer, sa.ForeignKey("documents.row", ondelete="CASCADE"), primary_key=True),
        sa.Column("articles", sa.JSON, nullable=False),
    )
    op.create_table(
        "outcomes",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("run", TEXT, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("document", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("articles", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
    )
    op.create_index("ix_outcomes_run", "outcomes", ["run"])
    op.create_table(
        "retrievals",
        sa.Column("corpus", TEXT, primary_key=True),
        sa.Column("document", TEXT, primary_key=True),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("latest", TEXT, nullable=False),
    )
