from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ChangeKind, NewSession
from mtls_gateway.store.opening import Store
from mtls_gateway.store.refusal import Refused
from mtls_gateway.store.users import NewUser, Stopped


async def test_only_exactly_this_id_is_this_user(store: Store) -> None:
    taro = await store.identities.user("taro")
    assert taro is not None
    assert (taro.user_id, taro.company_id, taro.administrator, taro.stopped) == ("taro", "acme", True, False)
    for other in ("Taro", "taro ", "tarO", "taro\x00", "ｔａｒｏ", ""):
        assert await store.identities.user(other) is None


async def test_a_user_without_a_certificate_has_none(store: Store) -> None:
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    jiro = await store.identities.user("jiro")
    assert jiro is not None
    assert not jiro.has_certificate


async def test_adding_is_all_or_nothing_and_names_every_bad_row(store: Store) -> None:
    rows = [
        NewUser("jiro", "acme", email="jiro@example.co.jp"),
        NewUser("taro", "acme"),
        NewUser("saburo", "nowhere"),
        NewUser("jiro", "acme"),
        NewUser("a b", "acme"),
        NewUser("goro", "acme", email="not an address"),
    ]
    with pytest.raises(Refused) as refused:
        await store.users.add(rows, actor="test")
    assert [(place, cause.split(":")[0]) for place, cause in refused.value.problems] == [
        (1, "there is a user taro already"),
        (2, "there is no company nowhere"),
        (3, "user jiro is given twice"),
        (4, "user ID 'a b' will not do"),
        (5, "'not an address' is not a mail address"),
    ]
    assert [one.user.user_id for one in await store.users.all()] == ["hanako", "taro"]


async def test_listing_is_by_company(store: Store) -> None:
    await store.companies.create("beta", "ベータ", actor="test")
    await store.users.add([NewUser("jiro", "beta", email="jiro@example.co.jp")], actor="test")
    (jiro,) = await store.users.all("beta")
    assert (jiro.user.user_id, jiro.email, jiro.stopped_by) == ("jiro", "jiro@example.co.jp", None)
    assert len(await store.users.all()) == 3


async def test_a_stop_ends_the_sessions_is_told_and_lasts_until_the_release(store: Store, clock: ManualClock) -> None:
    now = clock.now()
    await store.sessions.open_session(NewSession(b"\x02" * 32, "hanako", None, now, now + 9, b""), idle=900)
    before = await store.worker.latest_change()
    assert await store.users.stop("hanako", actor="test") == 1
    told = [one.kind for one in await store.worker.changes_since(before)]
    assert told == [ChangeKind.USER, ChangeKind.SESSION]
    listed = (await store.users.all())[0]
    assert (listed.user.stopped, listed.stopped_by) == (True, Stopped.OPERATOR)
    await store.users.release("hanako", actor="test")
    assert not (await store.users.all())[0].user.stopped


async def test_a_local_password_is_kept_as_given(store: Store) -> None:
    assert await store.users.password_hash("taro") is None
    await store.users.set_password_hash("taro", "$argon2id$…", actor="test")
    assert await store.users.password_hash("taro") == "$argon2id$…"
    await store.users.set_password_hash("taro", None, actor="test")
    assert await store.users.password_hash("taro") is None
    assert await store.users.password_hash("nobody") is None


async def mails(store: Store) -> list[tuple[str, str]]:
    return sorted((mail.recipient_id, mail.address) for mail in await store.outbox.all())


async def test_a_new_address_is_told_to_the_old_one_the_new_one_and_the_administrators(store: Store) -> None:
    await store.users.set_email("taro", "taro@example.co.jp", actor="test")
    # Nobody was there to be told before.
    assert await mails(store) == [("taro", "taro@example.co.jp")]
    await store.users.set_email("hanako", "old@example.co.jp", actor="test")
    assert await mails(store) == [
        ("hanako", "old@example.co.jp"),
        ("taro", "taro@example.co.jp"),
        ("taro", "taro@example.co.jp"),
    ]
    await store.users.set_email("hanako", "new@example.co.jp", actor="alice")
    assert [(one.address, one.kind) for one in await store.outbox.all(limit=3)] == [
        ("old@example.co.jp", "address_changed"),
        ("taro@example.co.jp", "address_changed"),
        ("new@example.co.jp", "address_changed"),
    ]
    assert all(
        (mail.facts["old"], mail.facts["new"]) == ("old@example.co.jp", "new@example.co.jp")
        for mail in await store.outbox.all(limit=3)
    )
    line = (await store.audit.lines())[-1]
    assert (line.actor, line.action, line.subject) == ("alice", "user.email", "hanako")
    assert (await store.users.all("acme"))[0].email == "new@example.co.jp"


async def test_an_address_that_is_taken_away_is_told_to_itself(store: Store) -> None:
    await store.users.set_email("hanako", "old@example.co.jp", actor="test")
    await store.users.set_email("hanako", None, actor="test")
    assert await mails(store) == [("hanako", "old@example.co.jp")] * 2
    with pytest.raises(StateError, match="is none already"):
        await store.users.set_email("hanako", None, actor="test")
    with pytest.raises(UsageError, match="is not a mail address"):
        await store.users.set_email("hanako", "hanako@", actor="test")
    assert len(await store.outbox.all()) == 2


async def test_a_name_is_set_and_audited_with_the_one_before(store: Store) -> None:
    await store.users.set_name("hanako", "山田 花子", actor="alice")
    assert await store.users.name_of("hanako") == "山田 花子"
    await store.users.set_name("hanako", None, actor="alice")
    assert await store.users.name_of("hanako") is None
    line = (await store.audit.lines())[-1]
    assert (line.action, line.details) == ("user.name", {"before": "山田 花子", "name": None})
    for bad in ("", " 花子", "花\x07子", "花\u202e子", "花" * 201):
        with pytest.raises(UsageError, match="will not do"):
            await store.users.set_name("hanako", bad, actor="alice")


async def test_what_is_done_to_an_unknown_user_is_refused(store: Store) -> None:
    for doing in (
        store.users.stop("nobody", actor="test"),
        store.users.release("nobody", actor="test"),
        store.users.set_password_hash("nobody", None, actor="test"),
        store.users.set_name("nobody", "誰か", actor="test"),
        store.users.set_email("nobody", "nobody@example.co.jp", actor="test"),
    ):
        with pytest.raises(StateError, match="there is no user nobody"):
            await doing
