"""Health and metrics on a real listener."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import pytest

from mtls_gateway import metrics
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.web.health import Check, make_operations
from tests.signin.legacy_applications import running


async def fine() -> None:
    """All is well."""


async def away() -> None:
    raise StoreUnavailable("database /x: is not there")


async def hanging() -> None:
    await asyncio.Event().wait()


async def ask(checks: Mapping[str, Check], path: str) -> tuple[int, str, str]:
    """Status, content type and text."""
    async with (
        running(make_operations(checks)) as address,
        aiohttp.ClientSession() as client,
        client.get(address + path) as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


async def test_alive_is_alive_whatever_else_is_not() -> None:
    assert await ask({"store": away}, "/healthz") == (200, "application/json", '{"alive": true}')


async def test_ready_only_when_every_check_is() -> None:
    status, _, said = await ask({"store": fine}, "/readyz")
    assert (status, said) == (200, '{"ready": true, "checks": {"store": "ok"}}')
    status, _, said = await ask({"store": away, "x": fine}, "/readyz")
    assert status == 503
    assert said == '{"ready": false, "checks": {"store": "database /x: is not there", "x": "ok"}}'


async def test_a_check_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtls_gateway.web.health._PATIENCE", 0.05)
    assert (await ask({"store": hanging}, "/readyz"))[0] == 503


async def test_metrics_are_given_in_the_text_format() -> None:
    metrics.SIGN_INS.labels("certificate", "right").inc(0)
    status, content_type, text = await ask({}, "/metrics")
    assert (status, content_type) == (200, "text/plain")
    assert 'mtls_gateway_sign_ins_total{method="certificate",outcome="right"}' in text
