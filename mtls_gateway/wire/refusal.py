"""What is wrong with a request, said once: the status to answer and the word to count it by."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not forwarded; its connection is closed after the answer.

    ``reason`` is the label of ``mtls_gateway_malformed_requests_total``; ``limit`` is set instead where a
    configured limit was exceeded and is the label of ``mtls_gateway_limit_refusals_total``.
    """

    def __init__(self, status: int, reason: str, limit: str | None = None) -> None:
        self.status = status
        self.reason = reason
        self.limit = limit
        super().__init__(f"{status} {reason}")


#: What a client is told when there is no connection to a backend, by the reason; 502 for the others.
UNAVAILABLE = {"connect_timeout": 504, "overloaded": 503, "out": 503}
#: Built-in answers after which the connection is as good as before.
HARMLESS = frozenset({303, 401, 403, 404})
#: With 405 (RFC 9110, section 15.5.6).
ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

REASONS = {
    303: b"See Other",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
