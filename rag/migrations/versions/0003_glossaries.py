"""The glossary of each corpus."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text in the order of its code points, whatever the language of the database."""


def upgrade() -> None:
    op.add_column("corpora", sa.Column("glossary", TEXT, nullable=False, server_default="[[], []]"))


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
