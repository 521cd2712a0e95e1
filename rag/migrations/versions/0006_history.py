"""Conversations, feedback that its author can delete, and writes that may be repeated."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in with the tables' first release."""


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
