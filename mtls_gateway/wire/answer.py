"""A backend's answer: its head, how its body ends, and the head that the client gets instead.

Sources: RFC 9112, section 6.3 (message body length); RFC 9110, section 7.6.1 (hop by hop).
"""

from __future__ import annotations

import httptools

from mtls_gateway.wire.body import ChunkedBody, Decoder, FixedBody, NoBody, UntilClose
from mtls_gateway.wire.gate import Header


class BadAnswer(Exception):
    """What the backend said is not an HTTP/1.1 response; ``reason`` is a metric label."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class AnswerHead:
    """One response head; ``fields`` are end to end, in order, names as the backend wrote them."""

    __slots__ = (
        "cookies",
        "fields",
        "keep_alive",
        "length",
        "location",
        "phrase",
        "portal_close",
        "status",
        "upgrade",
        "written",
    )

    status: int
    phrase: bytes
    fields: list[Header]
    #: ``fields`` as lines of a message where they are known as such already, else None.
    written: bytes | None
    #: Values of ``Set-Cookie``.
    cookies: list[bytes]
    #: (name, value) of ``Location``, ``Content-Location`` and ``Refresh``.
    location: list[Header]
    #: -2 absent, -1 chunked, else Content-Length.
    length: int
    keep_alive: bool
    upgrade: bytes
    #: The portal asks to close the client's connection.
    portal_close: bool


_SPECIAL = {
    b"content-length": 1,
    b"transfer-encoding": 2,
    b"connection": 3,
    b"set-cookie": 4,
    b"location": 5,
    b"content-location": 5,
    b"refresh": 5,
    b"upgrade": 6,
    b"gateway-connection": 7,
    b"keep-alive": 8,
    b"proxy-authenticate": 8,
    b"proxy-connection": 8,
    b"trailer": 8,
    b"te": 8,
    b"alt-svc": 8,
}
#: The kinds whose lines are remembered: end to end without a meaning for the gateway, and those of one meaning.
_FIELD, _LENGTH, _CONNECTION, _DROPPED = 0, 1, 3, 8
_REMEMBERED = 4_096
#: Octets of a head whose lines are remembered.
_LONGEST_REMEMBERED = 4_096


class _Sink:
    """What httptools calls; it wants an object with these names. Like ``head._Sink``, without a circle."""

    __slots__ = ("on_header", "on_status", "pairs", "phrase")

    def __init__(self) -> None:
        self.pairs: list[Header] = []
        self.phrase: list[bytes] = []
        append = self.pairs.append

        def on_header(name: bytes, value: bytes) -> None:
            append((name, value))

        self.on_header = on_header
        self.on_status = self.phrase.append


class AnswerReader:
    """Reads answer heads for one worker. Not for two at a time."""

    __slots__ = ("_kinds", "_lines", "_sink", "_statuses", "most_octets")

    def __init__(self, most_octets: int = 65_536) -> None:
        #: That a head may have; held to by whoever cuts it out.
        self.most_octets = most_octets
        self._kinds: dict[bytes, int] = {}
        self._sink = _Sink()
        #: What llhttp made of header lines and status lines of HTTP/1.1, by their octets: backends repeat themselves.
        self._lines: dict[bytes, tuple[int, Header]] = {}
        self._statuses: dict[bytes, tuple[int, bytes]] = {}

    def read(self, octets: bytes) -> AnswerHead:
        """Read a head, from the status line to the empty line.

        Raises:
            BadAnswer: malformed, ambiguous, or not HTTP/1.
        """
        head = self._read_known(octets)
        return self._read(octets) if head is None else head

    def _read_known(self, octets: bytes) -> AnswerHead | None:
        """A head of which every line is known, none twice where that could mean anything; None: llhttp must read it."""
        lines = octets[:-4].split(b"\r\n")
        status = self._statuses.get(lines[0])
        if status is None:
            return None
        del lines[0]
        known = self._lines
        fields: list[Header] = []
        written = b""
        length = -2
        for line in lines:
            found = known.get(line)
            if found is None:
                return None
            kind, pair = found
            if kind == _FIELD:
                fields.append(pair)
                written += line + b"\r\n"
            elif kind == _LENGTH:
                if length != -2:
                    return None
                length = int(pair[1])
        head = AnswerHead()
        head.status, head.phrase = status
        head.keep_alive = True
        head.fields = fields
        head.written = written
        head.cookies = []
        head.location = []
        head.length = length
        head.upgrade = b""
        head.portal_close = False
        return head

    def _remember(self, octets: bytes, head: AnswerHead) -> None:
        """Remember the lines of a head that llhttp has read, those that mean nothing to other lines."""
        first, *lines = octets[:-4].split(b"\r\n")
        pairs = self._sink.pairs
        if len(lines) != len(pairs) or len(octets) > _LONGEST_REMEMBERED:
            return
        if max(len(self._lines), len(self._statuses)) >= _REMEMBERED:
            self._lines.clear()
            self._statuses.clear()
        if head.status >= 200 and first == b"HTTP/1.1 %d %b" % (head.status, head.phrase):
            self._statuses[first] = head.status, head.phrase
        for line, pair in zip(lines, pairs, strict=True):
            kind = self._kinds.get(pair[0])
            if kind == _CONNECTION and pair[1].lower() == b"keep-alive":
                # What HTTP/1.1 does anyhow.
                kind = _DROPPED
            # As it is written anew, so that the line itself may stand for it.
            if kind in (_FIELD, _LENGTH, _DROPPED) and line == b"%b: %b" % pair:
                self._lines[line] = kind, pair

    def _read(self, octets: bytes) -> AnswerHead:
        """Read a head with llhttp; what :meth:`read` remembers is held against this in the tests."""
        sink = self._sink
        pairs = sink.pairs
        pairs.clear()
        sink.phrase.clear()
        # A new one each time: the old one waits for the body of the answer before, which it will never see.
        parser = httptools.HttpResponseParser(sink)
        try:
            parser.feed_data(octets)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            raise BadAnswer("malformed_head") from None
        head = AnswerHead()
        head.status = parser.get_status_code()
        head.phrase = b"".join(sink.phrase)
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise BadAnswer("version")
        head.keep_alive = version == "1.1"
        head.fields = fields = []
        head.cookies = []
        head.location = []
        head.length = -2
        head.upgrade = b""
        head.portal_close = False
        head.written = None
        kinds = self._kinds
        connection = b""
        for pair in pairs:
            name, value = pair
            kind = kinds.get(name)
            if kind is None:
                kind = self._kind(name)
            if kind == 0:
                fields.append(pair)
            elif kind == 1:
                if head.length != -2 or not value.isdigit() or len(value) > 19:
                    raise BadAnswer("length")
                head.length = int(value)
            elif kind == 2:
                if head.length != -2 or value.lower() != b"chunked":
                    raise BadAnswer("encoding")
                head.length = -1
            elif kind == 3:
                connection += b"," + value.lower()
            elif kind == 4:
                head.cookies.append(value)
            elif kind == 5:
                head.location.append(pair)
            elif kind == 6:
                head.upgrade = value.lower()
            elif kind == 7:
                head.portal_close = value == b"close"
        if connection == b",keep-alive":
            head.keep_alive = head.length != -1 or version == "1.1"
        elif connection:
            named = {token.strip() for token in connection.split(b",")}
            if b"close" in named:
                head.keep_alive = False
            elif b"keep-alive" in named:
                # A length in chunks is beyond HTTP/1.0: whoever claims both is believed once (RFC 9112, section 6.1).
                head.keep_alive = head.length != -1 or version == "1.1"
            if named - {b"", b"close", b"keep-alive", b"upgrade"}:
                head.fields = [pair for pair in fields if pair[0].lower() not in named]
        if head.status == 101 and head.upgrade != b"websocket":
            raise BadAnswer("upgrade")
        self._remember(octets, head)
        return head

    def _kind(self, name: bytes) -> int:
        lowered = name.lower()
        kind = 8 if lowered.startswith(b"gateway-") and lowered not in _SPECIAL else _SPECIAL.get(lowered, 0)
        if len(self._kinds) < _REMEMBERED:
            self._kinds[name] = kind
        return kind


def body_of(head: AnswerHead, method: bytes) -> Decoder:
    """How the body of this answer to ``method`` ends (RFC 9112, section 6.3)."""
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return NoBody()
    if head.length == -1:
        return ChunkedBody()
    if head.length == -2:
        head.keep_alive = False
        return UntilClose()
    return FixedBody(head.length)
