"""On which backend a session lives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. The default serves a version before this one, which goes on writing rows meanwhile."""
    op.add_column("sessions", sa.Column("backend", sa.Text(), nullable=False, server_default=""))
