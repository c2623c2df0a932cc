"""A request's head: read by llhttp without leniency, then held against what it still lets pass.

The frontend cuts the head out of the stream and gives it here whole, with nothing behind it, so that
llhttp and the frontend can never disagree about where it ends. Whatever is refused is a
:class:`~mtls_gateway.wire.refusal.Refusal` that carries its status.

Sources: RFC 9112, sections 2 to 7; RFC 9110, sections 7 and 10; clause B.3.
"""

from __future__ import annotations

import httptools

from mtls_gateway.config import Limits
from mtls_gateway.wire.fields import Fate, Fates, fate_of
from mtls_gateway.wire.gate import Header, RequestHead
from mtls_gateway.wire.refusal import Refusal

#: Of requests that usually come without a body.
_REMEMBERED_METHODS = frozenset({b"GET", b"HEAD"})
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
#: Octets that a request target may hold (RFC 3986 without the fragment); ``\\`` and ``|`` are not among them.
_TARGET = frozenset(b"!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~[]")
#: Browsers send these raw in queries, though RFC 3986 would have them encoded.
_QUERY_TOO = frozenset(b'|^`{}"')
_TARGETS_REMEMBERED = 8_192
#: Header blocks whose reading is remembered, and their octets at most: a megabyte, and somewhat more for what was read.
_BLOCKS_REMEMBERED = 512
_LONGEST_REMEMBERED = 2_048
_SPACE = b" \t"
# Reading a member of an enumeration costs more than reading a global: those that nearly every head asks for.
_PASS, _DROP, _HOST, _COOKIE = Fate.PASS, Fate.DROP, Fate.HOST, Fate.COOKIE
_ACCEPT, _USER_AGENT, _REFERER = Fate.ACCEPT, Fate.USER_AGENT, Fate.REFERER


class _Sink:
    """What httptools calls; it wants an object with these names.

    The callbacks know the lists and not the sink: no circle that would wait for the garbage collector.
    """

    __slots__ = ("on_header", "on_url", "pairs", "target")

    def __init__(self) -> None:
        self.target: list[bytes] = []
        self.pairs: list[Header] = []
        append = self.pairs.append

        def on_header(name: bytes, value: bytes) -> None:
            append((name, value))

        self.on_header = on_header
        self.on_url = self.target.append


class HeadReader:
    """Reads heads for one worker. Not for two heads at a time."""

    __slots__ = ("_blocks", "_fates", "_limits", "_most_octets", "_parser", "_sink", "_targets")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most_octets = limits.head_octets
        self._fates = Fates()
        self._sink = _Sink()
        self._parser = httptools.HttpRequestParser(self._sink)
        #: Targets that were found well-formed: the check is a set operation, but requests repeat themselves.
        self._targets: set[bytes] = set()
        #: What was read of a header block, by its octets; a browser sends the same one again and again.
        self._blocks: dict[bytes, tuple[bytes, RequestHead]] = {}

    def read(self, octets: bytes, authority: bytes) -> RequestHead:
        """Read one head, from the request line to the empty line.

        ``authority`` is what ``Host`` must say on this connection's site, lower-case.

        Raises:
            Refusal: with the status to answer.
        """
        known = self.read_again(octets, authority)
        if known is not None:
            return known
        block = octets[octets.find(b"\r\n") :]
        head = self._read(octets, authority)
        if (
            head.method in _REMEMBERED_METHODS
            and len(block) <= _LONGEST_REMEMBERED
            and not (head.length or head.upgrade or head.expects_continue or head.http_1_0)
        ):
            if len(self._blocks) >= _BLOCKS_REMEMBERED:
                self._blocks.clear()
            head.written = b"".join([b"%b: %b\r\n" % pair for pair in head.headers])
            self._blocks[block] = authority, _again(head, head.target)
        return head

    def read_again(self, octets: bytes, authority: bytes) -> RequestHead | None:
        """The head that ``octets`` are, to their last one, if its header block was read before; None: it may be any.

        Nothing is behind such a head: a remembered block has its empty line at its end, and nowhere else.
        """
        end = octets.find(b"\r\n")
        remembered = self._blocks.get(octets[end:])
        if remembered is None or len(octets) > self._most_octets:
            return None
        method, _, rest = octets[:end].partition(b" ")
        target, _, version = rest.partition(b" ")
        expected, model = remembered
        if version == b"HTTP/1.1" and target in self._targets and method == model.method and authority == expected:
            return _again(model, target)
        return None

    def _read(self, octets: bytes, authority: bytes) -> RequestHead:
        """Read a head that is not known, with llhttp; what :meth:`read` remembers is held against this in the tests."""
        clean = True
        try:
            self._parser.feed_data(octets)
        except httptools.HttpParserUpgrade:
            clean = False
        except httptools.HttpParserError:
            # The parser served other clients before: whatever they left in it, this head is not refused for that.
            clean = False
            self._feed_anew(octets)
        try:
            head = self._examine(octets, authority)
        except Refusal:
            self._renew()
            raise
        if clean and head.keep_alive and not head.length:
            self._sink.pairs.clear()
            self._sink.target.clear()
        else:
            # The parser now waits for a body that it will never see, or for nothing any more.
            self._renew()
        return head

    def _feed_anew(self, octets: bytes) -> None:
        self._renew()
        try:
            self._parser.feed_data(octets)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            self._renew()
            raise _refused_by_llhttp(error, octets) from None

    def _renew(self) -> None:
        self._sink = _Sink()
        self._parser = httptools.HttpRequestParser(self._sink)

    def _examine(self, octets: bytes, authority: bytes) -> RequestHead:
        pairs = self._sink.pairs
        head = RequestHead()
        self._read_request_line(octets, head)
        if len(pairs) > self._limits.header_count:
            raise Refusal(431, "header_count", limit="header_count")

        head.length = 0
        head.cookies = b""
        head.user_agent = b""
        head.origin = b""
        head.referer = b""
        head.wants_html = False
        head.expects_continue = False
        head.upgrade = b""
        head.written = None
        forwarded: list[Header] = []
        head.headers = forwarded

        host: bytes | None = None
        length: bytes | None = None
        encoding: bytes | None = None
        connection = b""
        websocket = False
        known = self._fates.known
        for pair in pairs:
            name, value = pair
            fate = known.get(name)
            if fate is None:
                fate = self._fates.decide(name)
            if fate is _PASS:
                forwarded.append(pair)
            elif fate is _DROP:
                continue
            elif fate is _HOST:
                if host is not None:
                    raise Refusal(400, "host_twice")
                host = value
            elif fate is _COOKIE:
                # RFC 9113, section 8.2.3 splits cookies; in HTTP/1.1 two headers are unusual but not ambiguous.
                head.cookies = head.cookies + b"; " + value if head.cookies else value
            elif fate is _ACCEPT:
                head.wants_html = head.wants_html or b"text/html" in value
                forwarded.append(pair)
            elif fate is _USER_AGENT:
                head.user_agent = value
                forwarded.append(pair)
            elif fate is _REFERER:
                head.referer = value
            elif fate is Fate.CONNECTION:
                connection = connection + b"," + value if connection else value
            elif fate is Fate.ORIGIN:
                if head.origin:
                    raise Refusal(400, "origin_twice")
                head.origin = value
            elif fate is Fate.LENGTH:
                if length is not None:
                    raise Refusal(400, "length_twice")
                length = value
            elif fate is Fate.ENCODING:
                if encoding is not None:
                    raise Refusal(400, "encoding_twice")
                encoding = value
            elif fate is Fate.UPGRADE:
                head.upgrade = head.upgrade + b"," + value.lower() if head.upgrade else value.lower()
            elif fate is Fate.EXPECT:
                if value.rstrip(_SPACE).lower() != b"100-continue":
                    raise Refusal(417, "expectation")
                # RFC 9110, section 10.1.1: an HTTP/1.0 client cannot have meant it.
                head.expects_continue = not head.http_1_0
            else:
                websocket = True
                forwarded.append(pair)

        if host is None:
            raise Refusal(400, "host_missing")
        if host != authority and host.rstrip(_SPACE).lower() != authority:
            raise Refusal(421, "host_is_not_the_sites")
        if encoding is not None or length is not None:
            head.length = self._body_length(length, encoding, head)
            head.body = None
        if connection and connection != b"keep-alive":
            self._apply_connection(head, connection)
        elif connection:
            head.keep_alive = True
            head.upgrade = b""
        else:
            head.upgrade = b""
        if head.upgrade and (head.upgrade != b"websocket" or head.method != b"GET" or head.length or head.http_1_0):
            # h2c and its like are not offered: the request is answered as if it had not asked (RFC 9110, 7.8).
            head.upgrade = b""
        if websocket and not head.upgrade:
            head.headers = [field for field in head.headers if fate_of(field[0]) is not Fate.WEBSOCKET]
        return head

    def _read_request_line(self, octets: bytes, head: RequestHead) -> None:
        parser = self._parser
        method = parser.get_method()
        target = b"".join(self._sink.target)
        head.http_1_0 = False
        line = b"%b %b HTTP/1.1\r\n" % (method, target)
        if not octets.startswith(line):
            if target and parser.get_http_version() not in ("1.1", "1.0"):
                raise Refusal(505, "version")
            # llhttp takes several spaces in the request line.
            if not octets.startswith(line[:-3] + b"0\r\n"):
                raise Refusal(400, "request_line")
            head.http_1_0 = True
        if method not in METHODS:
            raise Refusal(405 if method in (b"TRACE", b"CONNECT") else 501, "method")
        if target not in self._targets:
            self._examine_target(target)
        head.method = method
        head.target = target
        # llhttp has forgotten its flags by now: whether the connection stays is decided here (RFC 9112, section 9.3).
        head.keep_alive = not head.http_1_0

    def _examine_target(self, target: bytes) -> None:
        if len(target) > self._limits.target_octets:
            raise Refusal(414, "target_octets", limit="target_octets")
        if not target.startswith(b"/"):
            raise Refusal(400, "target_form")
        path, _, query = target.partition(b"?")
        if not _TARGET.issuperset(path) or not (_TARGET | _QUERY_TOO).issuperset(query):
            raise Refusal(400, "target_octet")
        if len(target) < 256:
            if len(self._targets) >= _TARGETS_REMEMBERED:
                self._targets.clear()
            self._targets.add(target)

    def _body_length(self, length: bytes | None, encoding: bytes | None, head: RequestHead) -> int:
        if encoding is not None:
            if length is not None:
                raise Refusal(400, "length_and_encoding")
            if encoding.lower() != b"chunked":
                raise Refusal(501, "encoding")
            if head.http_1_0:
                raise Refusal(400, "encoding_in_http_1_0")
            return -1
        if length is None or not length.isdigit() or len(length) > 19:
            raise Refusal(400, "length")
        octets = int(length)
        if octets > self._limits.body_octets:
            raise Refusal(413, "body_octets", limit="body_octets")
        return octets

    @staticmethod
    def _apply_connection(head: RequestHead, connection: bytes) -> None:
        """RFC 9110, section 7.6.1: what ``Connection`` names goes no further; nothing of the gateway's own is named."""
        named = {token.strip() for token in connection.lower().split(b",")}
        if b"upgrade" not in named:
            head.upgrade = b""
        if b"close" in named:
            head.keep_alive = False
        elif b"keep-alive" in named:
            head.keep_alive = True
        if named - {b"", b"close", b"keep-alive", b"upgrade"}:
            head.headers = [pair for pair in head.headers if pair[0].lower() not in named]


def _again(model: RequestHead, target: bytes) -> RequestHead:
    """The same head for another ``target``: llhttp reads no header by what the target is."""
    head = RequestHead()
    head.method = model.method
    head.target = target
    head.headers = model.headers
    head.written = model.written
    head.cookies = model.cookies
    head.user_agent = model.user_agent
    head.wants_html = model.wants_html
    head.length = 0
    head.keep_alive = model.keep_alive
    head.upgrade = b""
    head.expects_continue = False
    head.http_1_0 = False
    head.origin = model.origin
    head.referer = model.referer
    return head


def _refused_by_llhttp(error: httptools.HttpParserError, octets: bytes) -> Refusal:
    """One of a few words for llhttp's many sentences: they are a metric's label."""
    said = str(error).lower()
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        # A TLS record or another protocol looks like this as well; a token that is no method does not.
        return Refusal(501 if octets.split(b" ", 1)[0].isalpha() else 400, "method")
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return Refusal(400, "target_octet")
    for words, reason in _SAID:
        if words in said:
            return Refusal(400, reason)
    return Refusal(400, "syntax")


_SAID = (
    ("duplicate content-length", "length_twice"),
    ("present with", "length_and_encoding"),
    ("transfer-encoding", "encoding"),
    ("content-length", "length"),
    ("whitespace after header value", "folding"),
    ("cr", "line_end"),
    ("lf", "line_end"),
    ("header token", "header_name"),
    ("header value", "header_value"),
    ("version", "version"),
)
