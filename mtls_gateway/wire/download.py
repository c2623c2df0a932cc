"""The answer on its way to the client: interim heads passed over, its end known, its body encoded anew."""

from __future__ import annotations

from mtls_gateway import metrics
from mtls_gateway.wire.answer import AnswerHead, AnswerReader, BadAnswer, body_of
from mtls_gateway.wire.backend import BackendConnection
from mtls_gateway.wire.body import BadBody, ChunkedBody, Decoder, UntilClose
from mtls_gateway.wire.gate import CookieSeal, RequestHead
from mtls_gateway.wire.rewrite import Face
from mtls_gateway.wire.upload import Upload

#: Interim answers (1xx) that a backend may send before its answer.
_INTERIM = 8


class Download:
    """One answer; made when its request goes out."""

    __slots__ = ("_body", "_chunked", "_face", "_inbox", "_interim", "_limit", "_reader", "_request", "_seal", "answer")

    def __init__(self, request: RequestHead, reader: AnswerReader, face: Face, seal: CookieSeal) -> None:
        self._request = request
        self._face = face
        self._seal = seal
        self._reader = reader
        self._limit = reader.most_octets
        self._inbox = b""
        self._interim = 0
        self._chunked = False
        self._body: Decoder | None = None
        self.answer: AnswerHead | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the backend has said anything at all."""
        return self.answer is not None or self._interim > 0 or bool(self._inbox)

    def read_head(self, data: bytes) -> bytes | None:
        """Octets after the head, which is then in ``answer``; None while it is not whole.

        Raises:
            BadAnswer: malformed, too long, too many interim answers, or an upgrade that nobody asked for.
        """
        if self._inbox:
            data = self._inbox + data
            self._inbox = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end > self._limit or (end < 0 and len(data) > self._limit):
                raise BadAnswer("head_octets")
            if end < 0:
                self._inbox = data
                return None
            answer = self._reader.read(data[: end + 4])
            data = data[end + 4 :]
            if answer.status >= 200:
                break
            if answer.status == 101:
                if not self._request.upgrade:
                    raise BadAnswer("upgrade")
                break
            self._interim += 1
            if self._interim > _INTERIM:
                raise BadAnswer("interim_answers")
        self.answer = answer
        self._body = body_of(answer, self._request.method)
        return data

    def head_for_client(self, *, stays_open: bool) -> bytes:
        """The head that the client gets; ``request.keep_alive`` falls unless the connection ``stays_open`` after it."""
        answer, body, request = self.answer, self._body, self._request
        if answer is None:
            raise RuntimeError("no answer has come")
        framing = b""
        if answer.status == 101:
            framing = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % answer.upgrade
            return self._face.answer(answer, self._seal, framing)
        if isinstance(body, (ChunkedBody, UntilClose)):
            if request.http_1_0:
                stays_open = False
            else:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
        elif answer.length >= 0 and answer.status != 204:
            framing = b"Content-Length: %d\r\n" % answer.length
        if not stays_open:
            request.keep_alive = False
            framing += b"Connection: close\r\n"
        elif request.http_1_0:
            framing += b"Connection: keep-alive\r\n"
        return self._face.answer(answer, self._seal, framing)

    def feed(self, data: bytes) -> bytes:
        """What the client is sent for ``data`` of the body.

        Raises:
            BadBody: the framing is broken.
        """
        body = self._body
        if body is None:
            raise RuntimeError("a body without a head")
        octets = body.feed(data)
        if self._chunked:
            if octets:
                octets = b"%x\r\n%b\r\n" % (len(octets), octets)
            if body.done:
                octets += b"0\r\n\r\n"
        return octets

    def end(self) -> bytes:
        """The backend has closed its side; what the client is still sent.

        Raises:
            BadBody: it should not have closed yet.
        """
        if self._body is None:
            raise BadBody("truncated")
        self._body.end()
        return b"0\r\n\r\n" if self._chunked else b""

    @property
    def done(self) -> bool:
        """Whether the answer's last octet has come."""
        return self._body is not None and self._body.done

    @property
    def has_excess(self) -> bool:
        """Whether the backend said more than its answer: its connection can be believed no longer."""
        return self._body is not None and bool(self._body.excess)

    def tell_health(self, connection: BackendConnection) -> None:
        """The answer is whole: it may tell that its backend is well, or ill."""
        answer, health = self.answer, connection.backend.health
        if answer is not None and (health.troubled or answer.status >= 500):
            health.answered(answer.status)

    def leave(self, connection: BackendConnection, upload: Upload | None) -> None:
        """Give ``connection`` back after the last octet, unless anything about it is in doubt."""
        answer = self.answer
        if connection.backend.health.troubled or (answer is not None and answer.status >= 500):
            self.tell_health(connection)
        reusable = answer is not None and answer.keep_alive and not self.has_excess
        if self.has_excess:
            metrics.BACKEND_FAILURES.labels(connection.backend.name, "excess_octets").inc()
        if upload is not None:
            # An answer to a request that the backend has not read: what it makes of the rest, nobody knows.
            reusable = reusable and upload.whole and not connection.transport.get_write_buffer_size()
        connection.backend.release(connection, reusable=reusable)
