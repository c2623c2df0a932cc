from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import CertificateId, ChangeKind, Method, PeerCertificate, Registration, Site
from mtls_gateway.signin.another_certificate import NO_CERTIFICATE
from mtls_gateway.signin.identity import Identities
from mtls_gateway.signin.visitor import Visitor
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.web.context import Context, read_context
from mtls_gateway.wire.gate import Admission, Forward, Page, Redirect, Refuse, Route, Unread
from mtls_gateway.wire.share import Share
from tests.signin.rows import HANAKO, ISSUER, START, TARO, give_back, sign_in, take_away
from tests.signin.world import DAY, BankCa, World

FIREFOX = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:120.0) Gecko/20100101 Firefox/120.0"
Open = Callable[..., Awaitable[World]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    worlds: list[World] = []

    async def open_world(**settings: Any) -> World:
        world = World(tmp_path, {path.replace("__", "."): value for path, value in settings.items()})
        await world.open()
        worlds.append(world)
        return world

    yield open_world
    for world in worlds:
        await world.store.close()


@pytest.fixture
async def world(opened: Open) -> World:
    return await opened()


@pytest.fixture
def taro(world: World) -> PeerCertificate:
    return world.ca.issue(TARO.serial)


async def cookie(world: World, user: str = "taro", certificate: CertificateId | None = TARO) -> bytes:
    token, _ = await sign_in(world.store, world.clock, user, certificate)
    return b"__Host-ib-session=" + token.value


def context(admission: Admission) -> Context:
    assert isinstance(admission, Forward | Page)
    ((name, value),) = admission.headers
    assert name == b"Gateway-Context"
    return read_context([value.decode("ascii")])


def page(admission: Admission) -> bytes:
    assert isinstance(admission, Page), admission
    return admission.target


# --- the certificate host -----------------------------------------------------------------------


async def test_certificate_and_session_together_are_forwarded(world: World, taro: PeerCertificate) -> None:
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    answer = await world.ask(world.connect(taro), b"/balance?x=1", cookie=b"__Host-ib-session=" + token.value)
    assert isinstance(answer, Forward)
    assert answer.route is Route.LEGACY
    assert answer.target is None
    assert answer.verdict == "admitted"
    assert answer.headers == ()
    assert set(answer.bound) == {
        ("certificate", TARO),
        ("session", token.digest),
        ("user", "taro"),
        ("company", "acme"),
    }
    assert answer.until == START + 28_800


async def test_in_the_steady_state_the_answer_is_immediate_and_the_same(world: World, taro: PeerCertificate) -> None:
    visitor = world.connect(taro)
    session = await cookie(world)
    first = await world.ask(visitor, b"/balance", cookie=session)
    for table in ("certificates", "sessions"):
        take_away(world.directory, table)
    for target in (b"/balance", b"/balance?page=2", b"/balance"):
        answer = visitor.admit(world.head(target, cookie=session))
        assert answer is first
    # Another path, method or connection asks the store nothing either.
    assert isinstance(visitor.admit(world.head(b"/transfer", method=b"POST", cookie=session)), Forward)
    assert isinstance(world.connect(taro).admit(world.head(b"/other", cookie=session)), Forward)


async def test_the_latest_few_cookie_headers_of_a_connection_stay_in_the_steady_state(
    world: World, taro: PeerCertificate
) -> None:
    visitor = world.connect(taro)
    session = await cookie(world)
    headers = [b"path=%d; %b" % (number, session) for number in range(5)]
    first, *others = [await world.ask(visitor, b"/balance", cookie=header) for header in headers]
    for header, before in zip(headers[1:], others, strict=True):
        assert visitor.admit(world.head(b"/balance", cookie=header)) is before
    # The first was forgotten for the fifth, and is judged like any other.
    anew = visitor.admit(world.head(b"/balance", cookie=headers[0]))
    assert isinstance(anew, Forward)
    assert anew is not first


async def test_open_connections_that_show_the_same_certificate_share_it(world: World, taro: PeerCertificate) -> None:
    other = world.ca.issue(HANAKO.serial)
    connections = [world.connect(taro), world.connect(other)]
    assert world.gate.recognise(taro.der) is taro
    assert world.gate.recognise(other.der) is other
    connections.clear()
    # Nothing is kept of who has gone.
    anew = world.gate.recognise(taro.der)
    assert anew is not taro
    assert (anew.der, anew.fingerprint) == (taro.der, taro.fingerprint)


async def test_an_admission_ends_with_the_first_of_what_it_rests_on(world: World) -> None:
    short = world.ca.issue(TARO.serial, ends=START + 3_599)
    answer = await world.ask(world.connect(short), b"/", cookie=await cookie(world))
    assert isinstance(answer, Forward)
    assert answer.until == START + 3_600


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_bad_certificate_always_gets_its_page(world: World, method: bytes) -> None:
    bad = {
        b"certificate_missing": None,
        b"certificate_expired": world.ca.issue(TARO.serial, ends=START - 2),
        b"certificate_not_yet_valid": world.ca.issue(TARO.serial, begins=START + 60),
        b"issuer_unknown": BankCa().issue(TARO.serial),
        b"certificate_malformed": PeerCertificate(b"no certificate"),
        b"certificate_not_registered": world.ca.issue(4_711),
    }
    session = await cookie(world)
    for code, certificate in bad.items():
        for html in (True, False):
            answer = await world.ask(world.connect(certificate), b"/balance", cookie=session, method=method, html=html)
            assert page(answer) == b"/gateway/refused/" + code
            told = context(answer)
            assert told.verdict == code.decode()
            assert told.user is None
            assert (told.certificate is None) == (certificate is None)
            if certificate is not None and told.certificate is not None:
                assert told.certificate.fingerprint == certificate.fingerprint.hex()


async def test_a_program_that_posts_with_a_bad_certificate_is_refused_without_a_page(world: World) -> None:
    visitor = world.connect(None)
    assert await world.ask(visitor, b"/x", method=b"POST", html=False) == Refuse(403, "certificate_missing")
    assert page(await world.ask(visitor, b"/x", method=b"POST")) == b"/gateway/refused/certificate_missing"


async def test_the_store_refuses_before_any_crl_knows(world: World, taro: PeerCertificate) -> None:
    await world.store.certificates.revoke(TARO, actor="test")
    answer = await world.ask(world.connect(taro), b"/", cookie=b"")
    assert page(answer) == b"/gateway/refused/certificate_revoked"


async def test_the_company_must_be_on_the_certificate_method(world: World) -> None:
    certificate = CertificateId(ISSUER, 3)
    await world.store.certificates.register([NewCertificate(certificate, "jiro")], actor="test")
    visitor = world.connect(world.ca.issue(3))
    code = b"/gateway/refused/company_not_on_certificate_method"
    assert page(await world.ask(visitor, b"/")) == code
    await world.store.companies.set_method("old", Method.MIGRATING, START + DAY, actor="test")
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/"), Redirect)


async def test_a_good_certificate_without_a_session_is_led_to_the_password_page(
    world: World, taro: PeerCertificate
) -> None:
    visitor = world.connect(taro)
    assert await world.ask(visitor, b"/a/b?c=d&e") == Redirect(b"/gateway/password?next=/a/b%3Fc%3Dd%26e", "no_session")
    assert await world.ask(visitor, b"/") == Redirect(b"/gateway/password", "no_session")
    assert await world.ask(visitor, b"/api", html=False) == Refuse(401, "no_session")
    assert await world.ask(visitor, b"/a", method=b"POST", html=False) == Refuse(401, "no_session")
    assert await world.ask(visitor, b"/a", method=b"PUT") == Refuse(401, "no_session")
    forged = b"__Host-ib-session=" + b"A" * 64
    assert await world.ask(visitor, b"/", cookie=forged) == Redirect(b"/gateway/password", "no_session")


async def test_a_form_that_is_posted_without_a_session_leads_to_signing_in_and_not_back_to_its_target(
    world: World, taro: PeerCertificate
) -> None:
    session = await cookie(world)
    visitor = world.connect(taro)
    assert isinstance(await world.ask(visitor, b"/transfer", method=b"POST", cookie=session), Forward)
    world.clock.advance(world.configuration.sessions.idle)
    await world.follower.poll()
    to_the_password_page = Redirect(b"/gateway/password", "session_ended")
    assert await world.ask(visitor, b"/transfer", method=b"POST", cookie=session) == to_the_password_page
    public = world.connect_public()
    assert await world.ask(public, b"/transfer", method=b"POST") == Redirect(b"/", "no_session")


async def test_a_session_is_worth_nothing_with_another_certificate_or_none(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    other = world.connect(world.ca.issue(HANAKO.serial))
    answer = await world.ask(other, b"/balance", cookie=session)
    assert page(answer) == b"/gateway/refused/session_other_certificate"
    assert context(answer).user == "hanako"
    assert await world.ask(other, b"/balance", cookie=session, html=False) == Refuse(403, "session_other_certificate")
    assert page(await world.ask(world.connect(None), b"/", cookie=session)) == b"/gateway/refused/certificate_missing"
    # Where both hosts have one name, browsers send the cookie to either: on the public host it is none.
    public = await world.ask(world.connect_public(), b"/balance", cookie=session)
    assert (page(public), context(public).session) == (b"/", None)
    assert isinstance(await world.ask(world.connect(taro), b"/balance", cookie=session), Forward)


async def test_the_password_methods_session_is_none_on_the_certificate_host(
    world: World, taro: PeerCertificate
) -> None:
    session = await cookie(world, "jiro", None)
    assert isinstance(await world.ask(world.connect_public(), b"/", cookie=session), Forward)
    assert await world.ask(world.connect(taro), b"/", cookie=session) == Redirect(b"/gateway/password", "no_session")


async def test_a_cookie_twice_is_no_cookie(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    answer = await world.ask(world.connect(taro), b"/", cookie=session + b"; " + session)
    assert answer == Redirect(b"/gateway/password", "no_session")


async def test_an_idle_session_has_ended_to_the_second(world: World, taro: PeerCertificate) -> None:
    visitor = world.connect(taro)
    session = await cookie(world)
    for _ in range(3):
        assert isinstance(await world.ask(visitor, b"/balance", cookie=session), Forward)
        world.clock.advance(899.9)
        await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/balance", cookie=session), Forward)
    world.clock.advance(900)
    await world.follower.poll()
    answer = await world.ask(visitor, b"/balance", cookie=session)
    assert answer == Redirect(b"/gateway/password?next=/balance", "session_ended")


async def test_a_session_that_another_worker_saw_used_is_not_idle(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    here = world.connect(taro)
    assert isinstance(await world.ask(here, b"/balance", cookie=session), Forward)
    follower, gate = world.follower, world.gate
    world.make_worker()
    await world.follower.start()
    world.clock.advance(600)
    await world.follower.poll()
    assert isinstance(await world.ask(world.connect(taro), b"/balance", cookie=session), Forward)
    await world.follower.note_use()
    world.clock.advance(600)
    await follower.poll()
    assert gate is not world.gate
    assert isinstance(await world.ask(here, b"/balance", cookie=session), Forward)


async def test_the_absolute_end_and_the_certificates_last_second_are_exact(world: World) -> None:
    visitor = world.connect(world.ca.issue(TARO.serial, ends=START + 29_000))
    session = await cookie(world)
    for _ in range(32):
        world.clock.advance(899)
        await world.follower.poll()
        assert isinstance(await world.ask(visitor, b"/b", cookie=session), Forward)
    world.clock.advance(31.9)
    await world.follower.poll()
    assert isinstance(visitor.admit(world.head(b"/b", cookie=session)), Forward)
    world.clock.advance(0.1)
    assert await world.ask(visitor, b"/b", cookie=session) == Redirect(b"/gateway/password?next=/b", "session_ended")
    world.clock.set(START + 29_000.9)
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/b"), Redirect)
    world.clock.set(START + 29_001)
    assert page(await world.ask(visitor, b"/b")) == b"/gateway/refused/certificate_expired"


async def test_a_suspension_that_was_lifted_a_moment_ago_is_not_shown(world: World, taro: PeerCertificate) -> None:
    visitor = world.connect(taro)
    for _ in range(5):
        await world.store.attempts.begin_attempt("taro", limit=5, suspension=1_800, suspensions=3)
    await world.follower.poll()
    assert page(await world.ask(visitor, b"/")) == b"/gateway/refused/user_suspended"
    # The fifth password was right after all; the feed has not told yet.
    await world.store.attempts.attempt_was_right("taro")
    session = await cookie(world)
    assert isinstance(await world.ask(visitor, b"/", cookie=session), Forward)


async def test_a_pending_session_opens_nothing_but_the_portal(world: World, taro: PeerCertificate) -> None:
    await cookie(world)
    pending = await cookie(world)
    visitor = world.connect(taro)
    assert isinstance(await world.ask(visitor, b"/", cookie=pending), Redirect)
    assert context(await world.ask(visitor, b"/gateway/takeover", method=b"POST", cookie=pending)).session == "pending"


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [b"/login", b"/LOGIN;x=1", b"//login", b"/app/j_security_check", b"/lo%67in"])
async def test_the_legacy_login_is_guarded_for_everybody(world: World, taro: PeerCertificate, target: bytes) -> None:
    session = await cookie(world)
    guarded = b"/gateway/refused/legacy_login_guarded"
    assert page(await world.ask(world.connect(taro), target, cookie=session)) == guarded
    assert page(await world.ask(world.connect_public(), target)) == guarded
    password = await cookie(world, "jiro", None)
    assert page(await world.ask(world.connect_public(), target, cookie=password)) == guarded
    refused = await world.ask(world.connect_public(), target, method=b"POST", html=False)
    assert refused == Refuse(403, "legacy_login_guarded")


@pytest.mark.parametrize("target", [b"/a/../login", b"/a%2flogin", b"/%00", b"/Gateway/password", b"/..;/x"])
async def test_what_cannot_be_read_in_one_way_is_refused(world: World, taro: PeerCertificate, target: bytes) -> None:
    for visitor in (world.connect(taro), world.connect(None), world.connect_public()):
        assert await world.ask(visitor, target) == Refuse(400, "ambiguous_path")


async def test_a_public_path_needs_no_session_and_carries_none(world: World, taro: PeerCertificate) -> None:
    public = await world.ask(world.connect_public(), b"/static/a.css", html=False)
    assert isinstance(public, Forward)
    assert public.route is Route.LEGACY
    assert public.bound == ()
    assert public.seal.open_header(b"JSESSIONID=1; lang=ja") == b"lang=ja"
    assert public.seal.seal_header(b"JSESSIONID=1") == b""
    certified = await world.ask(world.connect(taro), b"/static/a.css")
    assert isinstance(certified, Forward)
    assert ("certificate", TARO) in certified.bound
    # The certificate host shows nothing of the backend to a bad certificate.
    assert page(await world.ask(world.connect(None), b"/static/a.css")) == b"/gateway/refused/certificate_missing"
    # With a session the same path is like any other.
    signed_in = await world.ask(world.connect(taro), b"/static/a.css", cookie=await cookie(world))
    assert isinstance(signed_in, Forward)
    assert len(signed_in.bound) == 4


async def test_the_legacy_sign_out_ends_the_gateways_session_too(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    answer = await world.ask(world.connect(taro), b"/logout", cookie=session)
    assert page(answer) == b"/gateway/sign-out/legacy"
    assert context(answer).session == "live"
    assert isinstance(await world.ask(world.connect(taro), b"/logout"), Redirect)


# --- the portal ---------------------------------------------------------------------------------


async def test_the_portal_is_told_what_is_known(world: World, taro: PeerCertificate) -> None:
    answer = await world.ask(world.connect(taro, "::1"), b"/gateway/password?next=/x")
    assert isinstance(answer, Forward)
    assert answer.route is Route.PORTAL
    # Neither to the user nor to the company: who suspends itself by a wrong password must see the answer.
    assert answer.bound == (("presented", TARO),)
    assert answer.until < float("inf")
    assert answer.seal.open_header(b"__Host-ib-session=x") == b"__Host-ib-session=x"
    told = context(answer)
    assert (told.site, told.address, told.verdict) == (Site.CERTIFICATE, "::1", "admitted")
    assert (told.user, told.session, told.browser) == ("taro", None, None)
    assert told.accepted == TARO
    assert told.not_after == START + 365 * DAY
    assert (
        context(await world.ask(world.connect(taro), b"/gateway/notice", cookie=await cookie(world))).session == "live"
    )


async def test_a_bad_certificate_sees_of_the_portal_only_what_explains_it(world: World) -> None:
    visitor = world.connect(None)
    for target in (
        b"/gateway/static/a.css",
        b"/gateway/refused/x",
        b"/gateway/another-certificate",
        b"/gateway/status",
    ):
        answer = await world.ask(visitor, target, method=b"GET")
        assert isinstance(answer, Forward)
        assert context(answer).verdict == "certificate_missing"
    for target in (b"/gateway/password", b"/gateway/takeover", b"/gateway/notice", b"/gateway/", b"/gateway"):
        answer = await world.ask(visitor, target, method=b"POST")
        assert page(answer) == b"/gateway/refused/certificate_missing"


@pytest.mark.parametrize("operation", [b"cacerts", b"csrattrs", b"simplereenroll"])
async def test_a_bad_certificate_gets_no_page_where_programs_ask_for_certificates(
    world: World, operation: bytes
) -> None:
    """The portal refuses them in their own words, by the verdict that it is told."""
    visitor = world.connect(world.ca.issue(TARO.serial, ends=START - 1))
    answer = await world.ask(visitor, b"/.well-known/est/" + operation, method=b"POST")
    assert isinstance(answer, Forward)
    assert answer.route is Route.PORTAL
    assert context(answer).verdict == "certificate_expired"
    assert context(answer).accepted is None


async def test_a_renewal_ends_when_its_certificate_is_revoked(world: World, taro: PeerCertificate) -> None:
    answer = await world.ask(world.connect(taro), b"/.well-known/est/simplereenroll", method=b"POST")
    assert isinstance(answer, Forward)
    assert answer.bound == (("presented", TARO),)
    assert context(answer).accepted == TARO


async def test_a_client_cannot_say_what_the_gateway_says(world: World, taro: PeerCertificate) -> None:
    for name in (b"Gateway-Context", b"gateway-context", b"GATEWAY_CONTEXT", b"Gateway.Context"):
        octets = b"GET /gateway/status HTTP/1.1\r\nHost: h\r\n%b: {}\r\n\r\n" % name
        head = world.reader.read(octets, b"h")
        assert all(sent.lower().replace(b"_", b"-") != b"gateway-context" for sent, _ in head.headers)


# --- a login that a parameter tells --------------------------------------------------------------

URLENCODED = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n"
CONTROLLER = ["/login", {"path": "/ib", "query": "EventID=Login"}, {"path": "/ib", "field": "userid"}]


async def test_a_login_in_the_query_has_its_page_and_everything_else_at_the_path_goes_on(opened: Open) -> None:
    world = await opened(legacy__guarded=CONTROLLER)
    session = await cookie(world)
    visitor = world.connect(world.ca.issue(TARO.serial))
    guarded = b"/gateway/refused/legacy_login_guarded"
    for _ in range(2):
        assert page(await world.ask(visitor, b"/ib?EventID=Login", cookie=session)) == guarded
        assert page(await world.ask(visitor, b"/ib?x&userid=jiro", cookie=session)) == guarded
        assert isinstance(await world.ask(visitor, b"/ib?EventID=Balance", cookie=session), Forward)
        assert isinstance(await world.ask(visitor, b"/balance?EventID=Login", cookie=session), Forward)
    refused = await world.ask(visitor, b"/ib?EventID=Login", cookie=session, html=False)
    assert refused == Refuse(403, "legacy_login_guarded")
    assert await world.ask(visitor, b"/ib?x=%252525252541", cookie=session) == Refuse(400, "ambiguous_query")
    # Whoever is not signed in is led to signing in, whatever the query says.
    assert isinstance(await world.ask(visitor, b"/ib?EventID=Balance"), Redirect)


async def test_a_form_is_read_before_it_is_judged(opened: Open) -> None:
    world = await opened(legacy__guarded=CONTROLLER)
    session = await cookie(world)
    visitor = world.connect(world.ca.issue(TARO.serial))

    def posted(body: bytes | None, target: bytes = b"/ib", fields: bytes = URLENCODED) -> Admission:
        head = world.head(target, method=b"POST", cookie=session, fields=fields)
        head.body = body
        answer = visitor.admit(head)
        assert not isinstance(answer, Awaitable)
        return answer

    # The first request of a session asks the store.
    await world.ask(visitor, b"/balance", cookie=session)
    assert posted(None) == Unread()
    assert isinstance(posted(b"amount=10"), Forward)
    assert page(posted(b"userid=a1")) == b"/gateway/refused/legacy_login_guarded"
    assert page(posted(b"%75serid=")) == b"/gateway/refused/legacy_login_guarded"
    assert posted(b"x=%252525252541") == Refuse(400, "ambiguous_form")
    # What the query says is enough; nothing else of the path's is looked at for the form.
    assert page(posted(None, b"/ib?userid=x")) == b"/gateway/refused/legacy_login_guarded"
    assert isinstance(posted(None, b"/balance"), Forward)
    assert posted(None, fields=b"Content-Length: 9\r\n") == Refuse(415, "unreadable_form")
    multipart = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9\r\n"
    assert posted(None, fields=multipart) == Refuse(415, "unreadable_form")


async def test_a_form_is_not_even_read_for_who_may_not_send_it(opened: Open) -> None:
    world = await opened(legacy__guarded=CONTROLLER, legacy__public_paths=["/ib"])
    taro = world.ca.issue(TARO.serial)
    world.knowledge.identities.evict_all()
    stranger = world.connect(world.ca.issue(999))
    answer = await world.ask(stranger, b"/ib", method=b"POST", fields=URLENCODED)
    assert page(answer) == b"/gateway/refused/certificate_not_registered"
    # A public path may be anybody's, and is looked at all the more.
    assert await world.ask(world.connect(taro), b"/ib", method=b"POST", fields=URLENCODED) == Unread()
    assert await world.ask(world.connect_public(), b"/ib", method=b"POST", fields=URLENCODED) == Unread()
    unguarded = await opened(legacy__guarded=CONTROLLER)
    answer = await unguarded.ask(unguarded.connect_public(), b"/ib", method=b"POST", fields=URLENCODED)
    assert answer == Redirect(b"/", "no_session")


async def test_other_paths_are_admitted_in_the_steady_state_as_before(opened: Open) -> None:
    world = await opened(legacy__guarded=CONTROLLER)
    session = await cookie(world)
    visitor = world.connect(world.ca.issue(TARO.serial))
    admitted = await world.ask(visitor, b"/balance", cookie=session)
    assert visitor.admit(world.head(b"/balance", cookie=session)) is admitted
    # A path that a parameter decides over is judged anew each time.
    assert isinstance(await world.ask(visitor, b"/ib", cookie=session), Forward)
    assert visitor.admit(world.head(b"/ib", cookie=session)) is not admitted
    assert page(await world.ask(visitor, b"/ib?EventID=Login", cookie=session)).endswith(b"legacy_login_guarded")


async def test_all_connections_of_a_session_have_one_share_of_the_backend_however_often_it_is_read(
    world: World,
) -> None:
    session, other = await cookie(world), await cookie(world, "hanako", HANAKO)
    visitors = [world.connect(world.ca.issue(TARO.serial)) for _ in range(2)]

    async def share_of(visitor: Visitor, cookie: bytes) -> Share | None:
        admission = await world.ask(visitor, b"/balance", cookie=cookie)
        assert isinstance(admission, Forward)
        return admission.share

    share = await share_of(visitors[0], session)
    assert share is not None
    assert await share_of(visitors[1], session) is share
    world.knowledge.forget()
    assert await share_of(visitors[0], session) is share
    assert await share_of(world.connect(world.ca.issue(HANAKO.serial)), other) is not share
    page = await world.ask(visitors[0], b"/gateway/status", cookie=session)
    assert isinstance(page, Forward)
    assert page.share is None


# --- the public host ----------------------------------------------------------------------------


async def test_the_public_host_shows_the_sign_in_page(world: World) -> None:
    visitor = world.connect_public()
    for target in (b"/", b"/balance"):
        answer = await world.ask(visitor, target)
        assert page(answer) == b"/"
        assert context(answer).verdict == "certificate_missing"
    assert page(await world.ask(visitor, b"/", html=False)) == b"/"
    assert await world.ask(visitor, b"/balance", html=False) == Refuse(401, "no_session")
    assert await world.ask(visitor, b"/", method=b"POST", html=False) == Refuse(401, "no_session")


async def test_a_company_on_the_password_method_sees_no_change(world: World) -> None:
    session = await cookie(world, "jiro", None)
    visitor = world.connect_public()
    answer = await world.ask(visitor, b"/", cookie=session)
    assert isinstance(answer, Forward)
    assert answer.route is Route.LEGACY
    assert {str(key)[2:6] for key in answer.bound} == {"sess", "user", "comp"}
    assert visitor.admit(world.head(b"/", cookie=session)) is answer
    told = context(await world.ask(visitor, b"/gateway/status", cookie=session))
    assert (told.verdict, told.user, told.session) == ("admitted", "jiro", "live")


async def test_a_password_session_ends_when_the_company_switches(world: World) -> None:
    session = await cookie(world, "jiro", None)
    visitor = world.connect_public()
    await world.store.companies.set_method("old", Method.MIGRATING, START + 60, actor="test")
    await world.follower.poll()
    answer = await world.ask(visitor, b"/balance", cookie=session)
    assert isinstance(answer, Forward)
    assert answer.until == START + 60
    world.clock.advance(9)
    await world.follower.poll()
    world.clock.set(START + 60)
    ended = await world.ask(visitor, b"/balance", cookie=session)
    assert page(ended) == b"/"
    assert context(ended).session == "session_ended"


# --- settings -----------------------------------------------------------------------------------


async def test_unsupported_browsers_are_refused_where_the_table_is_enforced(opened: Open) -> None:
    world = await opened(browsers__mode="enforce")
    taro = world.ca.issue(TARO.serial)
    refused = b"/gateway/refused/browser_unsupported"
    for target in (b"/gateway/password", b"/gateway/takeover"):
        assert page(await world.ask(world.connect(taro), target, agent=FIREFOX)) == refused
    for target in (b"/", b"/gateway/password-sign-in", b"/gateway/enrolment"):
        assert page(await world.ask(world.connect_public(), target, agent=FIREFOX)) == refused
    assert isinstance(await world.ask(world.connect(taro), b"/gateway/password"), Forward)
    session = await cookie(world)
    assert isinstance(await world.ask(world.connect(taro), b"/balance", cookie=session, agent=FIREFOX), Forward)


async def test_unsupported_browsers_are_only_told_of_where_the_table_advises(
    world: World, taro: PeerCertificate
) -> None:
    answer = await world.ask(world.connect(taro), b"/gateway/password", agent=FIREFOX)
    assert isinstance(answer, Forward)
    assert context(answer).browser == "unsupported"


async def test_the_backend_is_told_who_and_whence_only_where_it_is_set(opened: Open) -> None:
    seen = {"forwarded_headers": True, "user_header": True, "client_cert_header": True}
    world = await opened(legacy__seen=seen)
    taro = world.ca.issue(TARO.serial)
    answer = await world.ask(world.connect(taro, "2001:db8::1"), b"/", cookie=await cookie(world))
    assert isinstance(answer, Forward)
    headers = dict(answer.headers)
    assert headers[b"Forwarded"] == b'for="[2001:db8::1]";host="cert.bank.example";proto=https'
    assert headers[b"X-Forwarded-For"] == b"2001:db8::1"
    assert headers[b"X-Forwarded-Proto"] == b"https"
    assert headers[b"X-Forwarded-Host"] == b"cert.bank.example"
    assert headers[b"X-Forwarded-Port"] == b"443"
    assert headers[b"X-User-ID"] == b"taro"
    assert headers[b"Client-Cert"].startswith(b":MII")
    assert headers[b"Client-Cert"].endswith(b":")
    public = await world.ask(world.connect_public("127.0.0.9"), b"/static/x")
    assert isinstance(public, Forward)
    assert dict(public.headers)[b"Forwarded"] == b'for=127.0.0.9;host="bank.example";proto=https'
    assert b"X-User-ID" not in dict(public.headers)


# --- what goes wrong ----------------------------------------------------------------------------


async def test_nobody_is_admitted_before_the_feed_was_heard(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    world.make_worker()
    for visitor in (world.connect(taro), world.connect_public()):
        for target in (b"/balance", b"/gateway/password", b"/"):
            assert await world.ask(visitor, target, cookie=session) == Refuse(503, "unavailable")
    await world.follower.start()
    assert isinstance(await world.ask(world.connect(taro), b"/balance", cookie=session), Forward)


@pytest.mark.parametrize("table", ["certificates", "sessions"])
async def test_what_cannot_be_looked_up_is_not_admitted(world: World, taro: PeerCertificate, table: str) -> None:
    session = await cookie(world)
    take_away(world.directory, table)
    with pytest.raises(StoreUnavailable):
        await world.ask(world.connect(taro), b"/balance", cookie=session)
    give_back(world.directory, table)
    assert isinstance(await world.ask(world.connect(taro), b"/balance", cookie=session), Forward)


class SlowToAnswer:
    """The real store behind a line on which the answer takes until the test lets it through."""

    def __init__(self, world: World) -> None:
        self._store = world.store.worker
        self.read = asyncio.Event()
        self.arrive = asyncio.Event()

    async def registration(self, certificate: CertificateId) -> Registration | None:
        answer = await self._store.registration(certificate)
        self.read.set()
        await self.arrive.wait()
        return answer


async def test_a_change_that_arrives_during_the_look_up_counts(world: World, taro: PeerCertificate) -> None:
    session = await cookie(world)
    slow = SlowToAnswer(world)
    world.knowledge.identities = Identities(slow)
    answer = world.connect(taro).admit(world.head(b"/balance", cookie=session))
    assert inspect.isawaitable(answer)
    asked = asyncio.ensure_future(answer)
    await slow.read.wait()
    await world.store.certificates.revoke(TARO, actor="test")
    await world.follower.poll()
    slow.arrive.set()
    assert page(await asked) == b"/gateway/refused/certificate_revoked"


@pytest.mark.parametrize("kind", [ChangeKind.USER, ChangeKind.COMPANY, ChangeKind.CERTIFICATE, ChangeKind.SESSION])
async def test_any_change_ends_the_steady_state(world: World, taro: PeerCertificate, kind: ChangeKind) -> None:
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    session = b"__Host-ib-session=" + token.value
    subject = {
        ChangeKind.USER: "taro",
        ChangeKind.COMPANY: "acme",
        ChangeKind.CERTIFICATE: str(TARO),
        ChangeKind.SESSION: token.digest.hex(),
    }[kind]
    visitor = world.connect(taro)
    first = await world.ask(visitor, b"/balance", cookie=session)
    await world.store.changes.announce(kind, subject)
    await world.follower.poll()
    answer = visitor.admit(world.head(b"/balance", cookie=session))
    assert inspect.isawaitable(answer)
    second = await answer
    assert second is not first
    assert isinstance(second, Forward)


async def test_requests_are_counted_by_site_and_verdict(world: World, taro: PeerCertificate) -> None:
    def counted(site: str, verdict: str) -> float:
        labels = {"site": site, "verdict": verdict}
        return REGISTRY.get_sample_value("mtls_gateway_admissions_total", labels) or 0.0

    before = counted("certificate", "admitted"), counted("public", "no_session")
    visitor = world.connect(taro)
    session = await cookie(world)
    for _ in range(5):
        await world.ask(visitor, b"/balance", cookie=session)
    await world.ask(world.connect_public(), b"/balance")
    world.gate.add_up()
    world.gate.add_up()
    assert counted("certificate", "admitted") == before[0] + 5
    assert counted("public", "no_session") == before[1] + 1


# --- choose another certificate -------------------------------------------------------------------


async def test_the_probe_leaves_every_connection_made_with_what_is_unwanted(
    world: World, taro: PeerCertificate
) -> None:
    unwanted, none, other = world.connect(taro), world.connect(None), world.connect(world.ca.issue(HANAKO.serial))
    probe = b"/gateway/static/dot.gif?0123abcd"
    assert isinstance(await world.ask(unwanted, probe), Forward)
    marks = world.gate.knowledge.unwanted
    marks.mark(f"{taro.fingerprint.hex()} 127.0.0.1")
    assert await world.ask(unwanted, probe) == Redirect(probe, "ask_again", close=True)
    assert isinstance(await world.ask(other, probe), Forward)
    assert isinstance(await world.ask(none, probe), Forward)
    assert isinstance(await world.ask(unwanted, b"/gateway/status"), Forward)
    marks.mark(f"{NO_CERTIFICATE.hex()} 127.0.0.1")
    assert await world.ask(none, probe) == Redirect(probe, "ask_again", close=True)
    marks.mark(" 127.0.0.1")
    assert isinstance(await world.ask(unwanted, probe), Forward)


async def test_the_public_hosts_connections_are_never_unwanted(world: World) -> None:
    world.gate.knowledge.unwanted.mark(f"{NO_CERTIFICATE.hex()} 127.0.0.1")
    visitor = world.connect_public()
    assert isinstance(await world.ask(visitor, b"/gateway/static/dot.gif?0123abcd"), Forward)
