"""Emergency stops and maintenance windows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "closures",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("begins", sa.Double(), nullable=False),
        sa.Column("ends", sa.Double()),
        sa.Column("note_ja", sa.Text()),
        sa.Column("note_en", sa.Text()),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("lifted", sa.Double()),
        sa.Column("lifted_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_closures"),
        sqlite_autoincrement=True,
    )
