"""The audit log is chained: its end in a row of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("chain", sa.LargeBinary(32), nullable=False),
        sa.Column("tag", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    # Lines from before stay unchained; the chain begins behind them.
    newest = op.get_bind().execute(sa.text("SELECT coalesce(max(sequence), 0) FROM audit")).scalar_one()
    op.bulk_insert(head, [{"id": 1, "sequence": newest, "chain": b"", "tag": b""}])
