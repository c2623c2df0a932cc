"""What ``signin`` asks of the store and of the network: small Protocols, and the values they carry.

The rows' values are the model's, because the store, which may not import this room, returns them.

The store satisfies them; mypy checks the fit in ``app``. Times are POSIX seconds.
Every method may raise :class:`mtls_gateway.errors.StoreUnavailable`; nobody is admitted then. What writes may
raise :class:`mtls_gateway.errors.StateError` when the user or session it speaks of is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mtls_gateway.model import (
    Attempt,
    Caller,
    CertificateId,
    Change,
    ChangeKind,
    Closure,
    NewSession,
    Registration,
    SessionRow,
    SessionState,
    User,
)

__all__ = [
    "Attempt",
    "AttemptStore",
    "Caller",
    "Change",
    "ChangeKind",
    "LegacyCookie",
    "LegacyHttp",
    "LegacyResponse",
    "LegacySession",
    "NewSession",
    "PasswordChecker",
    "PasswordHashStore",
    "Registration",
    "SessionRow",
    "SessionState",
    "SessionStore",
    "User",
    "UserStore",
    "WorkerStore",
]


class WorkerStore(Protocol):
    """What a gateway worker asks: look-ups on a miss, one note, one short poll."""

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """The certificate's registration, with its user and company; None: not registered."""
        ...

    async def session(self, digest: bytes) -> SessionRow | None:
        """The session of that token digest; None: never was, or forgotten."""
        ...

    async def closures(self) -> Sequence[Closure]:
        """Closures of the whole service that hold now or are to come."""
        ...

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        """Write down when sessions were last used; never moves a time back."""
        ...

    async def latest_change(self) -> int:
        """The newest sequence number, 0 when there is none."""
        ...

    async def changes_since(self, sequence: int, limit: int = 10_000) -> Sequence[Change]:
        """Changes after ``sequence``, in order.

        Raises:
            FellBehind: some of them were pruned; forget everything cached, then go on from ``latest_change()``.
        """
        ...

    async def wait_for_change(self, seconds: float) -> None:
        """Return when there may be a change, at the latest after about ``seconds``; never raises."""
        ...


class AttemptStore(Protocol):
    """Clause A.7, for users that have shown a valid certificate."""

    async def begin_attempt(self, user_id: str, *, limit: int, suspension: float, suspensions: int) -> Attempt:
        """Count an attempt as wrong before it is made, in one transaction.

        When the count reaches ``limit`` the user is suspended for ``suspension`` seconds from now (the attempt
        just begun is still allowed and lifts the suspension if it is right); the ``suspensions``-th stops the user.
        """
        ...

    async def attempt_was_right(self, user_id: str) -> None:
        """Forget all wrong attempts and suspensions of the user."""
        ...

    async def attempt_did_not_count(self, user_id: str) -> None:
        """Take one attempt back: the legacy backend did not answer, so nothing was tried."""
        ...


class SessionStore(Protocol):
    """What the portal asks of sessions (clause A.6): one live session per user ID, by a constraint."""

    async def open_session(self, new: NewSession, *, idle: float) -> SessionState:
        """Insert the session: LIVE, or PENDING when the user has a live one that is not idle longer than ``idle``.

        A live session past its idle or absolute end is ended in the same transaction.
        """
        ...

    async def take_over(self, digest: bytes, *, not_before: float) -> Sequence[tuple[bytes, bytes]]:
        """Make a PENDING session LIVE and end the user's other one, in one transaction.

        Returns the ended sessions' (digest, legacy_cookies). Raises StateError when ``digest`` is not PENDING or was
        opened before ``not_before``.
        """
        ...

    async def session(self, digest: bytes) -> SessionRow | None:
        """The session of that token digest."""
        ...

    async def end_session(self, digest: bytes, cause: str) -> bytes | None:
        """End it, whatever its state; returns its ``legacy_cookies``, None when it was not there or had ended."""
        ...


class UserStore(Protocol):
    """Who is who, for the portal."""

    async def user(self, user_id: str) -> User | None:
        """The user with exactly this ID."""
        ...

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """The certificate's registration."""
        ...

    async def superseded_by_first_sign_in(self, certificate: CertificateId) -> None:
        """The certificate has signed in: an older one of the same user that waited for this is superseded."""
        ...

    async def ask_again(self, fingerprint: bytes, address: str) -> None:
        """Tell every worker that this address wants to choose another certificate than this; b"": it may choose now."""
        ...


class PasswordHashStore(Protocol):
    """The local argon2id store."""

    async def password_hash(self, user_id: str) -> str | None:
        """The user's PHC string; None: no password was set."""
        ...


@dataclass(frozen=True, slots=True)
class LegacyResponse:
    """One answer of the legacy backend to the portal's own client."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    url: str


class LegacyHttp(Protocol):
    """How the portal talks to the legacy backend; redirects are not followed, cookies not kept."""

    async def exchange(
        self,
        backend: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        maximum_octets: int,
    ) -> LegacyResponse:
        """One request to the backend of that address, and its answer.

        Raises:
            LegacyUnreachable: no connection was made, and nothing sent.
            LegacyUnavailable: no answer, not in time, or longer than ``maximum_octets``.
        """
        ...


class PasswordChecker(Protocol):
    """The seam of clause A.3: who decides whether a password is right."""

    async def check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        """The legacy session that the right password opened; None: the password is wrong.

        Raises:
            LegacyUnavailable: it could not be decided.
        """
        ...

    async def sign_out(self, session: LegacySession) -> None:
        """End the legacy session, as well as can be done.

        Raises:
            LegacyUnavailable: it may not have been ended.
        """
        ...


@dataclass(frozen=True, slots=True)
class LegacyCookie:
    """A cookie that the legacy backend set; ``attributes`` as it wrote them, e.g. ``Path=/examples``."""

    name: str
    value: str
    attributes: str


@dataclass(frozen=True, slots=True)
class LegacySession:
    """What signing in at the legacy backend yielded: its cookies. Empty for local passwords."""

    cookies: tuple[LegacyCookie, ...]
    #: The browser that it was opened for: some backends bind a session to it.
    user_agent: str = ""
    #: The address of the backend that it lives on; "": any.
    backend: str = ""
