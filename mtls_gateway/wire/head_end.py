"""Where a request's head ends in what has come of a connection: at its empty line, and nowhere else."""

from __future__ import annotations

from mtls_gateway.wire.refusal import Refusal


def cut_head(buffer: bytes, limit: int) -> tuple[bytes, bytes] | None:
    """The first head in ``buffer``, of ``limit`` octets at most, and what is behind it; None: it is not whole.

    Raises:
        Refusal: 431, it is too long; 400, it will never be one.
    """
    if buffer.startswith(b"\r\n"):
        # RFC 9112, section 2.2: one empty line before a request is to be ignored.
        buffer = buffer[2:]
    end = buffer.find(b"\r\n\r\n")
    if 0 <= end <= limit - 4:
        return buffer[: end + 4], buffer[end + 4 :]
    if end >= 0 or len(buffer) >= limit:
        raise Refusal(431, "head_octets", limit="head_octets")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        # A bare LF will never become a head; there is no need to wait for the time-out.
        raise Refusal(400, "line_end")
    return None
