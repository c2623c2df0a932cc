"""Open the database and hand out its parts, each of which satisfies a Protocol of ``signin.ports``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mtls_gateway.clock import Clock
from mtls_gateway.model import CertificateId, Change, ChangeKind, Closure, Registration, SessionRow, User
from mtls_gateway.store.applications import Applications
from mtls_gateway.store.attempts import Attempts
from mtls_gateway.store.audit import Audit
from mtls_gateway.store.census import Census
from mtls_gateway.store.certificates import Certificates
from mtls_gateway.store.changes import Changes
from mtls_gateway.store.closures import Closures
from mtls_gateway.store.code_orders import CodeOrders
from mtls_gateway.store.codes import Codes
from mtls_gateway.store.companies import Companies
from mtls_gateway.store.crls import Crls
from mtls_gateway.store.engine import Database
from mtls_gateway.store.enrolments import Enrolments
from mtls_gateway.store.expiry import Expiry
from mtls_gateway.store.members import Members
from mtls_gateway.store.migration import require_current_schema
from mtls_gateway.store.outbox import Outbox
from mtls_gateway.store.sessions import Sessions
from mtls_gateway.store.standings import Standings
from mtls_gateway.store.users import Users


class WorkerRows:
    """Satisfies ``signin.ports.WorkerStore``: what a gateway worker asks."""

    def __init__(self, certificates: Certificates, sessions: Sessions, changes: Changes, closures: Closures) -> None:
        self._certificates = certificates
        self._sessions = sessions
        self._changes = changes
        self._closures = closures

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """See :meth:`Certificates.registration`."""
        return await self._certificates.registration(certificate)

    async def session(self, digest: bytes) -> SessionRow | None:
        """See :meth:`Sessions.session`."""
        return await self._sessions.session(digest)

    async def closures(self) -> Sequence[Closure]:
        """See :meth:`Closures.closures`."""
        return await self._closures.closures()

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        """See :meth:`Sessions.note_use`."""
        await self._sessions.note_use(last_used)

    async def latest_change(self) -> int:
        """See :meth:`Changes.latest_change`."""
        return await self._changes.latest_change()

    async def changes_since(self, sequence: int, limit: int = 10_000) -> Sequence[Change]:
        """See :meth:`Changes.changes_since`."""
        return await self._changes.changes_since(sequence, limit)

    async def wait_for_change(self, seconds: float) -> None:
        """See :meth:`Changes.wait_for_change`."""
        await self._changes.wait_for_change(seconds)


class Identities:
    """Satisfies ``signin.ports.UserStore``: who is who, for the portal."""

    def __init__(self, users: Users, certificates: Certificates, changes: Changes) -> None:
        self._users = users
        self._certificates = certificates
        self._changes = changes

    async def user(self, user_id: str) -> User | None:
        """See :meth:`Users.user`."""
        return await self._users.user(user_id)

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """See :meth:`Certificates.registration`."""
        return await self._certificates.registration(certificate)

    async def superseded_by_first_sign_in(self, certificate: CertificateId) -> None:
        """See :meth:`Certificates.superseded_by_first_sign_in`."""
        await self._certificates.superseded_by_first_sign_in(certificate)

    async def ask_again(self, fingerprint: bytes, address: str) -> None:
        """Tell every worker that this address wants to choose another certificate than this."""
        await self._changes.announce(ChangeKind.ASK_AGAIN, f"{fingerprint.hex()} {address}")


class Pruned(NamedTuple):
    """How many lines were removed."""

    changes: int
    sessions: int


class Store:
    """One process's door to the rows; made by :func:`open_store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.companies = Companies(database)
        #: Satisfies ``PasswordHashStore``.
        self.users = Users(database)
        #: Satisfies ``AttemptStore``.
        self.attempts = Attempts(database)
        self.certificates = Certificates(database)
        self.applications = Applications(database)
        self.codes = Codes(database)
        self.code_orders = CodeOrders(database)
        #: Satisfies ``web.ports.MemberStore``.
        self.members = Members(database)
        self.standings = Standings(database)
        #: Satisfies ``issuance.ports.EnrolmentStore``.
        self.enrolments = Enrolments(database)
        #: Satisfies ``mail.ports.Outbox``.
        self.outbox = Outbox(database)
        #: Satisfies ``issuance.expiry.ExpiryStore``.
        self.expiry = Expiry(database)
        #: Satisfies ``issuance.own_crl.CrlStore``.
        self.crls = Crls(database)
        #: Satisfies ``SessionStore``.
        self.sessions = Sessions(database)
        self.changes = Changes(database)
        self.closures = Closures(database)
        self.audit = Audit(database)
        self.census = Census(database)
        #: Satisfies ``WorkerStore``.
        self.worker = WorkerRows(self.certificates, self.sessions, self.changes, self.closures)
        #: Satisfies ``UserStore``.
        self.identities = Identities(self.users, self.certificates, self.changes)

    async def prune(self, before: float) -> Pruned:
        """Forget changes and sessions that ended before ``before`` (POSIX seconds).

        Raises:
            StoreUnavailable: the database did not answer; call again.
        """
        return Pruned(await self.changes.prune(before), await self.sessions.prune(before))

    async def close(self) -> None:
        """Give the connections back; nothing else of the store may be used afterwards."""
        await self._database.close()


async def open_store(url: str, clock: Clock, *, busy_timeout: float = 5.0, audit_key: bytes = bytes(32)) -> Store:
    """Open the database at ``url`` (``Configuration.database_url``), in the process that will use it.

    ``audit_key`` chains the audit log: ``app.rows`` gives the gateway's.

    Raises:
        ConfigurationError: ``url`` is not the address of a database that is supported.
        StateError: its tables are not those of this version; says what to do.
        StoreUnavailable: it does not answer, or is not there.
    """
    database = Database(url, clock, busy_timeout=busy_timeout, audit_key=audit_key)
    try:
        await require_current_schema(database)
    except BaseException:
        await database.close()
        raise
    return Store(database)
