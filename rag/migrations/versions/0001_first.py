"""Corpora, snapshots, documents, runs and feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "corpora",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("clearance", sa.Integer, nullable=False),
        sa.Column("contact", sa.String, nullable=False),
        sa.Column("norm_rank", sa.String),
        sa.Column("retention_days", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer),
        sa.Column("last_snapshot", sa.Integer, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("parent", sa.Integer),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("published", sa.String),
        sa.Column("superseded", sa.String),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
    )
    op.create_table(
        "documents",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name"), nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("added", sa.Integer, nullable=False),
        sa.Column("removed", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("norm_rank", sa.String),
        sa.Column("valid_from", sa.Date),
        sa.Column("valid_to", sa.Date),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("clearance", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
    )
    op.create_index("ix_documents_corpus_id", "documents", ["corpus", "id"])
    op.create_table(
        "runs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("corpus", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("snapshot", sa.Integer),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("started", sa.String),
        sa.Column("ended", sa.String),
        sa.Column("error", sa.String),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_index("ix_runs_corpus_created", "runs", ["corpus", "created"])
    op.create_table(
        "rejections",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_index("ix_rejections_run", "rejections", ["run"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("thumb", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
