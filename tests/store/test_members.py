"""An administrator acts for members of its own company, and for nobody else."""

from __future__ import annotations

import asyncio

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import MemberRefused
from mtls_gateway.model import CertificateId, CertificateState, ChangeKind, CodePurpose, CodeState, Method, NewSession
from mtls_gateway.standing import Stage
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER, START

HANAKOS = CertificateId(ISSUER, 2)
LOST = {"reason": "keyCompromise", "cause": "lost"}


@pytest.fixture
async def acme(store: Store) -> Store:
    """taro administers acme (hanako, jiro, and the administrator shiro); saburo administers beta (goro)."""
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="test")
    await store.companies.create("beta", "ベータ", actor="test")
    await store.users.set_email("taro", "taro@example.co.jp", actor="test")
    await store.users.add(
        [
            NewUser("jiro", "acme", name="次郎"),
            NewUser("shiro", "acme", administrator=True),
            NewUser("saburo", "beta", administrator=True),
            NewUser("goro", "beta"),
        ],
        actor="test",
    )
    await store.certificates.register(
        [NewCertificate(CertificateId(ISSUER, 3), "shiro"), NewCertificate(CertificateId(ISSUER, 5), "goro")],
        actor="test",
    )
    await store.companies.set_method("beta", Method.CERTIFICATE, actor="test")
    return store


async def states(store: Store, user_id: str) -> list[CertificateState]:
    return [one.state for one in await store.certificates.all(user_id=user_id)]


async def test_the_page_has_the_whole_company_and_nobody_else(acme: Store) -> None:
    count, found = await acme.members.page("taro", limit=100, offset=0)
    assert count == 4
    assert [(one.user_id, one.administrator, one.stage) for one in found] == [
        ("hanako", False, Stage.ACQUIRED),
        ("jiro", False, Stage.NOT_APPLIED),
        ("shiro", True, Stage.ACQUIRED),
        ("taro", True, Stage.ACQUIRED),
    ]
    assert found[0].certificate == HANAKOS and found[0].acquired == START
    _, second = await acme.members.page("taro", limit=2, offset=2)
    assert [one.user_id for one in second] == ["shiro", "taro"]
    for nobody in ("hanako", "nobody", ""):
        assert await acme.members.page(nobody, limit=100, offset=0) == (0, ())


@pytest.mark.parametrize(
    ("administrator", "user"),
    [
        ("taro", "taro"),
        ("taro", "shiro"),
        ("taro", "goro"),
        ("taro", "nobody"),
        ("taro", "Hanako"),
        ("hanako", "jiro"),
        ("saburo", "hanako"),
        ("nobody", "hanako"),
    ],
)
async def test_whoever_is_no_member_of_the_administrators_is_nobody(administrator: str, user: str, acme: Store) -> None:
    before = [one.state for one in await acme.certificates.all()]
    assert await acme.members.member(administrator, user) is None
    for act in (acme.members.revoke, acme.members.reissue):
        with pytest.raises(MemberRefused) as refused:
            await act(administrator, user, **LOST)
        assert refused.value.reason == "no_such_member"
    assert [one.state for one in await acme.certificates.all()] == before
    assert await acme.codes.all() == []


async def test_a_revocation_ends_sessions_takes_back_codes_is_told_and_audited(acme: Store) -> None:
    await acme.sessions.open_session(NewSession(b"\x02" * 32, "hanako", HANAKOS, START, START + 900, b""), idle=900)
    await acme.codes.order("hanako", CodePurpose.EXPIRED, actor="test")
    before = await acme.worker.latest_change()
    assert await acme.members.revoke("taro", "hanako", **LOST) == 1
    assert await states(acme, "hanako") == [CertificateState.REVOKED]
    assert [code.state for code in await acme.codes.all()] == [CodeState.VOID]
    told = [(change.kind, change.subject) for change in await acme.worker.changes_since(before)]
    assert told == [(ChangeKind.CERTIFICATE, str(HANAKOS)), (ChangeKind.SESSION, "02" * 32)]
    lines = [line for line in await acme.audit.lines() if line.actor == "administrator taro"]
    assert [(line.action, line.subject) for line in lines] == [
        ("certificate.revoke", str(HANAKOS)),
        ("member.revoke", "hanako"),
    ]
    assert lines[1].details["cause"] == "lost"
    assert [(mail.kind, mail.recipient_id) for mail in await acme.outbox.all(user_id="hanako")] == [("revoked", "taro")]
    with pytest.raises(MemberRefused):
        await acme.members.revoke("taro", "hanako", **LOST)


async def test_a_reissue_revokes_first_and_then_orders_a_code(acme: Store) -> None:
    await acme.members.reissue("taro", "hanako", **LOST)
    assert await states(acme, "hanako") == [CertificateState.REVOKED]
    (code,) = await acme.codes.all()
    assert (code.user_id, code.purpose, code.state) == ("hanako", CodePurpose.REISSUE, CodeState.ORDERED)
    assert code.ordered_by == "administrator taro"
    with pytest.raises(MemberRefused, match="letter due"):
        await acme.members.reissue("taro", "hanako", **LOST)
    # The letter was lost in the post: another.
    await acme.codes.printed([PrintedCode(code.code_id, "ABCD", b"d" * 32, START + 9)], actor="test")
    await acme.members.reissue("taro", "hanako", **LOST)
    assert [one.state for one in await acme.codes.all()] == [CodeState.ORDERED, CodeState.VOID]


async def test_a_reissue_is_for_whoever_had_a_certificate(acme: Store) -> None:
    with pytest.raises(MemberRefused, match="never acquired"):
        await acme.members.reissue("taro", "jiro", **LOST)
    await acme.companies.set_method("acme", Method.PASSWORD, actor="test")
    with pytest.raises(MemberRefused, match="password method"):
        await acme.members.reissue("taro", "hanako", **LOST)
    assert await states(acme, "hanako") == [CertificateState.VALID]


async def test_twenty_reissues_at_once_order_one_letter(acme: Store) -> None:
    results = await asyncio.gather(
        *(acme.members.reissue("taro", "hanako", **LOST) for _ in range(20)), return_exceptions=True
    )
    assert [type(result) for result in results if isinstance(result, Exception)] == [MemberRefused] * 19
    assert [code.state for code in await acme.codes.all()] == [CodeState.ORDERED]


# --- standings ------------------------------------------------------------------------------------


async def standing(store: Store, user_id: str) -> Stage:
    found = await store.members.member("taro", user_id)
    assert found is not None
    return found.stage


async def test_a_user_is_followed_from_application_to_certificate(acme: Store, clock: ManualClock) -> None:
    number = await acme.applications.receive_start("acme", actor="alice")
    assert await standing(acme, "jiro") is Stage.NOT_APPLIED
    await acme.applications.approve(number, actor="bob")
    assert await standing(acme, "jiro") is Stage.LETTER_DUE
    (letter,) = await acme.codes.due_letters(user_id="jiro")
    await acme.codes.printed([PrintedCode(letter.code_id, "ABCD", b"d" * 32, START + 100)], actor="alice")
    assert await standing(acme, "jiro") is Stage.LETTER_OUT
    clock.advance(100)
    assert await standing(acme, "jiro") is Stage.CODE_EXPIRED
    await acme.codes.withdraw("jiro", actor="alice")
    assert await standing(acme, "jiro") is Stage.CODE_VOID
    await acme.code_orders.order_again("jiro", actor="alice")
    (letter,) = await acme.codes.due_letters(user_id="jiro")
    await acme.codes.printed([PrintedCode(letter.code_id, "ABCE", b"e" * 32, START + 900)], actor="alice")
    for _ in range(5):
        await acme.codes.begin_try("jiro", "ABCE", b"x" * 32, limit=5)
    assert await standing(acme, "jiro") is Stage.CODE_EXHAUSTED
    await acme.certificates.register([NewCertificate(CertificateId(ISSUER, 9), "jiro", START + 999)], actor="test")
    assert await standing(acme, "jiro") is Stage.ACQUIRED
    clock.advance(900)
    found = await acme.members.member("taro", "jiro")
    assert found is not None
    assert (found.certificate_state, found.not_after) == (CertificateState.EXPIRED, START + 999)


async def test_the_certificate_in_use_is_shown_rather_than_an_older_one(acme: Store, clock: ManualClock) -> None:
    await acme.certificates.revoke(HANAKOS, actor="test")
    clock.advance(5)
    newer = CertificateId(ISSUER, 22)
    await acme.certificates.register([NewCertificate(newer, "hanako", START + 999)], actor="test")
    now = clock.now()
    await acme.sessions.open_session(NewSession(b"\x02" * 32, "hanako", newer, now, now + 9, b""), idle=900)
    found = await acme.members.member("taro", "hanako")
    assert found is not None
    assert (found.certificate, found.certificate_state) == (newer, CertificateState.VALID)
    assert found.last_sign_in == now
