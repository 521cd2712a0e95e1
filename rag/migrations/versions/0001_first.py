"""Corpora, snapshots, documents, runs and feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.create_table(
        "corpora",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("language", TEXT, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("clearance", sa.Integer, nullable=False),
        sa.Column("contact", TEXT, nullable=False),
        sa.Column("norm_rank", TEXT),
        sa.Column("retention_days", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer),
        sa.Column("last_snapshot", sa.Integer, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("corpus", TEXT, sa.ForeignKey("corpora.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("parent", sa.Integer),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("published", TEXT),
        sa.Column("superseded", TEXT),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
    )
    op.create_table(
        "documents",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("corpus", TEXT, sa.ForeignKey("corpora.name"), nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("added", sa.Integer, nullable=False),
        sa.Column("removed", sa.JSON, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("language", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("norm_rank", TEXT),
        sa.Column("valid_from", sa.Date),
        sa.Column("valid_to", sa.Date),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("clearance", sa.Integer, nullable=False),
        sa.Column("pages", sa.Integer),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
    )
    op.create_index("ix_documents_corpus_id", "documents", ["corpus", "id"])
    op.create_table(
        "runs",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("corpus", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("snapshot", sa.Integer),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("started", TEXT),
        sa.Column("ended", TEXT),
        sa.Column("error", TEXT),
        sa.Column("detail", TEXT, nullable=False),
    )
    op.create_index("ix_runs_corpus_created", "runs", ["corpus", "created"])
    op.create_table(
        "rejections",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("run", TEXT, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
    )
    op.create_index("ix_rejections_run", "rejections", ["run"])
    op.create_table(
        "feedback",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("thumb", TEXT, nullable=False),
        sa.Column("reason", TEXT),
        sa.Column("comment", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
