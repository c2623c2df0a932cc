"""Whatever goes wrong while a request is judged refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.wire.admission import ask, outcome
from mtls_gateway.wire.gate import Page, Redirect, Refuse, RequestHead
from tests.wire.scripted import PASS, ScriptedGate

GOOD = [PASS, Page(b"/x", (), "x"), Redirect(b"/x", "x"), Refuse(401, "x")]
BAD: list[tuple[Any, int]] = [
    (None, 500),
    (True, 500),
    ("forward", 500),
    (Redirect(b"/x\nSet-Cookie: y", "x"), 500),
    (Redirect(b"/x\rSet-Cookie: y", "x"), 500),
]


def raising(error: Exception) -> Callable[[RequestHead], Any]:
    def answer(head: RequestHead) -> Any:
        raise error

    return answer


def future(result: Any = None, error: Exception | None = None) -> asyncio.Future[Any]:
    made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    if error is not None:
        made.set_exception(error)
    else:
        made.set_result(result)
    return made


async def test_admissions_pass_unchanged_now_or_later() -> None:
    for good in GOOD:
        assert ask(ScriptedGate(answer=lambda head, good=good: good), RequestHead()) is good  # type: ignore[misc]
        assert outcome(future(good)) is good
    waiting = future(PASS)
    assert ask(ScriptedGate(answer=lambda head: waiting), RequestHead()) is waiting


@pytest.mark.parametrize(("answer", "status"), BAD)
async def test_nonsense_refuses_now_or_later(answer: Any, status: int) -> None:
    assert ask(ScriptedGate(answer=lambda head: answer), RequestHead()) == Refuse(status, "unavailable")
    assert outcome(future(answer)) == Refuse(status, "unavailable")


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError(), 500), (StoreUnavailable("locked"), 503)])
async def test_what_raises_refuses_now_or_later(error: Exception, status: int) -> None:
    assert ask(ScriptedGate(answer=raising(error)), RequestHead()) == Refuse(status, "unavailable")
    assert outcome(future(error=error)) == Refuse(status, "unavailable")


async def test_what_somebody_else_cancelled_refuses() -> None:
    cancelled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    assert outcome(cancelled) == Refuse(500, "unavailable")
