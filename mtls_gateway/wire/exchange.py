"""One request and its answer, from admission to the last octet; its phases are those of :mod:`.phase`.

The client's octets go through an ``upload``, the backend's through a ``download``: each knows where its message ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_gateway.wire.admission import Question, ask
from mtls_gateway.wire.answer import AnswerHead, BadAnswer
from mtls_gateway.wire.backend import BackendConnection
from mtls_gateway.wire.body import BadBody
from mtls_gateway.wire.download import Download
from mtls_gateway.wire.gate import Admission, CookieSeal, Forward, Page, Redirect, Refuse, RequestHead, Route, Unread
from mtls_gateway.wire.phase import UNANSWERED, Phase
from mtls_gateway.wire.pool import Pool
from mtls_gateway.wire.refusal import HARMLESS, Refusal
from mtls_gateway.wire.tunnel import Tunnel
from mtls_gateway.wire.upload import Upload

if TYPE_CHECKING:
    from mtls_gateway.wire.frontend import Frontend

_SAID_AT_ONCE = (Forward, Page, Redirect, Refuse, Unread)
#: RFC 9110, section 9.2.1: safe. PUT and DELETE are idempotent as well, but nobody knows what a bank makes of them.
_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# Reading a member of an enumeration costs more than reading a global, and a request does it a dozen times.
_ADMITTING, _CONNECTING, _WAITING = Phase.ADMITTING, Phase.CONNECTING, Phase.WAITING
_RECALLED, _ANSWERING, _TUNNEL, _DONE = Phase.RECALLED, Phase.ANSWERING, Phase.TUNNEL, Phase.DONE
_PORTAL = Route.PORTAL


class Exchange:
    """See the module. Made and told of the client's octets by the frontend."""

    __slots__ = (
        "_admission", "_connection", "_download", "_frontend", "_pool", "_question", "_repeated", "_seal", "_upload",
        "backend", "head", "octets_down", "phase", "route", "started", "status", "verdict",
    )  # fmt: skip

    _admission: Forward | Page
    _seal: CookieSeal
    _pool: Pool

    def __init__(self, frontend: Frontend, head: RequestHead, started: float) -> None:
        self._frontend = frontend
        self.head = head
        self.started = started
        self.phase = _ADMITTING
        self.status = 0
        self.verdict = ""
        self.route = "none"
        #: The name of the backend that was asked last; "": none was.
        self.backend = ""
        self.octets_down = 0
        self._upload = Upload(head, frontend.worker.limits.body_octets) if head.length else None
        self._download: Download | None = None
        self._connection: BackendConnection | None = None
        self._repeated = False
        self._question: Question | None = None

    def _move(self, phase: Phase) -> None:
        if phase not in self.phase.followers:
            raise RuntimeError(f"an exchange cannot go from {self.phase} to {phase}")
        self.phase = phase

    @property
    def request_is_whole(self) -> bool:
        """Whether every octet of the request has come and was passed on."""
        return self._upload is None or self._upload.whole

    # --- admission ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Ask whether the request may pass and act on the answer, now or when it comes."""
        admission = ask(self._frontend.visitor, self.head)
        if type(admission) is Forward or isinstance(admission, _SAID_AT_ONCE):
            self._act(admission)
        else:
            self._frontend.expect("admission")
            self._question = Question(admission, self._told)

    def _told(self, admission: Admission) -> None:
        self._question = None
        self._frontend.guarded(self._act, admission)

    def _act(self, admission: Admission) -> None:
        self.verdict = admission.verdict
        if isinstance(admission, Forward):
            self._admission = admission
            if self.phase is _RECALLED and (admission.route is not _PORTAL or not self._is_repeatable):
                # It was cut for a reason that the visitor does not know, or it may have been carried out already.
                self._frontend.abort()
                return
            self.route = "portal" if admission.route is _PORTAL else "legacy"
            self._seal = admission.seal
            if not self._frontend.admitted(admission):
                self.answer_built_in(429)
            elif admission.route is _PORTAL and self._upload is not None:
                self._collect(self._upload, "portal_body_octets")
            else:
                self._forward(admission.route)
        elif isinstance(admission, Page):
            self.route = "page"
            self._frontend.unbind()
            self._admission = admission
            self._seal = self._frontend.worker.portal_seal
            self._forward(_PORTAL)
        elif isinstance(admission, Unread):
            if self._upload is None or self.head.body is not None:
                raise RuntimeError("a body was asked for that does not exist, or that was shown")
            self._collect(self._upload, "guarded_body_octets")
        elif isinstance(admission, Redirect):
            if admission.close:
                self.head.keep_alive = False
            self.answer_built_in(303, b"Location: %b\r\n" % admission.location)
        else:
            self.answer_built_in(admission.status)

    def _collect(self, upload: Upload, limit: str) -> None:
        try:
            upload.collect(getattr(self._frontend.worker.limits, limit), limit)
        except Refusal as refusal:
            self._blame_client(refusal)
        else:
            self._take_body()

    def _collected(self, upload: Upload) -> None:
        if self.route == "portal":
            self._forward(_PORTAL)
        else:
            self.head.body = upload.body
            self.begin()

    def _take_body(self) -> None:
        begun = self._frontend.begin_body(self.head)
        if begun:
            self.from_client(begun)

    def recall(self) -> bool:
        """What it was admitted with holds no longer: answer what is to be said now; False: it is too late for that.

        Of what the backend may still say nothing reaches the client, and nothing more reaches the legacy backend.
        """
        sent = self._download is not None
        if self.phase not in UNANSWERED or (sent and not self.request_is_whole):
            return False
        self.drop_backend()
        self._download = None
        self._repeated = False
        if self._upload is not None:
            self._upload.take_collected()
        self.head.keep_alive = False
        self._move(_RECALLED)
        self.begin()
        return True

    # --- a connection to the backend --------------------------------------------------------------

    def _forward(self, route: Route) -> None:
        worker = self._frontend.worker
        self._pool = worker.portal if route is _PORTAL else worker.legacy
        self._connect()

    def _connect(self, *, fresh: bool = False) -> None:
        self._move(_CONNECTING)
        connection = self._pool.acquire(self, repeatable=self._is_repeatable, fresh=fresh)
        if connection is not None:
            self._send_head(connection)
        elif self.phase is _CONNECTING:
            self._frontend.expect("backend_connect")

    @property
    def bound_to(self) -> str:
        """The address of the backend that the session lives on; "": none."""
        return self._admission.backend if type(self._admission) is Forward else ""

    @property
    def _is_repeatable(self) -> bool:
        """Whether asking twice does no harm: a safe method without a body, or a page of the portal's."""
        return type(self._admission) is Page or (self.head.method in _REPEATABLE and self._upload is None)

    def backend_ready(self, connection: BackendConnection) -> None:
        """A connection has been waited for."""
        if self.phase is _CONNECTING:
            self._frontend.guarded(self._send_head, connection)
        else:
            connection.backend.release(connection, reusable=True)

    def backend_unavailable(self, reason: str) -> None:
        """There is no connection to be had."""
        if self.phase is _CONNECTING:
            self._frontend.guarded(self.answer_built_in, *self._pool.answer_for(self.bound_to, reason))

    # --- the request ----------------------------------------------------------------------------

    def _send_head(self, connection: BackendConnection) -> None:
        """Send the request's head, and what has come of its body."""
        frontend = self._frontend
        worker = frontend.worker
        self._connection = connection
        self.backend = connection.backend.name
        face = frontend.face(connection.backend)
        self._download = Download(self.head, worker.answers, face, self._seal)
        octets = face.request(self.head, self._admission)
        self._move(_WAITING)
        upload = self._upload
        if upload is not None and self.route != "page":
            octets += upload.take_collected()
        connection.transport.write(octets)
        if upload is None or upload.whole or self.route == "page":
            frontend.expect("backend_first_octet")
        else:
            self._take_body()

    def from_client(self, data: bytes) -> None:
        """Octets of the request's body, or of what follows it."""
        upload = self._upload
        if upload is None or self.route == "page":
            self._frontend.hold_back(data)
            return
        try:
            ended = upload.pass_on(data, self._connection, self._frontend, waiting=self.phase is _WAITING)
        except Refusal as refusal:
            self._blame_client(refusal)
        else:
            if ended and upload.collects:
                self._collected(upload)

    def _blame_client(self, refusal: Refusal) -> None:
        self._frontend.worker.refused(refusal)
        if self.phase is _ANSWERING:
            self._frontend.abort()
        else:
            self.answer_built_in(refusal.status)

    def backend_paused(self, paused: bool) -> None:
        """Read the client no faster than the backend takes it."""
        frontend = self._frontend
        if self.phase is _WAITING:
            # Whose turn it is decides whom the time-out blames.
            expected = "backend_first_octet" if self._upload is None else self._upload.expected
            frontend.expect("backend_silence" if paused else expected)
        frontend.backend_paused(paused)

    # --- the answer -----------------------------------------------------------------------------

    def from_backend(self, data: bytes) -> None:
        """Octets of the answer."""
        try:
            self._from_backend(data)
        except Exception:
            self._frontend.failed()

    def _from_backend(self, data: bytes) -> None:
        frontend = self._frontend
        worker = frontend.worker
        download = self._download
        if download is None:
            raise RuntimeError("an answer came to an exchange that sent no request")
        out = b""
        try:
            answer = download.answer
            if answer is None:
                rest = download.read_head(data)
                answer = download.answer
                if rest is None or answer is None:
                    return
                data = rest
                self.status = answer.status
                out = download.head_for_client(stays_open=self._stays_open(answer))
                if answer.status == 101:
                    self._open_tunnel(out + data)
                    return
            if data or not download.done:
                out += download.feed(data)
        except (BadAnswer, BadBody) as error:
            connection = self._take_connection()
            self._backend_failed(error.reason, connection)
            connection.discard()
            return
        if self.phase is _WAITING:
            self._move(_ANSWERING)
        worker.tally.octets_down += len(data)
        self.octets_down += len(data)
        if download.done:
            # The connection goes first: if the client is slow to take this, no connection of a pool must wait for it.
            download.leave(self._take_connection(), self._upload)
            frontend.transport.write(out)
            self.finish()
            return
        frontend.expect("backend_silence")
        frontend.transport.write(out)

    def _stays_open(self, answer: AnswerHead) -> bool:
        admission = self._admission
        closes = (answer.portal_close and self.route != "legacy") or (type(admission) is Page and admission.close)
        return not closes and self.request_is_whole and self._frontend.stays_open(self.head)

    def _take_connection(self) -> BackendConnection:
        connection, self._connection = self._connection, None
        if connection is None:
            raise RuntimeError("an answer without a connection")
        return connection

    def _open_tunnel(self, out: bytes) -> None:
        connection = self._take_connection()
        self._move(_TUNNEL)
        self._frontend.transport.write(out)
        self._frontend.tunnelled(Tunnel(self, self._frontend, connection))

    def finish(self) -> None:
        """The answer, or the tunnel, is at its end."""
        self._move(_DONE)
        self._frontend.answered(self)

    def client_paused(self, paused: bool) -> None:
        """Read the backend no faster than the client takes it."""
        if self._connection is not None:
            self._connection.read(not paused)
            if not paused:
                self._frontend.expect("backend_silence")

    # --- what goes wrong ------------------------------------------------------------------------

    def backend_lost(self, error: Exception | None) -> None:
        """The backend has closed its connection, in order (None) or not."""
        self._frontend.guarded(self._backend_lost, error)

    def _backend_lost(self, error: Exception | None) -> None:
        connection = self._take_connection()
        download = self._download
        if download is None:
            raise RuntimeError("a connection was lost before a request was sent")
        if self.phase is _WAITING:
            # A pooled connection had gone stale: ask once more what was not answered and may be asked twice.
            if connection.served > 0 and self._is_repeatable and not self._repeated and not download.has_begun:
                self._repeated = True
                self._connect(fresh=True)
            else:
                self._backend_failed("closed", connection)
            return
        try:
            if error is not None:
                raise BadBody("truncated")
            last = download.end()
        except BadBody as broken:
            self._backend_failed(broken.reason, connection)
            return
        download.tell_health(connection)
        self._frontend.transport.write(last)
        self.finish()

    def _backend_failed(self, reason: str, connection: BackendConnection) -> None:
        # Who hangs up on half a request may have good reason.
        connection.backend.failed(reason, blamed=self.request_is_whole)
        if self.phase is _WAITING:
            self.answer_built_in(502)
        else:
            # Part of the answer is out: a cut connection is the only honest end.
            self._frontend.abort()

    def overdue(self, status: int | None) -> None:
        """Someone was too slow: answer ``status`` if that can still be said, else cut."""
        if status == 504 and self._connection is not None:
            self._connection.backend.failed("first_octet" if self.phase is _WAITING else "silence")
        if status is not None and self.phase in UNANSWERED:
            self.head.keep_alive = False
            self.answer_built_in(status)
        else:
            self._frontend.abort()

    def answer_built_in(self, status: int, extra: bytes = b"") -> None:
        """Answer without a backend; nothing of an answer may have been sent."""
        self.status = status
        self.drop_backend()
        self._move(_DONE)
        if not self.request_is_whole or status not in HARMLESS:
            self.head.keep_alive = False
        self._frontend.send_built_in(status, self.head, extra)
        self._frontend.answered(self)

    def drop_backend(self) -> None:
        """Leave the backend; what it may still say concerns nobody."""
        if self._question is not None:
            self._question.drop()
            self._question = None
        if self._connection is not None:
            self._connection.discard()
            self._connection = None
        elif self.phase is _CONNECTING:
            self._pool.give_up(self)

    def client_lost(self) -> Exchange:
        """The client has gone, or was cut; returns itself, for the log."""
        self.drop_backend()
        if self.phase is not _DONE:
            self._move(_DONE)
        return self
