"""Asking the visitor whether a request may pass; whatever goes wrong while it is judged refuses it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.wire.gate import Admission, Forward, Page, Redirect, Refuse, RequestHead, Unread, Visitor

_LOG = logging.getLogger(__name__)


def ask(visitor: Visitor, head: RequestHead) -> Admission | Awaitable[Admission]:
    """What the visitor answers; never raises."""
    # Whatever it is declared to answer: compiled, an answer of another type would raise here, and be no refusal.
    admit: Callable[[RequestHead], object] = visitor.admit
    try:
        answer = admit(head)
    except Exception as error:
        return _refused_for(error)
    # The steady state first; what is neither an admission nor awaitable refuses when it is awaited.
    if isinstance(answer, Forward):
        return answer
    return answer if isinstance(answer, Awaitable) else _checked(answer)


class Question:
    """A visitor that must look something up first; ``tell`` is called with what it answers in the end."""

    __slots__ = ("_asked", "_tell")

    def __init__(self, answer: Awaitable[Admission], tell: Callable[[Admission], None]) -> None:
        self._tell = tell
        self._asked = asyncio.ensure_future(answer)
        self._asked.add_done_callback(self._settled)

    def _settled(self, asked: asyncio.Future[Admission]) -> None:
        self._tell(outcome(asked))

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._asked.remove_done_callback(self._settled)
        self._asked.cancel()


def outcome(asked: asyncio.Future[Admission]) -> Admission:
    """What the visitor answered in the end; never raises."""
    if asked.cancelled():
        return _refused_for(RuntimeError("it was cancelled"))
    error = asked.exception()
    if error is not None:
        return _refused_for(error)
    result: Callable[[], object] = asked.result
    return _checked(result())


def _checked(answer: object) -> Admission:
    if isinstance(answer, (Forward, Page, Refuse, Unread)):
        return answer
    if not isinstance(answer, Redirect):
        return _refused_for(TypeError(f"{answer!r} is no admission"))
    if b"\r" in answer.location or b"\n" in answer.location:
        return _refused_for(ValueError("a Location of more than one line"))
    return answer


def _refused_for(error: BaseException) -> Refuse:
    if isinstance(error, StoreUnavailable):
        _LOG.error("a request was refused: %s", error)
        return Refuse(503, "unavailable")
    _LOG.error("a request was refused because its admission failed", exc_info=error)
    return Refuse(500, "unavailable")
