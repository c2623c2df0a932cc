"""An application is received by one person and approved by another; codes follow from nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import (
    ApplicationKind,
    ApplicationState,
    CertificateId,
    CertificateState,
    CodePurpose,
    CodeState,
    Method,
    NewSession,
)
from mtls_gateway.store.applications import SameOperator
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER, START

DEADLINE = START + 90 * 86_400.0
ALICE: dict[str, Any] = {"actor": "alice", "account": 1001}
BOB: dict[str, Any] = {"actor": "bob", "account": 1002}


@pytest.fixture
async def beta(empty: Store) -> Store:
    """A company of three users on the password method."""
    await empty.companies.create("beta", "ベータ株式会社", actor="test")
    await empty.users.add([NewUser(f"b{number}", "beta") for number in (1, 2, 3)], actor="test")
    return empty


@pytest.fixture
async def moved(store: Store) -> Store:
    """A company on the certificate method: taro and hanako have certificates."""
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="test")
    return store


async def codes_of(store: Store, company: str) -> list[tuple[str, CodePurpose, CodeState]]:
    return [(code.user_id, code.purpose, code.state) for code in reversed(await store.codes.all(company_id=company))]


async def actions(store: Store) -> list[tuple[str, str]]:
    return [(line.actor, line.action) for line in await store.audit.lines() if line.actor != "test"]


# --- two people -----------------------------------------------------------------------------------


async def test_an_approved_application_moves_the_company_and_orders_a_code_for_each_user(beta: Store) -> None:
    number = await beta.applications.receive_start("beta", DEADLINE, actor="alice", account=1001)
    received = await beta.applications.get(number)
    assert (received.kind, received.state) == (ApplicationKind.START, ApplicationState.RECEIVED)
    assert (received.received_by, received.received, received.users) == ("alice", START, 3)
    assert await codes_of(beta, "beta") == []
    assert (await beta.companies.get("beta")).method is Method.PASSWORD
    approved = await beta.applications.approve(number, actor="bob", account=1002)
    assert (approved.state, approved.decided_by, approved.decided) == (ApplicationState.APPROVED, "bob", START)
    company = await beta.companies.get("beta")
    assert (company.method, company.deadline) == (Method.MIGRATING, DEADLINE)
    ordered = (CodePurpose.FIRST, CodeState.ORDERED)
    assert await codes_of(beta, "beta") == [("b1", *ordered), ("b2", *ordered), ("b3", *ordered)]
    assert await actions(beta) == [
        ("alice", "application.receive"),
        ("bob", "company.method"),
        *[("bob", "code.order")] * 3,
        ("bob", "application.approve"),
    ]


@pytest.mark.parametrize(
    ("actor", "account"),
    [("alice", 1001), ("alice", 1002), ("ALICE", None), ("carol", 1001)],
    ids=["the same", "the same name", "the same name in capitals", "another name of the same account"],
)
async def test_one_person_cannot_do_both_and_the_attempt_is_audited(
    actor: str, account: int | None, beta: Store
) -> None:
    number = await beta.applications.receive_start("beta", DEADLINE, actor="alice", account=1001)
    before = await beta.applications.get(number)
    with pytest.raises(SameOperator, match="another person must approve it"):
        await beta.applications.approve(number, actor=actor, account=account)
    assert await beta.applications.get(number) == before
    assert await codes_of(beta, "beta") == []
    assert (await beta.companies.get("beta")).method is Method.PASSWORD
    line = (await beta.audit.lines())[-1]
    assert (line.actor, line.action, line.subject) == (actor, "application.refuse", str(number))
    assert line.details == {"cause": "same_operator", "account": account}


async def test_without_accounts_two_names_are_two_people(beta: Store) -> None:
    number = await beta.applications.receive_start("beta", DEADLINE, actor="alice")
    assert (await beta.applications.approve(number, actor="bob")).state is ApplicationState.APPROVED


async def test_an_application_is_decided_once(beta: Store) -> None:
    number = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    await beta.applications.approve(number, **BOB)
    with pytest.raises(StateError, match="was approved before, by bob"):
        await beta.applications.approve(number, actor="carol")
    with pytest.raises(StateError, match="was approved before, by bob"):
        await beta.applications.withdraw(number, actor="carol")
    with pytest.raises(StateError, match="there is no application 99"):
        await beta.applications.approve(99, **BOB)


async def test_a_withdrawn_application_has_no_consequence_and_another_may_follow(beta: Store) -> None:
    number = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    with pytest.raises(StateError, match=f"application {number} waits for its approval"):
        await beta.applications.receive_start("beta", DEADLINE, **BOB)
    await beta.applications.withdraw(number, **ALICE)
    with pytest.raises(StateError, match="was withdrawn before, by alice"):
        await beta.applications.approve(number, **BOB)
    assert await codes_of(beta, "beta") == []
    assert await beta.applications.receive_start("beta", DEADLINE, **BOB) == number + 1


# --- whom it is about -----------------------------------------------------------------------------


async def test_deadlines_that_cannot_be_are_refused(beta: Store, clock: ManualClock) -> None:
    with pytest.raises(UsageError, match="the deadline has passed"):
        await beta.applications.receive_start("beta", START, **ALICE)
    with pytest.raises(UsageError, match="give the deadline of its move"):
        await beta.applications.receive_start("beta", **ALICE)
    with pytest.raises(StateError, match="there is no company nowhere"):
        await beta.applications.receive_start("nowhere", DEADLINE, **ALICE)
    number = await beta.applications.receive_start("beta", START + 60, **ALICE)
    clock.advance(60)
    with pytest.raises(StateError, match="deadline of application 1 has passed; withdraw it"):
        await beta.applications.approve(number, **BOB)


async def test_a_company_without_users_has_nothing_to_apply_for(empty: Store) -> None:
    await empty.companies.create("void", "空", actor="test")
    with pytest.raises(StateError, match="has no user to apply for"):
        await empty.applications.receive_start("void", DEADLINE, **ALICE)


async def test_a_user_who_came_after_the_application_takes_another(beta: Store) -> None:
    """The approver has seen a list; nobody is added to it behind its back."""
    number = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    await beta.users.add([NewUser("b4", "beta")], actor="test")
    await beta.applications.approve(number, **BOB)
    assert [user for user, _, _ in await codes_of(beta, "beta")] == ["b1", "b2", "b3"]
    with pytest.raises(UsageError, match="has begun to move already"):
        await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    second = await beta.applications.receive_start("beta", **ALICE)
    assert await beta.applications.user_ids(second) == ["b4"]
    await beta.applications.approve(second, **BOB)
    assert [user for user, _, _ in await codes_of(beta, "beta")] == ["b1", "b2", "b3", "b4"]
    with pytest.raises(StateError, match="has no user to apply for"):
        await beta.applications.receive_start("beta", **ALICE)
    assert (await beta.companies.get("beta")).deadline == DEADLINE


async def test_whoever_has_a_good_certificate_or_letter_gets_no_second_one(beta: Store, clock: ManualClock) -> None:
    """b1 has a certificate, b2's has expired, b3 has a letter."""
    await beta.certificates.register(
        [
            NewCertificate(CertificateId(ISSUER, 11), "b1", START + 1_000),
            NewCertificate(CertificateId(ISSUER, 12), "b2", START + 10),
        ],
        actor="test",
    )
    await beta.codes.order("b3", CodePurpose.FIRST, actor="test")
    (letter,) = await beta.codes.due_letters(user_id="b3")
    await beta.codes.printed([PrintedCode(letter.code_id, "ABCD", b"d" * 32, START + 1_000)], actor="test")
    number = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    clock.advance(11)
    await beta.applications.approve(number, **BOB)
    assert await codes_of(beta, "beta") == [
        ("b3", CodePurpose.FIRST, CodeState.OPEN),
        ("b2", CodePurpose.FIRST, CodeState.ORDERED),
    ]


async def test_a_letter_that_ran_out_is_replaced(beta: Store, clock: ManualClock) -> None:
    await beta.codes.order("b3", CodePurpose.FIRST, actor="test")
    (letter,) = await beta.codes.due_letters(user_id="b3")
    await beta.codes.printed([PrintedCode(letter.code_id, "ABCD", b"d" * 32, START + 10)], actor="test")
    number = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    clock.advance(10)
    await beta.applications.approve(number, **BOB)
    states = [state for user, _, state in await codes_of(beta, "beta") if user == "b3"]
    assert states == [CodeState.VOID, CodeState.ORDERED]


async def test_a_company_of_5000_users_is_approved_in_one_go(empty: Store) -> None:
    await empty.companies.create("giant", "巨大", actor="test")
    await empty.users.add([NewUser(f"g{number:04}", "giant") for number in range(5_000)], actor="test")
    number = await empty.applications.receive_start("giant", DEADLINE, **ALICE)
    await empty.applications.approve(number, **BOB)
    assert len(await empty.codes.due_letters(company_id="giant")) == 5_000
    (listed,) = await empty.applications.all()
    assert listed.users == 5_000


async def test_applications_are_listed_newest_first_and_by_what_waits(beta: Store) -> None:
    first = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    await beta.applications.withdraw(first, **ALICE)
    second = await beta.applications.receive_start("beta", DEADLINE, **ALICE)
    assert [one.application_id for one in await beta.applications.all()] == [second, first]
    assert [one.application_id for one in await beta.applications.all(undecided=True)] == [second]
    assert await beta.applications.all(company_id="nowhere") == []


# --- reissues -------------------------------------------------------------------------------------


async def test_a_reissue_revokes_at_once_and_orders_codes_when_it_is_approved(
    moved: Store, certificate: CertificateId
) -> None:
    opened = NewSession(b"\x01" * 32, "taro", certificate, START, START + 900, b"")
    await moved.sessions.open_session(opened, idle=900)
    number, ended = await moved.applications.receive_reissue(["taro"], **ALICE)
    assert ended == 1
    (mine,) = await moved.certificates.all(user_id="taro")
    assert mine.state is CertificateState.REVOKED
    assert await codes_of(moved, "acme") == []
    with pytest.raises(SameOperator):
        await moved.applications.approve(number, **ALICE)
    assert await codes_of(moved, "acme") == []
    await moved.applications.approve(number, **BOB)
    assert await codes_of(moved, "acme") == [("taro", CodePurpose.REISSUE, CodeState.ORDERED)]


async def test_a_letter_that_was_out_is_worth_nothing_once_a_reissue_is_received(moved: Store) -> None:
    """The PC was stolen, and the letter with it."""
    await moved.codes.order("taro", CodePurpose.EXPIRED, actor="test")
    (letter,) = await moved.codes.due_letters()
    await moved.codes.printed([PrintedCode(letter.code_id, "ABCD", b"d" * 32, DEADLINE)], actor="test")
    await moved.applications.receive_reissue(["taro"], **ALICE)
    assert await codes_of(moved, "acme") == [("taro", CodePurpose.EXPIRED, CodeState.VOID)]


async def test_a_withdrawn_reissue_leaves_revoked_what_it_revoked(moved: Store) -> None:
    number, _ = await moved.applications.receive_reissue(["taro"], **ALICE)
    await moved.applications.withdraw(number, **ALICE)
    (mine,) = await moved.certificates.all(user_id="taro")
    assert mine.state is CertificateState.REVOKED
    assert await codes_of(moved, "acme") == []


async def test_a_certificate_that_came_in_between_stops_the_approval(moved: Store) -> None:
    number, _ = await moved.applications.receive_reissue(["taro"], **ALICE)
    await moved.certificates.register([NewCertificate(CertificateId(ISSUER, 77), "taro")], actor="test")
    with pytest.raises(StateError, match="user taro has got a certificate since"):
        await moved.applications.approve(number, **BOB)
    assert await codes_of(moved, "acme") == []


async def test_reissues_that_cannot_be_are_refused_and_revoke_nothing(moved: Store) -> None:
    await moved.companies.create("beta", "ベータ", actor="test")
    await moved.users.add([NewUser("b1", "beta")], actor="test")
    receive = moved.applications.receive_reissue
    for user_ids, cause in (
        ([], "name the users"),
        (["taro", "taro"], "each once"),
        (["taro", "nobody"], "there is no user nobody"),
        (["taro", "b1"], "these users are of several"),
        (["b1"], "is on the password method; there is nothing to reissue"),
    ):
        with pytest.raises((StateError, UsageError), match=cause):
            await receive(user_ids, **ALICE)
    assert {one.state for one in await moved.certificates.all()} == {CertificateState.VALID}
    await receive(["taro"], **ALICE)
    with pytest.raises(StateError, match="reissue for user taro was received before"):
        await receive(["hanako", "taro"], **BOB)
    (hanakos,) = await moved.certificates.all(user_id="hanako")
    assert hanakos.state is CertificateState.VALID
