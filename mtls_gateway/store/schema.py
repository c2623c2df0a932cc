"""The tables, as the queries see them; ``migrations`` makes them, and a test holds the two against each other.

Times are POSIX seconds. Serials are printed by :func:`mtls_gateway.model.print_serial`, the one form there is.
What is a rule of the business is a constraint here: one valid certificate and one live session per user.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from mtls_gateway.model import (
    ApplicationKind,
    ApplicationState,
    CertificateState,
    ChangeKind,
    ClosureKind,
    CodePurpose,
    CodeState,
    MailState,
    Method,
    SessionState,
)

#: The newest migration: what ``alembic_version`` must hold for these tables to be true.
REVISION = "0006"

#: Integer on SQLite, where only that may be an automatic key.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _word(kind: type[Enum]) -> sa.Enum:
    """The enumeration's value as text, without a constraint: a new word needs no migration.

    Reading a word that this version does not know raises, so that it is never taken for another.
    """
    return sa.Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda words: [w.value for w in words],
    )


def _where(condition: sa.ColumnElement[bool]) -> dict[str, Any]:
    """An index over some rows only, as the test that holds this against ``migrations`` makes it.

    That is on SQLite. To say it for PostgreSQL too would have every process import that database's dialect, which
    takes a tenth of a command's start.
    """
    return {"sqlite_where": condition}


companies = Table(
    "companies",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name_ja", Text, nullable=False),
    Column("name_en", Text),
    Column("method", _word(Method), nullable=False),
    Column("deadline", Double),
    Column("suspended", Boolean, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("company_id", String(64), ForeignKey("companies.id"), nullable=False, index=True),
    Column("administrator", Boolean, nullable=False),
    Column("email", Text),
    Column("wrong_passwords", Integer, nullable=False),
    Column("suspensions", Integer, nullable=False),
    Column("suspended_until", Double),
    #: Who stopped the user, see ``users.Stopped``; null: not stopped.
    Column("stopped", String(16)),
    Column("password_hash", Text),
    #: As it stands in letters, mails and certificates; null: the ID stands there.
    Column("name", Text),
    Column("cooling_off_until", Double),
)

certificates = Table(
    "certificates",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("serial", String(40), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False, index=True),
    Column("state", _word(CertificateState), nullable=False),
    Column("not_after", Double),
    Column("registered", Double, nullable=False),
    #: What was issued here has all of these but ``der``, which follows the signature; what was imported has none.
    Column("not_before", Double),
    Column("common_name", Text),
    Column("organisation", Text),
    #: SubjectPublicKeyInfo, DER, and its SHA-256.
    Column("public_key", LargeBinary),
    Column("public_key_digest", LargeBinary(32)),
    Column("der", LargeBinary),
    #: The enrolment code that it was issued for; null: by a renewal, or elsewhere.
    Column("code_id", _Sequence),
    #: Where the client says that it keeps the key, e.g. ``tpm``.
    Column("key_storage", String(16)),
    #: When it was revoked, superseded or had expired, and the reason that the CRL gives.
    Column("ended", Double),
    Column("reason", String(32)),
    #: The last expiry notice that was posted for it: days before the end; null: none.
    Column("noticed", Integer),
)
Index("one_certificate_per_public_key", certificates.c.public_key_digest, unique=True)
#: Certificates that will end; by the notice given last, so that those that need none are never looked at. These
#: conditions are used in these words, not with parameters: else SQLite does not use the index.
ENDING = certificates.c.state.in_([sa.literal_column("'valid'"), sa.literal_column("'awaiting'")])
Index("ix_certificates_ending", certificates.c.noticed, certificates.c.not_after, **_where(ENDING))
#: What a CRL lists, as long as it would be valid otherwise.
LISTED = certificates.c.state.in_([sa.literal_column("'revoked'"), sa.literal_column("'superseded'")])
Index("ix_certificates_listed", certificates.c.issuer, certificates.c.not_after, **_where(LISTED))
Index("ix_certificates_code_id", certificates.c.code_id)
Index(
    "one_intended_certificate_per_user",
    certificates.c.user_id,
    unique=True,
    **_where(certificates.c.state == sa.literal_column("'intended'")),
)
Index(
    "one_valid_certificate_per_user",
    certificates.c.user_id,
    unique=True,
    **_where(certificates.c.state == sa.literal_column("'valid'")),
)
Index(
    "one_awaiting_certificate_per_user",
    certificates.c.user_id,
    unique=True,
    **_where(certificates.c.state == sa.literal_column("'awaiting'")),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False, index=True),
    Column("issuer", Text),
    Column("serial", String(40)),
    Column("state", _word(SessionState), nullable=False),
    Column("opened", Double, nullable=False),
    Column("last_used", Double, nullable=False),
    Column("ends", Double, nullable=False),
    #: Encrypted; emptied once somebody was given them to end the legacy session with.
    Column("legacy_cookies", LargeBinary, nullable=False),
    Column("ended", Double),
    Column("cause", String(32)),
    #: The address of the backend that the legacy session lives on; "": opened by a version that wrote none down.
    Column("backend", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(["issuer", "serial"], ["certificates.issuer", "certificates.serial"]),
    Index("ix_sessions_certificate", "issuer", "serial"),
)
Index(
    "one_live_session_per_user",
    sessions.c.user_id,
    unique=True,
    **_where(sessions.c.state == sa.literal_column("'live'")),
)

applications = Table(
    "applications",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("kind", _word(ApplicationKind), nullable=False),
    Column("company_id", String(64), ForeignKey("companies.id"), nullable=False, index=True),
    Column("state", _word(ApplicationState), nullable=False),
    Column("received", Double, nullable=False),
    #: The operator's name and the number of its account, where that can be known: a name is easily another.
    Column("received_by", Text, nullable=False),
    Column("received_account", BigInteger),
    #: When and by whom it was approved or withdrawn.
    Column("decided", Double),
    Column("decided_by", Text),
    Column("decided_account", BigInteger),
    #: START: from then on every user of the company needs a certificate.
    Column("deadline", Double),
    sqlite_autoincrement=True,
)

application_users = Table(
    "application_users",
    metadata,
    Column("application_id", _Sequence, ForeignKey("applications.id"), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id"), primary_key=True),
)

#: A code itself is never stored, and exists only from the moment that its letter is printed (clause D.1).
enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False, index=True),
    Column("purpose", _word(CodePurpose), nullable=False),
    Column("state", _word(CodeState), nullable=False),
    Column("ordered", Double, nullable=False),
    Column("ordered_by", Text, nullable=False),
    Column("printed", Double),
    Column("printed_by", Text),
    #: The first four symbols: what tells a typing error or another letter's code from a guess at this one.
    Column("locator", String(4)),
    #: Keyed with the instance secret, see ``issuance.code``.
    Column("digest", LargeBinary(32)),
    Column("expires", Double),
    Column("tries", Integer, nullable=False),
    Column("ended", Double),
    sqlite_autoincrement=True,
)
Index(
    "one_pending_code_per_user",
    enrolment_codes.c.user_id,
    unique=True,
    **_where(enrolment_codes.c.state.in_([sa.literal_column("'ordered'"), sa.literal_column("'open'")])),
)

#: Mail that is to go out: written in the transaction of what it tells of, sent by the clerk (clause D.5).
outbox = Table(
    "outbox",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    #: What makes the same notice to the same person the same, e.g. ``expiry-40 <certificate> <user>``.
    Column("key", Text, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    #: Of whom it speaks, and who gets it.
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False, index=True),
    Column("recipient_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("address", Text, nullable=False),
    #: What the template needs.
    Column("facts", JSON, nullable=False),
    Column("state", _word(MailState), nullable=False),
    Column("posted", Double, nullable=False),
    #: When it is to be tried next.
    Column("due", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("ended", Double),
    Column("error", Text),
    sqlite_autoincrement=True,
)
#: Mails that are still to go out. In these words, not with parameters: else SQLite does not use the index.
UNSENT = outbox.c.state.in_([sa.literal_column("'waiting'"), sa.literal_column("'sending'")])
Index("ix_outbox_due", outbox.c.due, **_where(UNSENT))

#: The numbers of the CRLs that were signed here: written before the signature, so that none is given twice.
crls = Table(
    "crls",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("number", _Sequence, primary_key=True, autoincrement=False),
    Column("this_update", Double, nullable=False),
    Column("next_update", Double, nullable=False),
    #: What it lists would not have ended before.
    Column("ended_after", Double, nullable=False),
    Column("entries", Integer, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", _word(ChangeKind), nullable=False),
    Column("subject", Text, nullable=False),
)

#: One row, the newest sequence number of ``changes``. Counting here rather than by an automatic key makes writers
#: commit in the order of their numbers: a reader that has seen a number has seen all before it.
feed = Table(
    "feed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("newest", _Sequence, nullable=False),
)

#: Emergency stops and maintenance windows of the whole service (clause E.6).
closures = Table(
    "closures",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("kind", _word(ClosureKind), nullable=False),
    Column("begins", Double, nullable=False),
    Column("ends", Double),
    Column("note_ja", Text),
    Column("note_en", Text),
    Column("set_by", Text, nullable=False),
    Column("lifted", Double),
    Column("lifted_by", Text),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSON, nullable=False),
    #: Authenticates the line and the one before, see ``audit``; null: from before the chain began.
    Column("chain", LargeBinary(32)),
    sqlite_autoincrement=True,
)

#: One row, the end of the audit log: numbers are given out under its lock, so that none is missing.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", _Sequence, nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    Column("tag", LargeBinary(32), nullable=False),
)
