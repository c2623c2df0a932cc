from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.store.opening import Store

from .conftest import ISSUER, Command


def _do(home: Path, work: Callable[[Store], Awaitable[object]]) -> None:
    async def do() -> None:
        store = await open_rows(read_configuration(home / "gateway.toml"), SystemClock())
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(do())


@pytest.fixture
def failed(acme: Command, home: Path) -> Command:
    """Two certificates were revoked; one mail to Taro has failed, the other waits."""
    file = home / "certificates.csv"
    file.write_text(f'issuer,serial_hex,user_id\n"{ISSUER}",0a,taro\n"{ISSUER}",0b,hanako\n')
    assert acme("certificate", "import", file).status == 0
    for serial in ("0a", "0b"):
        assert acme("certificate", "revoke", serial, "--issuer", ISSUER).status == 0

    async def fail(store: Store) -> None:
        (mail,) = await store.outbox.take(1, lease=60.0)
        await store.outbox.failed(mail.mail_id, "550 5.1.1 no such user")

    _do(home, fail)
    return acme


def test_what_failed_is_listed_with_its_cause_and_tried_again(failed: Command) -> None:
    (row,) = failed("mail", "list", "--state", "failed", "--json").json
    assert (row["kind"], row["user"], row["to"]) == ("revoked", "taro", "taro@example.co.jp")
    assert (row["tries"], row["error"], row["due"]) == (1, "550 5.1.1 no such user", None)
    assert len(failed("mail", "list", "--json").json) == 2
    assert [row["user"] for row in failed("mail", "list", "--user", "hanako", "--json").json] == ["hanako"]
    assert failed("mail", "retry", row["mail"]).out == "1 mail will be tried again\n"
    assert failed("mail", "list", "--state", "failed").out == "there are no such mails\n"
    assert failed("audit", "list", "--json").json[-1]["action"] == "mail.retry"


def test_all_that_failed_is_tried_again_and_nothing_else(failed: Command) -> None:
    assert failed("mail", "retry", "--all", "--json").json == {"mails": 1}
    assert failed("mail", "retry", "--all").out == "0 mails will be tried again\n"


@pytest.mark.parametrize("words", [[], ["1", "--all"]])
def test_which_ones_must_be_said(failed: Command, words: list[str]) -> None:
    ran = failed("mail", "retry", *words)
    assert ran.status == 2
    assert "name the mails by their numbers, or give --all" in ran.err
