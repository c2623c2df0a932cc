"""The first tables: companies, users, certificates, sessions, the changes feed and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "companies",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name_ja", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text()),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("deadline", sa.Double()),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_companies"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.Column("administrator", sa.Boolean(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("wrong_passwords", sa.Integer(), nullable=False),
        sa.Column("suspensions", sa.Integer(), nullable=False),
        sa.Column("suspended_until", sa.Double()),
        sa.Column("stopped", sa.String(16)),
        sa.Column("password_hash", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name="fk_users_company_id"),
    )
    op.create_index("ix_users_company_id", "users", ["company_id"])
    op.create_table(
        "certificates",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("not_after", sa.Double()),
        sa.Column("registered", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "serial", name="pk_certificates"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_certificates_user_id"),
    )
    op.create_index("ix_certificates_user_id", "certificates", ["user_id"])
    _create_unique_index("one_valid_certificate_per_user", "certificates", "state = 'valid'")
    _create_unique_index("one_awaiting_certificate_per_user", "certificates", "state = 'awaiting'")
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text()),
        sa.Column("serial", sa.String(40)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened", sa.Double(), nullable=False),
        sa.Column("last_used", sa.Double(), nullable=False),
        sa.Column("ends", sa.Double(), nullable=False),
        sa.Column("legacy_cookies", sa.LargeBinary(), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.Column("cause", sa.String(32)),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.ForeignKeyConstraint(
            ["issuer", "serial"], ["certificates.issuer", "certificates.serial"], name="fk_sessions_issuer"
        ),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_certificate", "sessions", ["issuer", "serial"])
    _create_unique_index("one_live_session_per_user", "sessions", "state = 'live'")
    op.create_table(
        "changes",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_changes"),
    )
    feed = op.create_table(
        "feed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("newest", _SEQUENCE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed"),
    )
    op.bulk_insert(feed, [{"id": 1, "newest": 0}])
    op.create_table(
        "audit",
        sa.Column("sequence", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("chain", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sqlite_autoincrement=True,
    )


def _create_unique_index(name: str, table: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, ["user_id"], unique=True, sqlite_where=where, postgresql_where=where)
