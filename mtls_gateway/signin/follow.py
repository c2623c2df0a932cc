"""Follows the changes feed: what was revoked, suspended or ended reaches a worker's caches and open connections.

One step is one poll: read what is new, forget what it speaks of, read that again where somebody is
connected, and cut who is no longer admitted (clause C.3). A step that fails is made again at the next poll;
what it could not decide is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Protocol

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import FellBehind, GatewayError, StoreUnavailable
from mtls_gateway.model import CertificateId, Change, ChangeKind, Code, Site, read_serial
from mtls_gateway.signin.gate import Gate
from mtls_gateway.signin.identity import identify
from mtls_gateway.signin.knowledge import Knowledge
from mtls_gateway.signin.newcomers import Newcomers
from mtls_gateway.signin.session import judge_session

_LOG = logging.getLogger(__name__)
#: Labels the figures, so that processes which read no feed have none.
_ROLE = "gateway"

#: How long one poll judges again before it reads what is new; the rest waits for the next.
_JUDGING_SECONDS = 0.3
#: Rows read at a time when many connections must be judged again.
_AT_ONCE = 64
#: Certificates judged between two chances for requests to be answered.
_BETWEEN_PAUSES = 256


class Feed(Protocol):
    """The store, as far as this module asks it."""

    async def latest_change(self) -> int:
        """The newest sequence number, 0 when there is none."""
        ...

    async def changes_since(self, sequence: int, limit: int = 10_000) -> Sequence[Change]:
        """Changes after ``sequence``, in order; raises FellBehind when some of them are no longer there."""
        ...

    async def wait_for_change(self, seconds: float) -> None:
        """Return when there may be a change, at the latest after about ``seconds``; never raises."""
        ...


class Connections(Protocol):
    """The open connections, by what was admitted on them (``wire.live``)."""

    def holds(self, key: Hashable) -> bool:
        """Whether an open connection was admitted with ``key``."""
        ...

    def keys(self) -> list[Hashable]:
        """What open connections were admitted with."""
        ...

    def cut(self, key: Hashable, cause: str) -> int:
        """Cut every connection that was admitted with ``key``; returns how many."""
        ...


TakeRevocation = Callable[[int], Awaitable[None]]
"""Map the revocation indexes of a generation, or the newest for 0; raises a GatewayError when they cannot be."""


class Follower:
    """See the module. One for each worker."""

    def __init__(
        self,
        configuration: Configuration,
        feed: Feed,
        gate: Gate,
        connections: Connections,
        take_revocation: TakeRevocation,
        clock: Clock,
    ) -> None:
        self._poll_every = configuration.store.poll
        self._silence = configuration.store.silence
        self._note_use_every = configuration.sessions.note_use_every
        self._feed = feed
        self._gate = gate
        self._knowledge: Knowledge = gate.knowledge
        self._newcomers = Newcomers(gate.knowledge)
        self._connections = connections
        self._take_revocation = take_revocation
        self._clock = clock
        self._sequence = 0
        #: A generation that was announced and could not be taken yet.
        self._owed_revocation: int | None = None
        #: Closures of the service were planned, begun or lifted, and are to be read.
        self._owes_closures = False
        #: The closure for which everything was cut.
        self._enforced: int | None = None
        #: Open, but resting on what is no longer known; the newest last.
        self._certificates: dict[CertificateId, None] = {}
        self._digests: dict[bytes, None] = {}
        #: POSIX seconds of the first failure since the feed was last heard; None: it is heard.
        self.failing_since: float | None = None

    # --- for as long as the worker lives --------------------------------------------------------

    async def start(self) -> None:
        """Take up the feed at its end; from then on the gate may admit somebody.

        Raises:
            StoreUnavailable: the store does not answer.
            GatewayError: the revocation indexes cannot be taken.
        """
        asked = self._clock.monotonic()
        self._sequence = await self._feed.latest_change()
        # Only now: what was cached or mapped before could be older than the place in the feed.
        self._knowledge.forget()
        await self._knowledge.read_closures()
        await self._take_revocation(0)
        self._heard(asked)

    async def run(self) -> None:
        """Poll, note uses, read what was opened elsewhere, count; until cancelled. Else the worker must end with it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self.poll, lambda: self._feed.wait_for_change(self._poll_every)))
            tasks.create_task(_repeat(self.note_use, lambda: asyncio.sleep(self._note_use_every)))
            tasks.create_task(_repeat(self._newcomers.read, self._newcomers.wait))
            tasks.create_task(_repeat(self._count, lambda: asyncio.sleep(1.0)))

    async def _count(self) -> None:
        self._gate.add_up()
        metrics.SESSIONS_KNOWN.set(len(self._knowledge.sessions))

    async def note_use(self) -> None:
        """Write down when sessions were last used; what could not be is written down the next time."""
        try:
            await self._knowledge.sessions.note_use(self._clock.now())
        except StoreUnavailable as error:
            _LOG.error("the last use of sessions was not written down and will be later: %s", error)

    # --- one step -------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Read what is new and apply it; more than fits into one answer waits for the next poll."""
        asked = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._silence):
                changes = await self._feed.changes_since(self._sequence)
        except FellBehind as error:
            _LOG.warning("everything known is forgotten and asked for again: %s", error)
            await self._begin_anew()
            return
        except (StoreUnavailable, TimeoutError) as error:
            self._failed(error)
            return
        if changes:
            await self._apply(changes)
        if await self._take_owed():
            self._heard(asked)
        self._cut_if_closed()
        await self._work_off()

    async def _take_owed(self) -> bool:
        """Read and take what was announced; False: not yet, so that the feed was not heard."""
        if self._owes_closures:
            try:
                await self._knowledge.read_closures()
            except StoreUnavailable as error:
                self._failed(error)
                return False
            self._owes_closures = False
        return await self._take_owed_revocation()

    def _cut_if_closed(self) -> None:
        """End what is under way when the service closes, at the first poll of the closure."""
        closure = self._knowledge.closure(self._clock.now())
        metrics.SERVICE_CLOSED.set(0 if closure is None else 1)
        if closure is None:
            self._enforced = None
            return
        if self._enforced == closure.closure_id:
            return
        self._enforced = closure.closure_id
        for key in self._connections.keys():  # noqa: SIM118 - no dict
            if isinstance(key, tuple) and key[0] in ("session", "presented"):
                self._connections.cut(key, closure.kind.code.value)

    def _heard(self, asked: float) -> None:
        if self.failing_since is not None:
            _LOG.warning("the changes feed is heard again")
            self.failing_since = None
        self._knowledge.heard(asked)
        metrics.CHANGES_SEQUENCE.labels(_ROLE).set(self._sequence)
        metrics.CHANGES_POLLED.labels(_ROLE).set(self._clock.now())

    def _failed(self, error: BaseException) -> None:
        if self.failing_since is None:
            self.failing_since = self._clock.now()
            _LOG.error("the changes feed is not heard; nobody is admitted from %g s on: %s", self._silence, error)
        if not self._knowledge.is_reliable:
            # What is under way was admitted on what can no longer be checked. Each connection holds one session.
            for key in self._connections.keys():  # noqa: SIM118 - no dict
                if isinstance(key, tuple) and key[0] == "session":
                    self._connections.cut(key, "store_silent")

    async def _begin_anew(self) -> None:
        """Changes were missed: nothing that was known counts, and everything open is judged again."""
        asked = self._clock.monotonic()
        try:
            self._sequence = await self._feed.latest_change()
        except StoreUnavailable as error:
            self._failed(error)
            return
        self._knowledge.forget()
        self._owed_revocation = 0
        self._owes_closures = True
        if await self._take_owed():
            self._heard(asked)
        self._search()
        await self._work_off()

    async def _apply(self, changes: Sequence[Change]) -> None:
        identities, sessions = self._knowledge.identities, self._knowledge.sessions
        companies: dict[str, list[bytes]] = {}
        search = False
        for change in changes:
            kind, subject = change.kind, change.subject
            match kind:
                case ChangeKind.CERTIFICATE:
                    self._judge_soon(identities.evict(kind, subject), ())
                    self._judge_soon(_read_certificate(subject), ())
                case ChangeKind.USER:
                    self._judge_soon(identities.evict(kind, subject), sessions.evict(kind, subject))
                    search = search or self._connections.holds(("user", subject))
                case ChangeKind.COMPANY:
                    identities.evict(kind, subject)
                    companies[subject] = sessions.evict(kind, subject)
                    search = search or self._connections.holds(("company", subject))
                case ChangeKind.SESSION:
                    sessions.evict(kind, subject)
                    self._judge_soon((), [bytes.fromhex(subject)])
                case ChangeKind.OPENED:
                    self._newcomers.hear(bytes.fromhex(subject))
                case ChangeKind.REVOCATION:
                    self._owed_revocation = int(subject)
                case ChangeKind.CLOSURE:
                    self._owes_closures = True
                case ChangeKind.ASK_AGAIN:
                    self._knowledge.unwanted.mark(subject)
            self._sequence = change.sequence
        for company, known in companies.items():
            await self._judge_company(company, known)
        if search:
            self._search()

    async def _take_owed_revocation(self) -> bool:
        """Take an announced generation and cut whom it revokes; False: not yet, so that the feed was not heard."""
        if self._owed_revocation is None:
            return True
        try:
            await self._take_revocation(self._owed_revocation)
        except GatewayError as error:
            self._failed(error)
            return False
        self._owed_revocation = None
        for count, shown in enumerate(self._gate.shown(), start=1):
            certificate = shown.accepted_as
            verdict = shown.judge(self._gate.judge, self._clock.now())
            if certificate is not None and isinstance(verdict, Code):
                self._connections.cut(("certificate", certificate), verdict.value)
                # A page of the portal, e.g. a password on its way: no CRL is looked at behind the worker.
                self._connections.cut(("presented", certificate), verdict.value)
            if count % _BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
        return True

    # --- judging again --------------------------------------------------------------------------

    def _search(self) -> None:
        """Find everything open that rests on what is no longer known."""
        for key in self._connections.keys():  # noqa: SIM118 - no dict
            match key:
                case ("certificate", CertificateId() as certificate):
                    if certificate not in self._knowledge.identities:
                        self._certificates[certificate] = None
                case ("session", bytes() as digest):
                    if digest not in self._knowledge.sessions:
                        self._digests[digest] = None
                case _:
                    pass

    def _judge_soon(self, certificates: Iterable[CertificateId], digests: Iterable[bytes]) -> None:
        self._certificates.update(dict.fromkeys(certificates))
        self._digests.update(dict.fromkeys(digests))

    async def _work_off(self) -> None:
        """Judge again what is to be judged, the newest first, but not for so long that newer changes have to wait."""
        holds = self._connections.holds
        until = self._clock.monotonic() + _JUDGING_SECONDS
        while (self._certificates or self._digests) and self._clock.monotonic() < until:
            judgements: list[Awaitable[None]] = []
            while self._certificates and len(judgements) < _AT_ONCE:
                certificate, _ = self._certificates.popitem()
                if holds(("certificate", certificate)):
                    judgements.append(self._judge_certificate(certificate))
            # Sessions come after: a connection that was cut for its certificate is not cut once more for its session.
            while self._digests and not self._certificates and not judgements:
                chunk = [self._digests.popitem()[0] for _ in range(min(_AT_ONCE, len(self._digests)))]
                judgements = [self._judge_session(digest) for digest in chunk if holds(("session", digest))]
            await asyncio.gather(*judgements)

    async def _judge_company(self, company_id: str, digests: Iterable[bytes]) -> None:
        """A suspended company is cut as a whole on the word of one of its sessions: there may be thousands."""
        digest = next((one for one in digests if self._connections.holds(("session", one))), None)
        if digest is None:
            return
        try:
            session = await self._knowledge.sessions.look_up(digest)
        except StoreUnavailable:
            return
        if session is not None and session.user.company_id == company_id and session.user.company_suspended:
            self._connections.cut(("company", company_id), Code.COMPANY_SUSPENDED.value)

    async def _judge_certificate(self, certificate: CertificateId) -> None:
        try:
            known = await self._knowledge.identities.look_up(certificate)
        except StoreUnavailable:
            # Something about it has changed, and nobody can say what.
            self._connections.cut(("certificate", certificate), Code.UNAVAILABLE.value)
            return
        judgement = identify(known, self._clock.now())
        if isinstance(judgement, Code):
            self._connections.cut(("certificate", certificate), judgement.value)

    async def _judge_session(self, digest: bytes) -> None:
        try:
            session = await self._knowledge.sessions.look_up(digest)
        except StoreUnavailable:
            self._connections.cut(("session", digest), Code.UNAVAILABLE.value)
            return
        if session is None:
            self._connections.cut(("session", digest), Code.SESSION_ENDED.value)
            return
        site = Site.PUBLIC if session.certificate is None else Site.CERTIFICATE
        # Never idle: what is being transferred is in use.
        refusal = judge_session(session, site, session.certificate, self._clock.now(), idle=float("inf"))
        if refusal is not None:
            self._connections.cut(("session", digest), refusal.value)


async def _repeat(step: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]) -> None:
    while True:
        await step()
        await pause()


def _read_certificate(printed: str) -> list[CertificateId]:
    """What ``str(CertificateId)`` was printed from, or nothing: it is then only looked for among what is known."""
    serial, separator, issuer = printed.partition(" of ")
    try:
        return [CertificateId(issuer, read_serial(serial))] if separator else []
    except ValueError:
        return []
