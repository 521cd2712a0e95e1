"""Conversations, feedback that its author can delete, and writes that may be repeated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("updated", TEXT, nullable=False),
        sa.Column("exchanges", sa.Integer, nullable=False),
    )
    op.create_index("ix_conversations_owner_id", "conversations", ["owner", "id"])
    op.create_index("ix_conversations_updated", "conversations", ["updated"])
    op.create_table(
        "answers",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("rests_on", sa.JSON, nullable=False),
        sa.Column("conversation", TEXT, sa.ForeignKey("conversations.id", ondelete="CASCADE")),
        sa.Column("number", sa.Integer),
        sa.Column("question", TEXT),
        sa.Column("text", TEXT),
        sa.Column("vauban", TEXT),
    )
    op.create_index("ix_answers_owner_id", "answers", ["owner", "id"])
    op.create_index("ix_answers_created", "answers", ["created"])
    op.create_index("ix_answers_conversation_number", "answers", ["conversation", "number"], unique=True)
    op.create_table(
        "repeatable",
        sa.Column("owner", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("claim", TEXT, nullable=False),
        sa.Column("request", TEXT, nullable=False),
        sa.Column("route", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("ix_repeatable_owner_created", "repeatable", ["owner", "created"])
    op.create_index("ix_repeatable_created", "repeatable", ["created"])
    # Until now there was one person, who used this machine without login.
    op.add_column("feedback", sa.Column("owner", TEXT, nullable=False, server_default=""))
    op.add_column("feedback", sa.Column("rests_on", sa.JSON))
    op.execute("UPDATE feedback SET owner = 'local:' || principal")
    op.execute(
        "DELETE FROM feedback WHERE EXISTS (SELECT 1 FROM feedback AS later WHERE later.owner = feedback.owner"
        " AND later.answer = feedback.answer AND (later.created, later.id) > (feedback.created, feedback.id))"
    )
    op.create_index("ix_feedback_owner_answer", "feedback", ["owner", "answer"], unique=True)
    op.create_index("ix_feedback_created", "feedback", ["created"])


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
