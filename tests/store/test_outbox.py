"""The outbox: who is told, once; leases; how mails end; and that an index finds what is due."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, MailState
from mtls_gateway.store.opening import Store
from mtls_gateway.store.outbox import Notice, post, post_each
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER, START


@pytest.fixture
async def company(store: Store) -> Store:
    """Two administrators and a member with addresses, one administrator without, and another company."""
    await store.companies.create("other", "株式会社他社", None, actor="test")
    await store.users.add(
        [
            NewUser("boss", "acme", administrator=True, email="boss@example.co.jp", name="上司 花子"),
            NewUser("chief", "acme", administrator=True, email="chief@example.co.jp"),
            NewUser("jiro", "acme", email="jiro@example.co.jp", name="佐藤 次郎"),
            NewUser("saburo", "acme", email="saburo@example.co.jp"),
            NewUser("stranger", "other", administrator=True, email="stranger@example.com"),
        ],
        actor="test",
    )
    return store


async def posted(store: Store, *notices: Notice, due: float | None = None) -> int:
    async with store.outbox._database.writing("post") as connection:
        return await post_each(connection, START, notices, due=due)


def about(user_id: str, kind: str = "issued", occasion: str = "0a") -> Notice:
    return Notice(kind, user_id, occasion, {"serial": "0a"})


async def test_the_user_and_every_administrator_of_its_company_who_has_an_address_is_told(company: Store) -> None:
    assert await posted(company, about("jiro"), about("stranger"), about("taro", occasion="0b")) == 3 + 1 + 2
    told = {(mail.user_id, mail.recipient_id, mail.address) for mail in await company.outbox.all()}
    assert told == {
        ("jiro", "jiro", "jiro@example.co.jp"),
        ("jiro", "boss", "boss@example.co.jp"),
        ("jiro", "chief", "chief@example.co.jp"),
        ("stranger", "stranger", "stranger@example.com"),
        # Taro has no address; whoever administers the company is told of him.
        ("taro", "boss", "boss@example.co.jp"),
        ("taro", "chief", "chief@example.co.jp"),
    }


async def test_a_mail_knows_the_names_that_its_text_needs(company: Store) -> None:
    await posted(company, about("jiro"))
    facts = {mail.recipient_id: mail.facts for mail in await company.outbox.all()}
    assert facts["boss"] == {
        "serial": "0a",
        "user_name": "佐藤 次郎",
        "recipient_name": "上司 花子",
        "company_ja": "株式会社アクメ",
        "company_en": "Acme Ltd.",
    }


async def test_the_same_is_posted_once_however_often(company: Store) -> None:
    assert await posted(company, about("jiro"), about("jiro")) == 3
    assert await posted(company, about("jiro")) == 0
    assert await posted(company, about("jiro", occasion="0b"), about("jiro", kind="revoked")) == 6
    async with company.outbox._database.writing("post") as connection:
        assert await post(connection, START, "issued", "jiro", occasion="0a", facts={}) == 0


async def test_hundreds_at_once(company: Store) -> None:
    many = [NewUser(f"user{place:03}", "other", email=f"u{place}@example.com") for place in range(450)]
    await company.users.add(many, actor="test")
    assert await posted(company, *(about(user.user_id, occasion=user.user_id) for user in many)) == 900


async def test_a_revocation_posts_in_its_own_transaction(company: Store) -> None:
    await company.certificates.revoke(CertificateId(ISSUER, 2), actor="test")
    assert {mail.recipient_id for mail in await company.outbox.all()} == {"boss", "chief"}


async def test_a_mail_is_taken_by_one_and_comes_back_after_its_lease(company: Store, clock: ManualClock) -> None:
    await posted(company, about("jiro"))
    first, second = await asyncio.gather(company.outbox.take(2, lease=60.0), company.outbox.take(2, lease=60.0))
    assert sorted([len(first), len(second)]) == [1, 2]
    taken = [*first, *second]
    assert len({mail.mail_id for mail in taken}) == 3
    assert all(mail.state is MailState.SENDING and mail.tries == 1 and not mail.may_repeat for mail in taken)
    clock.advance(59.0)
    assert await company.outbox.take(5, lease=60.0) == []
    clock.advance(1.0)
    again = await company.outbox.take(5, lease=60.0)
    assert len(again) == 3
    assert all(mail.may_repeat and mail.tries == 2 for mail in again)


async def test_nothing_is_taken_before_it_is_due(company: Store, clock: ManualClock) -> None:
    await posted(company, about("jiro"), due=START + 100.0)
    clock.advance(99.0)
    assert await company.outbox.take(5, lease=60.0) == []
    assert await company.outbox.waiting() == (0, None)
    clock.advance(1.0)
    assert await company.outbox.waiting() == (3, START)
    assert len(await company.outbox.take(5, lease=60.0)) == 3


async def test_a_mail_that_has_ended_stays_ended(company: Store) -> None:
    await posted(company, about("stranger"))
    (mail,) = await company.outbox.take(1, lease=60.0)
    await company.outbox.sent(mail.mail_id)
    await company.outbox.failed(mail.mail_id, "too late")
    await company.outbox.postpone(mail.mail_id, START, "too late")
    await company.outbox.give_back([mail.mail_id], START, "too late")
    (ended,) = await company.outbox.all()
    assert (ended.state, ended.error, ended.tries) == (MailState.SENT, None, 1)
    assert await company.outbox.retry([mail.mail_id], actor="test") == 0


async def test_only_failed_mails_are_tried_once_more(company: Store) -> None:
    await posted(company, about("jiro"), about("stranger"))
    mails = await company.outbox.take(10, lease=60.0)
    for mail in mails[:2]:
        await company.outbox.failed(mail.mail_id, "no such user")
    assert await company.outbox.retry([mails[0].mail_id, mails[3].mail_id], actor="test") == 1
    assert await company.outbox.retry(actor="test") == 1
    assert await company.outbox.retry(actor="test") == 0
    (again, _) = await company.outbox.take(10, lease=60.0)
    assert (again.tries, again.error, again.may_repeat) == (1, None, False)


async def test_only_what_has_ended_long_ago_is_forgotten(company: Store, clock: ManualClock) -> None:
    await posted(company, about("jiro"))
    for mail in (await company.outbox.take(2, lease=1e9))[:2]:
        await company.outbox.sent(mail.mail_id)
    clock.advance(1_000.0)
    assert await company.outbox.prune(START - 1.0) == 0
    assert await company.outbox.prune(START + 500.0) == 2
    assert len(await company.outbox.all()) == 1


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_what_is_due_is_found_by_an_index_however_many_were_sent(company: Store) -> None:
    statement = text(
        "EXPLAIN QUERY PLAN SELECT id FROM outbox WHERE state IN ('waiting', 'sending') AND due <= 1 ORDER BY due"
    )
    async with company.outbox._database.reading("explain") as connection:
        plan = " ".join(row.detail for row in await connection.execute(statement))
    assert "ix_outbox_due" in plan
