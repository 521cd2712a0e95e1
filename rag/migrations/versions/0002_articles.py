"""The articles of each version of a document, what each run did to it, and how often it was found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("legal_status", sa.String))
    op.add_column("documents", sa.Column("quality", sa.Float))
    op.create_table(
        "outlines",
        sa.Column("document", sa.Integer, sa.ForeignKey("documents.row", ondelete="CASCADE"), primary_key=True),
        sa.Column("articles", sa.JSON, nullable=False),
    )
    op.create_table(
        "outcomes",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("document", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
    )
    op.create_index("ix_outcomes_run", "outcomes", ["run"])
    op.create_table(
        "retrievals",
        sa.Column("corpus", sa.String, primary_key=True),
        sa.Column("document", sa.String, primary_key=True),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("latest", sa.String, nullable=False),
    )
