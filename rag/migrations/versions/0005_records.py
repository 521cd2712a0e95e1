"""The chain of records, what is personal of them, and the head of the chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("at", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("corpora", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("commitment", TEXT, nullable=False),
        sa.Column("previous", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
    )
    op.create_index("ix_records_id", "records", ["id"])
    op.create_index("ix_records_at", "records", ["at"])
    op.create_table(
        "record_contents",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("secret", TEXT, nullable=False),
        sa.Column("content", TEXT, nullable=False),
    )
    op.create_index("ix_record_contents_owner", "record_contents", ["owner"])
    op.create_table(
        "record_heads",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("secret", TEXT, nullable=False),
        sa.Column("signature", TEXT, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
