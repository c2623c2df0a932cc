"""EST as programs meet it (RFC 7030): every form of request, every refusal, never a page."""

from __future__ import annotations

import asyncio
import base64
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import new_code
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import CertificateState, CodeState, Method, Site
from tests.issuance.requests import csr, new_key
from tests.signin.legacy_applications import PASSWORD
from tests.store.issuing import DAY
from tests.web.est_client import Client, certificates, key_storage, letter, told
from tests.web.portal_client import NOW, YEAR, Portal, certificate


@pytest.fixture
async def portal(issuing: Portal) -> Portal:
    """Tanaka's certificate is revoked, and no other issued yet."""
    await issuing.store.certificates.revoke(certificate(1), actor="test")
    return issuing


@pytest.fixture
def client(portal: Portal) -> Client:
    return Client(portal)


async def states(portal: Portal, user_id: str = "tanaka") -> list[CertificateState]:
    found = await portal.store.certificates.all(user_id=user_id)
    return [one.state for one in found if one.certificate != certificate(1)]


# --- what anybody may ask ---------------------------------------------------------------------------


@pytest.mark.parametrize("site", Site)
async def test_the_authorities_are_the_issuer_and_its_root(portal: Portal, site: Site) -> None:
    answer = await Client(portal, site).send("GET", "cacerts")
    assert answer.one("Content-Type") == "application/pkcs7-mime"
    assert answer.one("Content-Transfer-Encoding") == "base64"
    # Where the issuing app renews.
    assert answer.one("X-Certificate-Host") == portal.configuration.certificate.authority
    assert portal.signer is not None
    assert {one.subject.rfc4514_string() for one in certificates(answer)} == {
        "CN=Bank issuing CA,O=Bank,C=JP",
        "CN=Bank Root CA,O=Bank,C=JP",
    }
    portal.signer.roll_over("second")
    # Until then what the signer said a moment ago is believed.
    portal.clock.advance(30)
    assert len(certificates(await Client(portal, site).send("GET", "cacerts"))) == 3


@pytest.mark.parametrize("site", Site)
async def test_the_attributes_ask_for_a_key_that_is_taken(portal: Portal, site: Site) -> None:
    answer = await Client(portal, site).send("GET", "csrattrs")
    assert (answer.status, answer.one("Content-Type")) == (200, "application/csrattrs")
    assert base64.b64decode(answer.body) == est_bodies.csr_attributes("P-256")


async def test_a_head_has_no_body(client: Client) -> None:
    answer = await client.send("HEAD", "cacerts")
    assert (answer.status, answer.body) == (200, b"")


# --- enrolment ------------------------------------------------------------------------------------------


async def test_user_id_code_and_password_are_one_certificate_of_the_key_that_asked(client: Client) -> None:
    key = new_key()
    answer = await client.enrol(await letter(client.portal), base64.b64encode(csr(key)))
    (issued,) = certificates(answer)
    assert issued.public_key() == key.public_key()
    assert answer.one("Content-Type") == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.one("Content-Transfer-Encoding") == "base64"
    assert {len(line) for line in answer.body.split(b"\r\n")[:-2]} == {64}
    assert answer.one("Cache-Control") == "no-store"
    assert answer.all("Set-Cookie") == []


async def test_who_says_nothing_of_itself_gets_one_line(client: Client) -> None:
    """As strongSwan's pki, which takes a line break for a symbol; all others get lines, which OpenSSL needs."""
    code, body = await letter(client.portal), base64.b64encode(csr(new_key()))
    in_lines = await client.enrol(code, body)
    client.user_agent = None
    in_one = await client.enrol(code, body)
    assert b"\n" not in in_one.body
    assert base64.b64decode(in_one.body) == base64.b64decode(in_lines.body)
    assert b"\n" not in (await client.send("GET", "cacerts")).body


async def test_no_legacy_session_is_left_behind(client: Client) -> None:
    certificates(await client.enrol(await letter(client.portal)))
    legacy = client.portal.legacy
    assert len(legacy.signed_out) == 1
    assert not any("user" in session for session in legacy.sessions.values())


@pytest.mark.parametrize("form", ["one line", "64 LF", "76 CRLF", "PEM", "DER", "with its encoding"])
async def test_every_form_that_clients_send(client: Client, form: str) -> None:
    der = csr()
    text = base64.b64encode(der).decode()
    more: dict[str, str] = {}
    match form:
        case "64 LF":
            body = "\n".join(textwrap.wrap(text, 64)).encode()
        case "76 CRLF":
            body = ("\r\n".join(textwrap.wrap(text, 76)) + "\r\n").encode()
        case "PEM":
            body = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n".encode()
        case "DER":
            body = der
        case _:
            body = text.encode()
    if form == "with its encoding":
        more = {"Content-Transfer-Encoding": "base64"}
    certificates(await client.enrol(await letter(client.portal), body, headers=more))


async def test_the_code_may_be_typed_in_any_way_and_the_password_may_have_colons(client: Client) -> None:
    code = (await letter(client.portal)).printed
    assert told(await client.enrol(code, password=f"{PASSWORD}:x")) == "401 enrolment_refused"
    assert told(await client.enrol(code, password=":" + PASSWORD)) == "401 enrolment_refused"
    typed = " ".join(code.lower().split("-")).translate({ord("2"): "２", ord("a"): "ａ"})
    certificates(await client.enrol(typed))


async def test_the_same_request_again_gives_the_same_octets(client: Client) -> None:
    code, body = await letter(client.portal), base64.b64encode(csr(new_key()))
    first = await client.enrol(code, body)
    certificates(first)
    client.portal.clock.advance(3_600)
    assert (await client.enrol(code, body)).body == first.body
    assert await states(client.portal) == [CertificateState.VALID]


async def test_fifty_at_once_are_one_certificate(client: Client) -> None:
    code, key = await letter(client.portal), new_key()
    same = await asyncio.gather(*(client.enrol(code, base64.b64encode(csr(key))) for _ in range(50)))
    assert len({one.body for one in same}) == 1
    certificates(same[0])
    others = await asyncio.gather(*(client.enrol(code) for _ in range(10)))
    assert {told(other) for other in others} == {"403 enrolment_code_used"}
    assert await states(client.portal) == [CertificateState.VALID]


@pytest.mark.parametrize(("kind", "ends", "wait"), [("emergency_stop", None, 30), ("maintenance", NOW + 600, 600)])
async def test_while_the_service_is_closed_programs_are_told_when_to_come_again(
    portal: Portal, kind: str, ends: float | None, wait: int
) -> None:
    closed = {"verdict": kind, "closure": {"ends": ends, "note_ja": None, "note_en": None}}
    for site in Site:
        for answer in (
            await Client(portal, site, more=closed).send("GET", "cacerts"),
            await Client(portal, more=closed).enrol(await letter(portal)),
        ):
            assert told(answer) == f"503 {kind}"
            assert answer.one("Retry-After") == str(wait)
    assert await states(portal) == []


@pytest.mark.parametrize(("said", "kept"), [("tpm", "tpm"), ("Software", "software"), ("cloud", None), (None, None)])
async def test_where_the_key_was_made_is_kept(client: Client, said: str | None, kept: str | None) -> None:
    key = new_key()
    headers = {} if said is None else {"X-Key-Storage": said}
    certificates(await client.enrol(await letter(client.portal), base64.b64encode(csr(key)), headers=headers))
    assert key_storage(client.portal, key) == kept


async def test_a_signer_that_dies_costs_nothing(client: Client) -> None:
    assert client.portal.signer is not None
    code, body = await letter(client.portal), base64.b64encode(csr(new_key()))
    for failure in ("before", "after"):
        client.portal.signer.fails = [failure]
        assert told(await client.enrol(code, body)) == "503 unavailable"
    certificates(await client.enrol(code, body))
    assert len(client.portal.signer.journal) == 1


# --- refusals ---------------------------------------------------------------------------------------------


async def test_what_of_the_three_was_wrong_is_not_said(client: Client) -> None:
    code = await letter(client.portal)
    for attempt in (
        client.enrol(new_code()),
        client.enrol(code, password="wrong"),
        client.enrol(code, user_id="suzuki"),
        client.enrol(code, user_id="nobody"),
        client.enrol(code.printed[:-1] + ("2" if code.printed[-1] != "2" else "3")),
        client.enrol(""),
        client.enrol("K7QF"),
    ):
        assert told(await attempt) == "401 enrolment_refused"
    assert await states(client.portal) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"tanaka").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"tanaka:" + b"x" * 5_000).decode()},
        {"Authorization": "Basic " + base64.b64encode(b"tanaka:\xff\xfe").decode()},
    ],
    ids=["none", "empty", "bearer", "no base64", "no colon", "long", "no UTF-8"],
)
async def test_credentials_that_are_none(client: Client, headers: dict[str, str]) -> None:
    answer = await client.send("POST", "simpleenroll", base64.b64encode(csr()), headers=headers)
    assert told(answer) == "401 credentials_missing"


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", "400 csr_malformed"),
        (b"hello", "400 csr_malformed"),
        (b"A" * 60_000, "413 request_too_large"),
        (b"\xff" * 1_048_576, "413 request_too_large"),
        (base64.b64encode(csr(new_key(ec.SECP521R1()))), "400 csr_weak_key"),
    ],
    ids=["empty", "hello", "60 KB", "1 MB", "P-521"],
)
async def test_a_request_that_cannot_be_met_is_refused_before_anything_is_counted(
    client: Client, body: bytes, refusal: str
) -> None:
    code = await letter(client.portal)
    for _ in range(7):
        assert told(await client.enrol(code, body, password="wrong")) == refusal
    assert client.portal.legacy.posts == []
    (row, *_) = await client.portal.store.codes.all(user_id="tanaka")
    assert (row.state, row.tries) == (CodeState.OPEN, 0)


async def test_what_became_of_a_code_is_told_to_whoever_has_it(client: Client) -> None:
    portal = client.portal
    used = await letter(portal)
    certificates(await client.enrol(used))
    assert told(await client.enrol(used)) == "403 enrolment_code_used"
    another = await letter(portal)
    assert told(await client.enrol(another)) == "403 certificate_exists"
    for _ in range(5):
        assert told(await client.enrol(another, password="wrong")) == "401 enrolment_refused"
    assert told(await client.enrol(another)) == "403 enrolment_code_exhausted"
    late = await letter(portal)
    portal.clock.advance(80 * DAY)
    assert told(await client.enrol(late)) == "403 enrolment_code_expired"


async def test_a_key_that_has_a_certificate(client: Client) -> None:
    key = new_key()
    certificates(await client.enrol(await letter(client.portal), base64.b64encode(csr(key))))
    (_, issued) = await client.portal.store.certificates.all(user_id="tanaka")
    await client.portal.store.certificates.revoke(issued.certificate, actor="test")
    answer = await client.enrol(await letter(client.portal), base64.b64encode(csr(key)))
    assert told(answer) == "400 csr_key_reused"


async def test_a_company_that_may_not(client: Client) -> None:
    code = await letter(client.portal)
    await client.portal.store.companies.suspend("c-cert", actor="test")
    assert told(await client.enrol(code)) == "403 company_suspended"
    await client.portal.store.companies.resume("c-cert", actor="test")
    await client.portal.store.companies.set_method("c-cert", Method.PASSWORD, actor="test")
    assert told(await client.enrol(code)) == "403 company_not_on_certificate_method"
    await client.portal.store.companies.set_method("c-cert", Method.CERTIFICATE, actor="test")
    certificates(await client.enrol(code))


async def test_guesses_from_one_address_are_braked_and_enrolments_are_not(client: Client) -> None:
    portal = client.portal
    code, body = await letter(portal), base64.b64encode(csr(new_key()))
    for _ in range(70):
        certificates(await client.enrol(code, body))
    answers = [told(await client.enrol(new_code())) for _ in range(61)]
    assert answers == ["401 enrolment_refused"] * 60 + ["429 throttled"]
    assert told(await client.enrol(code, body)) == "429 throttled"
    # Not for anybody else.
    certificates(await Client(portal, more={"address": "198.51.100.7"}).enrol(code, body))
    portal.clock.advance(61)
    certificates(await client.enrol(code, body))


async def test_a_backend_that_is_down_is_not_the_customers_fault(client: Client) -> None:
    code = await letter(client.portal)
    client.portal.legacy.down = True
    for _ in range(9):
        answer = await client.enrol(code)
        assert told(answer) == "503 unavailable"
        assert answer.one("Retry-After") == "30"
    client.portal.legacy.down = False
    certificates(await client.enrol(code))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_credentials_that_a_browser_has_kept_are_of_no_use_to_another_site(
    client: Client, headers: dict[str, str]
) -> None:
    code = await letter(client.portal)
    assert told(await client.enrol(code, headers=headers)) == "403 request_cross_site"
    assert client.portal.legacy.posts == []


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"]
)
async def test_what_a_foreign_form_could_send_asks_for_no_credentials(client: Client, media: str) -> None:
    """Else a browser would ask for them in the bank's name."""
    answer = await client.send("POST", "simpleenroll", base64.b64encode(csr()), headers={"Content-Type": media})
    assert told(answer) == "400 csr_malformed"


@pytest.mark.parametrize(
    ("site", "method", "operation", "refusal"),
    [
        (Site.PUBLIC, "POST", "cacerts", "405 method_not_allowed"),
        (Site.PUBLIC, "GET", "simpleenroll", "405 method_not_allowed"),
        (Site.PUBLIC, "HEAD", "simpleenroll", ""),
        (Site.PUBLIC, "DELETE", "simpleenroll", "405 method_not_allowed"),
        (Site.PUBLIC, "POST", "simplereenroll", "404 not_found"),
        (Site.CERTIFICATE, "POST", "simpleenroll", "404 not_found"),
        (Site.PUBLIC, "POST", "fullcmc", "404 not_found"),
        (Site.PUBLIC, "POST", "serverkeygen", "404 not_found"),
        (Site.PUBLIC, "GET", "label/cacerts", "404 not_found"),
        (Site.PUBLIC, "GET", "", "404 not_found"),
    ],
)
async def test_what_is_not_there(portal: Portal, site: Site, method: str, operation: str, refusal: str) -> None:
    answer = await Client(portal, site).send(method, operation)
    if method == "HEAD":
        assert (answer.status, answer.one("Allow")) == (405, "POST")
    else:
        assert told(answer) == refusal
        assert bool(answer.all("Allow")) == (answer.status == 405)


# --- renewal ------------------------------------------------------------------------------------------


@pytest.fixture
async def renewing(issuing: Portal) -> Client:
    """Tanaka with the certificate of another CA, ten days before its end."""
    issuing.clock.set(NOW + YEAR - 10 * DAY)
    return Client(issuing, Site.CERTIFICATE, serial=1, user="tanaka", not_after=NOW + YEAR)


async def test_certificate_and_password_are_a_new_certificate(renewing: Client) -> None:
    key = new_key()
    body = base64.b64encode(csr(key))
    first = await renewing.renew(body)
    (issued,) = certificates(first)
    assert issued.public_key() == key.public_key()
    assert (await renewing.renew(body, user_id="tanaka")).body == first.body
    assert len(renewing.portal.legacy.signed_out) == 2
    (present, new) = await renewing.portal.store.certificates.all(user_id="tanaka")
    assert (present.state, new.state) == (CertificateState.VALID, CertificateState.AWAITING)


async def test_wrong_passwords_count_as_at_sign_in(renewing: Client) -> None:
    for _ in range(4):
        assert told(await renewing.renew(password="wrong")) == "401 enrolment_refused"
    assert told(await renewing.renew(password="wrong")) == "403 user_suspended"
    assert told(await renewing.renew()) == "403 user_suspended"
    page = await renewing.portal.browser(not_after=NOW + YEAR).get("/gateway/password")
    assert "user_suspended" in page.text
    renewing.portal.clock.advance(1_800)
    certificates(await renewing.renew())


async def test_another_users_id_is_refused_and_counts_for_nobody(renewing: Client) -> None:
    for _ in range(9):
        assert told(await renewing.renew(user_id="suzuki")) == "401 enrolment_refused"
    certificates(await renewing.renew())


async def test_too_early_and_too_late(renewing: Client) -> None:
    renewing.portal.clock.set(NOW + YEAR - 40 * DAY - 1)
    assert told(await renewing.renew()) == "403 renewal_too_early"
    renewing.portal.clock.set(NOW + YEAR + 1)
    assert told(await renewing.renew()) == "403 certificate_expired"


@pytest.mark.parametrize(
    "verdict", ["certificate_missing", "certificate_revoked", "certificate_expired", "user_stopped"]
)
async def test_a_certificate_that_is_not_good_pays_for_nothing(renewing: Client, verdict: str) -> None:
    renewing.more = {"verdict": verdict}
    assert told(await renewing.renew()) == f"403 {verdict}"
    assert renewing.portal.legacy.posts == []
    answer = await renewing.send("GET", "cacerts")
    assert answer.status == 200


async def test_what_was_revoked_a_moment_ago_is_not_renewed(renewing: Client) -> None:
    """The worker's word may be a poll old."""
    await renewing.portal.store.certificates.revoke(certificate(1), actor="test")
    assert told(await renewing.renew()) == "403 certificate_revoked"
    assert renewing.portal.legacy.posts == []


async def test_a_renewal_without_a_password(renewing: Client) -> None:
    body = base64.b64encode(csr())
    assert told(await renewing.send("POST", "simplereenroll", body)) == "401 credentials_missing"
    assert told(await renewing.send("POST", "simplereenroll", body, Credentials("", ""))) == "401 enrolment_refused"
