"""The server's end of one TLS connection, straight on the functions of the wheel's OpenSSL.

pyOpenSSL's ``Connection`` asks and allocates more at every call than OpenSSL itself takes for a small record. This is
the same seam (:class:`Tls`) with as little between as can be: what pyOpenSSL's does here, this does, and the tests of
both are the same (``tests/wire/test_tls_connection.py``). The figures are in ``docs/performance.md``.

The functions are those that pyOpenSSL itself calls, from the ``cryptography`` wheel; nothing else of it is used.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

_lib, _ffi = Binding.lib, Binding.ffi
# Looked up once: each is called for every record.
_read, _write = _lib.SSL_read, _lib.SSL_write
_WANT_READ, _WANT_WRITE = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_WANT_WRITE

#: The largest TLS record (RFC 8446, section 5.1).
RECORD = 16_384
#: Octets that are read at once at most: eight records.
AT_ONCE = 8 * RECORD
_NULL = _ffi.NULL


class Tls(Protocol):
    """What ``wire`` asks of a TLS connection; an :class:`OpenSSL.SSL.Connection` satisfies it too.

    Whatever cannot go on now raises ``SSL.WantReadError`` or ``SSL.WantWriteError``; the peer's close_notify raises
    ``SSL.ZeroReturnError``, its disappearance ``SSL.SysCallError``, anything else ``SSL.Error``.
    """

    def do_handshake(self) -> None:
        """Go on with the handshake; returns when it is done."""
        ...

    def recv(self, bufsiz: int, /) -> bytes:
        """At most so many octets, at least one."""
        ...

    def send(self, buf: bytes | bytearray | memoryview, /) -> int:
        """Send what the socket takes; returns how much that was."""
        ...

    def pending(self) -> int:
        """More than zero: the next ``recv`` has something to say that no event of the socket's will announce."""
        ...

    def shutdown(self) -> bool:
        """Send close_notify."""
        ...


class Inbox:
    """Where one worker's OpenSSL puts what it has read; copied from there at once.

    One for each thread that reads, and never for two: a call into OpenSSL lets other threads run.
    """

    __slots__ = ("octets", "start")

    def __init__(self) -> None:
        #: OpenSSL's view and Python's.
        self.start = _ffi.new("char[]", AT_ONCE)
        self.octets = _ffi.buffer(self.start)


class TlsConnection:
    """See the module. ``descriptor`` is the non-blocking socket's; it is closed by whoever opened it."""

    __slots__ = ("_failure", "_inbox", "_ssl")

    def __init__(self, context: SSL.Context, descriptor: int, inbox: Inbox) -> None:
        ssl = _lib.SSL_new(context._context)
        if ssl == _NULL:
            raise _error()
        self._ssl = _ffi.gc(ssl, _lib.SSL_free)
        if _lib.SSL_set_fd(ssl, descriptor) != 1:
            raise _error()
        _lib.SSL_set_accept_state(ssl)
        self._inbox = inbox
        #: What the reading of a further record came to, after a whole one that had to be delivered first.
        self._failure: SSL.Error | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake; returns when it is done."""
        result = _lib.SSL_do_handshake(self._ssl)
        if _problems:
            _raise_problem()
        if result != 1:
            self._refuse(result)

    def recv(self, bufsiz: int) -> bytes:
        """At most ``bufsiz`` octets: the next record, and while records are full those behind it too."""
        failure = self._failure
        if failure is not None:
            self._failure = None
            raise failure
        inbox = self._inbox
        got: int = _read(self._ssl, inbox.start, bufsiz if bufsiz < AT_ONCE else AT_ONCE)
        if got <= 0:
            self._refuse(got)
        if got == RECORD < bufsiz:
            got = self._more(got, min(bufsiz, AT_ONCE))
        octets: bytes = inbox.octets[:got]
        return octets

    def _more(self, filled: int, limit: int) -> int:
        """Read behind what was read while whole records come; one call of the protocol's instead of several."""
        start = self._inbox.start
        while filled + RECORD <= limit:
            got = _read(self._ssl, start + filled, RECORD)
            if got <= 0:
                try:
                    self._refuse(got)
                except SSL.WantReadError:
                    pass
                except SSL.Error as failure:
                    self._failure = failure
                break
            filled += got
            if got < RECORD:
                break
        return filled

    def pending(self) -> int:
        """More than zero: the next :meth:`recv` has something to say that no event of the socket's will announce."""
        return 0 if self._failure is None else 1

    def send(self, buf: bytes | bytearray | memoryview) -> int:
        """Send what the socket takes; returns how much that was."""
        sent: int = _write(self._ssl, buf if type(buf) is bytes else _ffi.from_buffer(buf), len(buf))
        if sent <= 0:
            self._refuse(sent)
        return sent

    def shutdown(self) -> bool:
        """Send close_notify; True: the peer's has come too."""
        result = _lib.SSL_shutdown(self._ssl)
        if result < 0:
            self._refuse(result)
        return bool(result)

    # --- what was agreed ------------------------------------------------------------------------

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return was_resumed(self._ssl)

    def peer_certificate(self) -> bytes | None:
        """The DER encoding of the certificate whose key the peer has proven to hold; None: it showed none.

        Raises:
            SSL.Error: OpenSSL cannot write it.
        """
        certificate = _lib.SSL_get_peer_certificate(self._ssl)
        if certificate == _NULL:
            return None
        memory = _NULL
        try:
            memory = _lib.BIO_new(_lib.BIO_s_mem())
            if memory == _NULL or _lib.i2d_X509_bio(memory, certificate) != 1:
                raise _error()
            start = _ffi.new("char **")
            length = _lib.BIO_get_mem_data(memory, start)
            der: bytes = _ffi.buffer(start[0], length)[:]
            return der
        finally:
            _lib.X509_free(certificate)
            _lib.BIO_free(memory)

    def version(self) -> str:
        """``TLSv1.3`` or ``TLSv1.2``."""
        return _text(_lib.SSL_get_version(self._ssl))

    def cipher(self) -> str:
        """The cipher suite's name; "" before one is agreed on."""
        cipher = _lib.SSL_get_current_cipher(self._ssl)
        return "" if cipher == _NULL else _text(_lib.SSL_CIPHER_get_name(cipher))

    # --- what cannot go on ----------------------------------------------------------------------

    def _refuse(self, result: int) -> NoReturn:
        """Raise what pyOpenSSL raises for ``result``, and leave nothing in OpenSSL's queue of errors.

        The queue is the thread's, not the connection's: what is left in it would be taken for another's.
        """
        kind = _lib.SSL_get_error(self._ssl, result)
        if kind == _WANT_READ:
            raise SSL.WantReadError
        if kind == _WANT_WRITE:
            raise SSL.WantWriteError
        if kind == _lib.SSL_ERROR_ZERO_RETURN:
            raise SSL.ZeroReturnError
        if kind == _lib.SSL_ERROR_SYSCALL:
            number = _ffi.errno
            _lib.ERR_clear_error()
            raise SSL.SysCallError(number or -1, errno.errorcode.get(number, "Unexpected EOF"))
        if _lib.ERR_GET_REASON(_lib.ERR_peek_error()) == _lib.SSL_R_UNEXPECTED_EOF_WHILE_READING:
            _lib.ERR_clear_error()
            raise SSL.SysCallError(-1, "Unexpected EOF")
        raise _error()


def was_resumed(ssl: Any) -> bool:
    """Whether the handshake of OpenSSL's ``ssl`` resumed an earlier session; pyOpenSSL does not tell."""
    return bool(_lib.SSL_session_reused(ssl))


def _text(name: Any) -> str:
    octets: bytes = _ffi.string(name)
    # There are few names, and open connections keep theirs.
    return sys.intern(octets.decode("ascii"))


def _error() -> SSL.Error:
    """OpenSSL's queue of errors, empty afterwards, as pyOpenSSL has it: (library, function, reason)."""
    found = []
    while code := _lib.ERR_get_error():
        reason = _lib.ERR_reason_error_string(code)
        found.append(("", "", "" if reason == _NULL else _text(reason)))
    return SSL.Error(found)


# --- the certificate callback ---------------------------------------------------------------------

_problems: list[BaseException] = []


def ask_for_certificate(context: SSL.Context, accept: Callable[[], bool]) -> None:
    """Ask for a certificate, and accept whichever is shown unless ``accept`` says no; what it raises refuses too."""

    def verify(ok: int, chain: Any) -> int:
        if not accept():
            return 0
        _lib.X509_STORE_CTX_set_error(chain, _lib.X509_V_OK)
        return 1

    callback = _ffi.callback("int (*)(int, X509_STORE_CTX *)", verify, 0, _note)
    # Kept where pyOpenSSL keeps its own: for as long as the context lives.
    context._verify_callback = callback
    _lib.SSL_CTX_set_verify(context._context, _lib.SSL_VERIFY_PEER, callback)


def send_in_one_call(context: SSL.Context) -> None:
    """Have ``send`` take all or nothing: pyOpenSSL's contexts come back to Python after each record of 16 KB.

    What was not taken must then be offered again as it was, from wherever it lies now (SSL_write(3)).
    """
    _lib.SSL_CTX_clear_mode(context._context, _lib.SSL_MODE_ENABLE_PARTIAL_WRITE)


def _note(kind: type[BaseException], problem: BaseException, trace: object) -> int:
    """What the callback raised refuses: the handshake ends, and its connection hears why."""
    _problems.append(problem)
    return 0


def _raise_problem() -> None:
    problem = _problems.pop()
    _problems.clear()
    _lib.ERR_clear_error()
    raise problem
