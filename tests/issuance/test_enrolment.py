"""From user ID, password and code to one certificate, over a real store; only the signer can be made to fail."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import EnrolmentCodes, Issuance
from mtls_gateway.errors import LegacyUnavailable, SignerUnavailable
from mtls_gateway.issuance.code import Code, digest, new_code, read_code
from mtls_gateway.issuance.csr import KeyRequest
from mtls_gateway.issuance.enrolment import Claim, Enrolment, EnrolmentStores, Entitled, Issued, NotIssued
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.model import Caller, CertificateState, CodePurpose, CodeState, Method
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser
from tests.issuance.own_signer import OwnSigner
from tests.issuance.requests import key_request
from tests.store.issuing import DAY, printed

#: 2026-06-01 12:00 in Japan.
NOW = 1_780_282_800.0
PASSWORD = "correct: horse"
KEY = b"k" * 32
HERE = Caller("192.0.2.7")
SETTINGS = Issuance(organisation="Bank")


@dataclass
class OnePassword:
    """The same for everybody; ``away`` says how often nobody decides."""

    away: int = 0
    asked: list[str] = field(default_factory=list)

    async def is_right(self, user_id: str, password: str, caller: Caller) -> bool:
        self.asked.append(user_id)
        if self.away:
            self.away -= 1
            raise LegacyUnavailable("it is down")
        await asyncio.sleep(0)
        return password == PASSWORD


@dataclass
class Desk:
    """Everything that an enrolment needs, and the letters that were printed."""

    store: Store
    clock: ManualClock
    signer: OwnSigner
    passwords: OnePassword
    settings: Issuance = SETTINGS

    def enrolment(self) -> Enrolment:
        """As a portal that was just started has it."""
        return Enrolment(
            EnrolmentStores(self.store.codes, self.store.enrolments, self.store.users),
            self.signer,
            Issuers(self.signer, self.clock),
            self.passwords,
            self.settings,
            self.clock,
            code_key=KEY,
            cooling_off_until=lambda now: now + DAY,
        )

    async def letter(self, user_id: str = "taro", purpose: CodePurpose = CodePurpose.FIRST) -> Code:
        code = read_code(new_code())
        await printed(
            self.store,
            user_id,
            locator=code.locator,
            digest=digest(code, KEY),
            expires=self.clock.now() + 80 * DAY,
            purpose=purpose,
        )
        return code

    async def enrol(
        self, code: Code, request: KeyRequest, user_id: str = "taro", password: str = PASSWORD
    ) -> Issued | NotIssued:
        return await self.enrolment().enrol(Claim(user_id, password, code, HERE), request, key_storage="tpm")

    async def refused(
        self, code: Code, user_id: str = "taro", password: str = PASSWORD, request: KeyRequest | None = None
    ) -> str:
        outcome = await self.enrol(code, request or key_request(), user_id, password)
        assert isinstance(outcome, NotIssued)
        return outcome.code

    async def issued(self, code: Code, request: KeyRequest, user_id: str = "taro") -> Issued:
        outcome = await self.enrol(code, request, user_id)
        assert isinstance(outcome, Issued), outcome
        return outcome

    async def states(self, user_id: str = "taro") -> list[CertificateState]:
        return [one.state for one in await self.store.certificates.all(user_id=user_id)]

    async def code_states(self, user_id: str = "taro") -> list[CodeState]:
        return [one.state for one in await self.store.codes.all(user_id=user_id)]


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    async def make(file: Path) -> None:
        await migrate(f"sqlite:///{file}", ManualClock(NOW))
        store = await open_store(f"sqlite:///{file}", ManualClock(NOW))
        for company, users in {"acme": ["taro", "hanako"], "other": ["jiro"]}.items():
            await store.companies.create(company, "株式会社みほん", actor="test")
            await store.users.add([NewUser(user, company, name=f"{user}の名前") for user in users], actor="test")
        await store.companies.set_method("acme", Method.MIGRATING, deadline=NOW + 90 * DAY, actor="test")
        await store.close()

    file = tmp_path_factory.mktemp("populated") / "gateway.sqlite3"
    asyncio.run(make(file))
    return file


@pytest.fixture
async def desk(tmp_path: Path, populated: Path) -> AsyncIterator[Desk]:
    clock = ManualClock(NOW)
    shutil.copy(populated, tmp_path)
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.sqlite3'}", clock, busy_timeout=30.0)
    yield Desk(store, clock, OwnSigner(NOW), OnePassword())
    await store.close()


# --- the good way -----------------------------------------------------------------------------------


async def test_user_id_code_and_password_are_one_certificate(desk: Desk) -> None:
    request = key_request()
    code = await desk.letter()
    issued = await desk.issued(code, request)
    certificate = x509.load_der_x509_certificate(issued.certificate)
    attributes = {one.oid: one.value for one in certificate.subject}
    assert attributes[x509.NameOID.USER_ID] == "taro"
    assert attributes[x509.NameOID.COMMON_NAME] == "taroの名前"
    assert certificate.serial_number.bit_length() > 64
    assert certificate.not_valid_after_utc.isoformat() == "2027-06-01T14:59:59+00:00"
    assert issued.chain[0] == desk.signer.active.certificate
    assert await desk.states() == [CertificateState.VALID]
    assert await desk.code_states() == [CodeState.USED]
    registration = await desk.store.certificates.registration(issued.intention.certificate)
    assert registration is not None and registration.user.has_certificate


async def test_the_page_asks_without_using_anything_up(desk: Desk) -> None:
    code = await desk.letter()
    claim = Claim("taro", PASSWORD, code, HERE)
    for _ in range(7):
        entitled = await desk.enrolment().entitled(claim)
        assert isinstance(entitled, Entitled)
        assert (entitled.user.user_id, entitled.purpose, entitled.expires) == (
            "taro",
            CodePurpose.FIRST,
            NOW + 80 * DAY,
        )
    await desk.issued(code, key_request())
    assert await desk.enrolment().entitled(claim) == NotIssued("enrolment_code_used")


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        ("信", "信"),
        ("信" * 200, "信" * 21),
        ("a" + "信" * 199, "a" + "信" * 21),
        ("a" * 63 + " b", "a" * 63),
        ("A", "A"),
        (None, "saburo"),
    ],
)
async def test_a_name_of_any_length_fits_into_a_certificate(desk: Desk, name: str | None, common_name: str) -> None:
    await desk.store.users.add([NewUser("saburo", "acme", name=name)], actor="test")
    issued = await desk.issued(await desk.letter("saburo"), key_request(), "saburo")
    assert issued.intention.common_name == common_name


# --- retries ------------------------------------------------------------------------------------------


async def test_the_same_key_again_is_the_same_certificate_octet_for_octet(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    first = await desk.issued(code, request)
    desk.clock.advance(100 * DAY)
    assert (await desk.issued(code, request)).certificate == first.certificate
    assert await desk.states() == [CertificateState.VALID]


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_a_signer_that_dies_before_or_after_it_signed_costs_nothing(desk: Desk, failure: str) -> None:
    request, code = key_request(), await desk.letter()
    desk.signer.fails = [failure] * 3
    for _ in range(3):
        with pytest.raises(SignerUnavailable):
            await desk.enrol(code, request)
        assert await desk.states() == [CertificateState.INTENDED]
    await desk.issued(code, request)
    assert await desk.states() == [CertificateState.VALID]
    assert len(desk.signer.journal) == 1


async def test_what_nobody_asks_for_again_is_finished_all_the_same(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    desk.signer.fails = ["after"]
    with pytest.raises(SignerUnavailable):
        await desk.enrol(code, request)
    assert await desk.enrolment().finish_all(desk.clock.now()) == 0
    desk.clock.advance(60)
    assert await desk.enrolment().finish_all(desk.clock.now()) == 1
    assert await desk.states() == [CertificateState.VALID]
    issued = await desk.issued(code, request)
    assert issued.certificate == desk.signer.journal[issued.intention.certificate.serial][1]


async def test_what_the_signer_refuses_gives_the_code_back(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    desk.signer.fails = ["refused"]
    assert await desk.refused(code, request=request) == "unavailable"
    assert await desk.states() == []
    assert await desk.code_states() == [CodeState.OPEN]
    await desk.issued(code, request)


@pytest.mark.parametrize("gone", [False, True], ids=["retired", "gone"])
async def test_a_roll_over_in_between_gives_the_code_back(desk: Desk, gone: bool) -> None:
    request, code = key_request(), await desk.letter()
    desk.signer.fails = ["before"]
    with pytest.raises(SignerUnavailable):
        await desk.enrol(code, request)
    desk.signer.roll_over("issuing-2")
    if gone:
        desk.signer.retired.clear()
    assert await desk.refused(code, request=request) == "unavailable"
    issued = await desk.issued(code, request)
    assert issued.intention.certificate.issuer == desk.signer.active.subject


async def test_a_retired_issuers_certificate_is_still_given_out(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    first = await desk.issued(code, request)
    desk.signer.roll_over("issuing-2")
    assert await desk.issued(code, request) == first


# --- all at once --------------------------------------------------------------------------------------


async def test_fifty_at_once_with_the_same_key_get_the_same_certificate(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    claim = Claim("taro", PASSWORD, code, HERE)
    # Ten portals, so that it is the store that holds; their tries overlap, so that five would not be enough.
    generous = Issuance(organisation="Bank", codes=EnrolmentCodes(tries=100))
    portals = [Desk(desk.store, desk.clock, desk.signer, desk.passwords, generous).enrolment() for _ in range(10)]
    outcomes = await asyncio.gather(*(portals[number % 10].enrol(claim, request) for number in range(50)))
    assert {outcome.certificate for outcome in outcomes if isinstance(outcome, Issued)} == {
        desk.signer.journal[next(iter(desk.signer.journal))][1]
    }
    assert all(isinstance(outcome, Issued) for outcome in outcomes)
    assert await desk.states() == [CertificateState.VALID]
    assert len(desk.signer.journal) == 1


async def test_fifty_at_once_with_fifty_keys_get_exactly_one(desk: Desk) -> None:
    code = await desk.letter()
    portal = desk.enrolment()
    claim = Claim("taro", PASSWORD, code, HERE)
    outcomes = await asyncio.gather(*(portal.enrol(claim, key_request()) for _ in range(50)))
    assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 1
    assert {one.code for one in outcomes if isinstance(one, NotIssued)} == {"enrolment_code_used"}
    assert await desk.states() == [CertificateState.VALID]


async def test_fifty_wrong_passwords_at_once_are_five_tries(desk: Desk) -> None:
    code = await desk.letter()
    portal = desk.enrolment()
    outcomes = await asyncio.gather(
        *(portal.enrol(Claim("taro", f"guess {number}", code, HERE), key_request()) for number in range(50))
    )
    told = [outcome.code for outcome in outcomes if isinstance(outcome, NotIssued)]
    assert (told.count("enrolment_refused"), told.count("enrolment_code_exhausted")) == (5, 45)
    assert len(desk.passwords.asked) == 5


# --- refusals: each with its own word, and nothing changed ---------------------------------------------


async def test_what_of_the_three_was_wrong_is_not_said(desk: Desk) -> None:
    code, hers = await desk.letter(), await desk.letter("hanako")
    for attempt in (
        desk.refused(read_code(new_code())),
        desk.refused(code, password="wrong"),
        desk.refused(code, user_id="nobody"),
        desk.refused(code, user_id="TARO"),
        desk.refused(hers),
        desk.refused(code, user_id="hanako"),
    ):
        assert await attempt == "enrolment_refused"
    assert await desk.states() == []
    assert await desk.code_states() == [CodeState.OPEN]


async def test_passwords_are_tried_for_none_but_the_codes_own_user(desk: Desk) -> None:
    await desk.letter()
    hers = await desk.letter("hanako")
    await desk.refused(hers)
    await desk.refused(read_code(new_code()))
    assert desk.passwords.asked == []


async def test_five_wrong_passwords_and_the_right_one_comes_too_late(desk: Desk) -> None:
    code = await desk.letter()
    for _ in range(5):
        assert await desk.refused(code, password="wrong") == "enrolment_refused"
    assert await desk.refused(code) == "enrolment_code_exhausted"
    assert await desk.code_states() == [CodeState.EXHAUSTED]
    newer = await desk.letter()
    await desk.issued(newer, key_request())


async def test_a_backend_that_is_down_uses_up_no_tries(desk: Desk) -> None:
    code = await desk.letter()
    desk.passwords.away = 20
    for _ in range(20):
        assert await desk.refused(code) == "unavailable"
    await desk.issued(code, key_request())


async def test_an_expired_code(desk: Desk) -> None:
    code = await desk.letter()
    desk.clock.advance(80 * DAY)
    assert await desk.refused(code) == "enrolment_code_expired"
    assert await desk.refused(code, user_id="hanako") == "enrolment_refused"


async def test_a_used_code_with_another_key(desk: Desk) -> None:
    code = await desk.letter()
    await desk.issued(code, key_request())
    assert await desk.refused(code) == "enrolment_code_used"


async def test_a_void_code_is_as_good_as_a_wrong_one(desk: Desk) -> None:
    code = await desk.letter()
    await desk.store.codes.withdraw("taro", actor="operator")
    assert await desk.refused(code) == "enrolment_refused"


async def test_a_code_whose_certificate_was_revoked_is_used(desk: Desk) -> None:
    request, code = key_request(), await desk.letter()
    issued = await desk.issued(code, request)
    await desk.store.certificates.revoke(issued.intention.certificate, actor="operator")
    assert await desk.refused(code, request=request) == "enrolment_code_used"


async def test_a_second_code_beside_a_valid_certificate(desk: Desk) -> None:
    await desk.issued(await desk.letter(), key_request())
    another = await desk.letter()
    assert await desk.refused(another) == "certificate_exists"
    assert (await desk.code_states())[0] is CodeState.OPEN


async def test_a_key_that_has_a_certificate(desk: Desk) -> None:
    request = key_request()
    await desk.issued(await desk.letter(), request)
    hers = await desk.letter("hanako")
    assert await desk.refused(hers, "hanako", request=request) == "csr_key_reused"
    await desk.issued(hers, key_request(), "hanako")


@pytest.mark.parametrize(
    "standing", ["company_suspended", "user_stopped", "user_suspended", "company_not_on_certificate_method"]
)
async def test_who_may_not_sign_in_gets_no_certificate_either(desk: Desk, standing: str) -> None:
    code = await desk.letter()
    store = desk.store
    match standing:
        case "company_suspended":
            await store.companies.suspend("acme", actor="test")
        case "user_stopped":
            await store.users.stop("taro", actor="test")
        case "user_suspended":
            await store.attempts.begin_attempt("taro", limit=1, suspension=60, suspensions=3)
        case _:
            code = await desk.letter("jiro")
    user_id = "jiro" if standing == "company_not_on_certificate_method" else "taro"
    for _ in range(7):
        assert await desk.refused(code, user_id) == standing
    # Only who has the letter is told, and no password is tried.
    assert await desk.refused(read_code(new_code()), user_id) == "enrolment_refused"
    assert desk.passwords.asked == []
    assert await desk.states(user_id) == []


# --- renewal --------------------------------------------------------------------------------------------


async def test_a_renewal_needs_no_code_and_keeps_the_present_certificate(desk: Desk) -> None:
    issued = await desk.issued(await desk.letter(), key_request())
    user = await desk.store.users.user("taro")
    assert user is not None
    intention = issued.intention
    portal = desk.enrolment()

    async def renew(request: KeyRequest) -> Issued | NotIssued:
        return await portal.renew(user, intention.certificate, intention.not_after, request)

    assert await renew(key_request()) == NotIssued("renewal_too_early")
    desk.clock.set(intention.not_after - 40 * DAY)
    request = key_request()
    desk.signer.fails = ["after"]
    with pytest.raises(SignerUnavailable):
        await renew(request)
    outcomes = await asyncio.gather(*(renew(request) for _ in range(50)))
    assert len({one.certificate for one in outcomes if isinstance(one, Issued)}) == 1
    assert all(isinstance(one, Issued) for one in outcomes)
    assert await desk.states() == [CertificateState.VALID, CertificateState.AWAITING]
    first = outcomes[0]
    assert isinstance(first, Issued)
    await desk.store.certificates.superseded_by_first_sign_in(first.intention.certificate)
    assert await desk.states() == [CertificateState.SUPERSEDED, CertificateState.VALID]
    assert await renew(key_request()) == NotIssued("certificate_not_current")


async def test_fifty_renewals_at_once_leave_one_that_can_be_used(desk: Desk) -> None:
    issued = await desk.issued(await desk.letter(), key_request())
    user = await desk.store.users.user("taro")
    assert user is not None
    intention = issued.intention
    desk.clock.set(intention.not_after - DAY)
    portal = desk.enrolment()
    outcomes = await asyncio.gather(
        *(portal.renew(user, intention.certificate, intention.not_after, key_request()) for _ in range(50))
    )
    assert all(isinstance(one, Issued) for one in outcomes)
    states = await desk.states()
    assert (states.count(CertificateState.VALID), states.count(CertificateState.AWAITING)) == (1, 1)
    assert states.count(CertificateState.REVOKED) == 49
