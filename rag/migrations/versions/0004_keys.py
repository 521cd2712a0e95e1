"""The keys of the API."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in with the tables' first release."""


def downgrade() -> None:
    raise NotImplementedError("a catalog is never taken back to an older program; restore a backup")
