"""The keys of the API, and the sessions of the page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("groups", TEXT, nullable=False),
        sa.Column("clearance", sa.Integer, nullable=False),
        sa.Column("roles", TEXT, nullable=False),
        sa.Column("maintains", TEXT, nullable=False),
        sa.Column("corpora", TEXT),
        sa.Column("assistants", TEXT),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("last_used", TEXT),
    )
    op.create_table(
        "sessions",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("reference", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
