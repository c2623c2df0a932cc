"""Issuance: applications, enrolment codes, what was issued and how it ended, the outbox, the CRLs' numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.add_column("users", sa.Column("name", sa.Text()))
    op.add_column("users", sa.Column("cooling_off_until", sa.Double()))
    _extend_certificates()
    op.create_table(
        "applications",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("received_by", sa.Text(), nullable=False),
        sa.Column("received_account", sa.BigInteger()),
        sa.Column("decided", sa.Double()),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_account", sa.BigInteger()),
        sa.Column("deadline", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_applications"),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name="fk_applications_company_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_applications_company_id", "applications", ["company_id"])
    op.create_table(
        "application_users",
        sa.Column("application_id", _SEQUENCE, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "user_id", name="pk_application_users"),
        sa.ForeignKeyConstraint(["application_id"], ["applications.id"], name="fk_application_users_application_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_application_users_user_id"),
    )
    op.create_table(
        "enrolment_codes",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ordered", sa.Double(), nullable=False),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("printed", sa.Double()),
        sa.Column("printed_by", sa.Text()),
        sa.Column("locator", sa.String(4)),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("expires", sa.Double()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_enrolment_codes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_enrolment_codes_user_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_enrolment_codes_user_id", "enrolment_codes", ["user_id"])
    _create_index(
        "one_pending_code_per_user", "enrolment_codes", ["user_id"], "state IN ('ordered', 'open')", unique=True
    )
    op.create_table(
        "outbox",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("recipient_id", sa.String(64), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("posted", sa.Double(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_outbox_user_id"),
        sa.ForeignKeyConstraint(["recipient_id"], ["users.id"], name="fk_outbox_recipient_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])
    _create_index("ix_outbox_due", "outbox", ["due"], "state IN ('waiting', 'sending')")
    op.create_table(
        "crls",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("number", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("this_update", sa.Double(), nullable=False),
        sa.Column("next_update", sa.Double(), nullable=False),
        sa.Column("ended_after", sa.Double(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "number", name="pk_crls"),
    )


def _extend_certificates() -> None:
    for column in (
        sa.Column("not_before", sa.Double()),
        sa.Column("common_name", sa.Text()),
        sa.Column("organisation", sa.Text()),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("public_key_digest", sa.LargeBinary(32)),
        sa.Column("der", sa.LargeBinary()),
        sa.Column("code_id", _SEQUENCE),
        sa.Column("key_storage", sa.String(16)),
        sa.Column("ended", sa.Double()),
        sa.Column("reason", sa.String(32)),
        sa.Column("noticed", sa.Integer()),
    ):
        op.add_column("certificates", column)
    op.create_index("one_certificate_per_public_key", "certificates", ["public_key_digest"], unique=True)
    _create_index("ix_certificates_ending", "certificates", ["noticed", "not_after"], "state IN ('valid', 'awaiting')")
    listed = "state IN ('revoked', 'superseded')"
    _create_index("ix_certificates_listed", "certificates", ["issuer", "not_after"], listed)
    op.create_index("ix_certificates_code_id", "certificates", ["code_id"])
    _create_index("one_intended_certificate_per_user", "certificates", ["user_id"], "state = 'intended'", unique=True)


def _create_index(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
