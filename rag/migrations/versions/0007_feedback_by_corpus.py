"""Feedback is found by the corpora that its answer rests on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    by_corpus = op.create_table(
        "feedback_corpora",
        sa.Column("corpus", TEXT, primary_key=True),
        sa.Column("created", TEXT, primary_key=True),
        sa.Column("feedback", TEXT, sa.ForeignKey("feedback.id", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("ix_feedback_corpora_feedback", "feedback_corpora", ["feedback"])
    given = sa.table("feedback", sa.column("id"), sa.column("created"), sa.column("rests_on", sa.JSON))
    rows = [
        {"corpus": corpus, "created": row.created, "feedback": row.id}
        for row in op.get_bind().execute(sa.select(given))
        for corpus in {source[0] for source in row.rests_on or ()}
    ]
    if rows:
        op.bulk_insert(by_corpus, rows)


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
