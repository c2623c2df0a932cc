"""The sessions that one worker knows, and when they were last used (clause A.6).

A session is good for the certificate that opened it, on its site, until it is idle, has reached its end, or was
ended. Last uses are kept in memory and written down in batches: a batch that cannot be written is owed. What
the store does not hear of can only end a session early on another worker, never keep one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Protocol
from weakref import WeakValueDictionary

from mtls_gateway.config import Sessions as Settings
from mtls_gateway.model import CertificateId, ChangeKind, Code, SessionRow, SessionState, Site, User
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.flights import Flights, Subject
from mtls_gateway.signin.method import judge_password_user, password_method_ends
from mtls_gateway.signin.seal import SessionSeal
from mtls_gateway.signin.token import Token
from mtls_gateway.wire.share import Share


class SessionRows(Protocol):
    """The store, as far as this module asks it."""

    async def session(self, digest: bytes) -> SessionRow | None:
        """The session of that token digest; None: never was, or forgotten."""
        ...

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        """Write down when sessions were last used; never moves a time back."""
        ...


class Session:
    """One session; ``current`` until a change says otherwise. Times are POSIX seconds."""

    __slots__ = (
        "backend",
        "bound",
        "certificate",
        "current",
        "digest",
        "ends",
        "last_used",
        "noted",
        "share",
        "state",
        "user",
    )

    def __init__(self, row: SessionRow, last_used: float, share: Share) -> None:
        self.digest = row.digest
        self.state = row.state
        self.user: User = row.user
        #: What its admissions are cut with; made once for all connections of the browser.
        self.bound: tuple[tuple[str, object], ...] = (
            ("session", row.digest),
            ("user", row.user.user_id),
            ("company", row.user.company_id),
        )
        self.certificate: CertificateId | None = row.certificate
        #: The absolute end, or earlier where the password method ends for the user.
        self.ends = row.ends if row.certificate else min(row.ends, password_method_ends(row.user))
        self.backend = row.backend
        self.last_used = last_used
        self.current = True
        #: False: used since it was last written down.
        self.noted = True
        #: What it holds of the backend's connections, however often it is read anew.
        self.share = share


def judge_session(
    session: Session, site: Site, certificate: CertificateId | None, now: float, idle: float
) -> Code | None:
    """Why ``session`` is not good on ``site`` with ``certificate`` (None: none was shown) at ``now``; None: it is."""
    if session.state is not SessionState.LIVE or now >= session.ends:
        return Code.SESSION_ENDED
    if session.certificate != certificate or (certificate is None) != (site is Site.PUBLIC):
        return Code.SESSION_OTHER_CERTIFICATE
    # Used further ahead than that: the clock was set back meanwhile, and the session would not become idle for as long.
    if not -idle < now - session.last_used < idle:
        return Code.SESSION_ENDED
    # Who holds a certificate is judged by its registration; who does not, here.
    return judge_password_user(session.user, now) if certificate is None else None


class Sessions:
    """See the module."""

    def __init__(self, store: SessionRows, settings: Settings, names: CookieNames, *, capacity: int = 50_000) -> None:
        self._store = store
        self._names = names
        self._capacity = capacity
        #: Seconds without use after which a session has ended.
        self.idle = settings.idle
        #: By digest; the one asked for longest ago comes first. A plain dict would go over all that were ever put out
        #: to find it.
        self._known: OrderedDict[bytes, Session] = OrderedDict()
        self._by_subject: dict[Subject, set[bytes]] = {}
        self._flights = Flights(store.session, _subjects, self._keep)
        self._shares: WeakValueDictionary[bytes, Share] = WeakValueDictionary()
        #: Used since they were last written down.
        self._used: dict[bytes, Session] = {}
        #: Being written down, or could not be.
        self._owed: dict[bytes, float] = {}

    def get(self, digest: bytes) -> Session | None:
        """What is known already; None: it must be looked up."""
        session = self._known.get(digest)
        if session is not None:
            self._known.move_to_end(digest)
        return session

    async def look_up(self, digest: bytes) -> Session | None:
        """Ask the store, whatever is known; None: there is none. May be old when it is read: look at ``current``.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return await self._flights.look_up(digest)

    def seal(self, token: Token) -> SessionSeal:
        """The seal of the legacy session's cookies."""
        return SessionSeal(self._names, token.seal_key)

    def use(self, session: Session, now: float) -> None:
        """It is in use at ``now``."""
        if now > session.last_used:
            session.last_used = now
            if session.noted:
                session.noted = False
                self._used[session.digest] = session

    async def note_use(self, now: float) -> None:
        """Write down the last uses.

        Raises:
            StoreUnavailable: they are still owed, and will be written down the next time.
        """
        used, self._used = self._used, {}
        for digest, session in used.items():
            session.noted = True
            self._owed[digest] = max(session.last_used, self._owed.get(digest, 0.0))
        batch = {digest: last for digest, last in self._owed.items() if now - last < self.idle}
        if batch:
            await self._store.note_use(batch)
        for digest, last in list(self._owed.items()):
            if now - last >= self.idle or batch.get(digest) == last:
                del self._owed[digest]

    def evict(self, kind: ChangeKind, subject: str) -> list[bytes]:
        """Forget what a change speaks of; returns the digests that were known."""
        self._flights.touch((kind, subject))
        gone = list(self._by_subject.get((kind, subject), ()))
        for digest in gone:
            self._drop(digest)
        return gone

    def evict_all(self) -> None:
        """Forget everything but when sessions were last used."""
        self._flights.touch_everything()
        for session in self._known.values():
            session.current = False
        self._known.clear()
        self._by_subject.clear()

    @property
    def is_full(self) -> bool:
        """Whether one more would push out another."""
        return len(self._known) >= self._capacity

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, digest: bytes, row: SessionRow | None) -> Session | None:
        self._drop(digest)
        if row is None:
            return None
        share = self._shares.get(digest)
        if share is None:
            share = self._shares[digest] = Share()
        session = Session(row, max(row.last_used, self._last_used_here(digest)), share)
        if session.state is SessionState.PENDING:
            # The browser follows the portal's answer faster than the feed tells of it: never kept.
            session.current = False
            return session
        if self.is_full:
            self._drop(next(iter(self._known)))
        self._known[digest] = session
        for subject in _subjects(digest, row):
            self._by_subject.setdefault(subject, set()).add(digest)
        return session

    def _last_used_here(self, digest: bytes) -> float:
        used = self._used.get(digest)
        return max(self._owed.get(digest, 0.0), 0.0 if used is None else used.last_used)

    def _drop(self, digest: bytes) -> None:
        session = self._known.pop(digest, None)
        if session is None:
            return
        session.current = False
        for subject in _subjects(digest, session):
            digests = self._by_subject[subject]
            digests.discard(digest)
            if not digests:
                del self._by_subject[subject]


def _subjects(digest: bytes, of: SessionRow | Session | None) -> Iterator[Subject]:
    yield ChangeKind.SESSION, digest.hex()
    if of is not None:
        yield ChangeKind.USER, of.user.user_id
        yield ChangeKind.COMPANY, of.user.company_id
