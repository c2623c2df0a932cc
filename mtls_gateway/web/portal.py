"""The portal: every page of the gateway's own, as one aiohttp application on a private unix socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, LegacyForm
from mtls_gateway.issuance.code import KEY_PURPOSE
from mtls_gateway.issuance.enrolment import Enrolment, EnrolmentStores
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.issuance.orders import Signer
from mtls_gateway.model import Site
from mtls_gateway.signin.another_certificate import PROBE
from mtls_gateway.signin.guard import EST
from mtls_gateway.signin.instance_secret import derive
from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.legacy_form import LegacyFormChecker
from mtls_gateway.signin.legacy_view import LegacyView
from mtls_gateway.signin.local_passwords import LocalPasswordChecker
from mtls_gateway.signin.lockout import AddressThrottle
from mtls_gateway.signin.password_proof import PasswordProof
from mtls_gateway.signin.ports import LegacyHttp, PasswordChecker, PasswordHashStore
from mtls_gateway.signin.sign_in import SignIn, SignInStores
from mtls_gateway.signin.token import Tokens
from mtls_gateway.web.another_certificate import AnotherCertificate
from mtls_gateway.web.enrolment_desk import EnrolmentDesk, PublicHostPasswords
from mtls_gateway.web.enrolment_pages import EnrolmentPages
from mtls_gateway.web.est import Est
from mtls_gateway.web.form_tokens import FormTokens
from mtls_gateway.web.front import Front, visit_of
from mtls_gateway.web.issuing_app import IssuingApp
from mtls_gateway.web.member_pages import MemberPages
from mtls_gateway.web.ports import MemberStore, TermStore
from mtls_gateway.web.published_crls import PublishedCrls
from mtls_gateway.web.refusal_pages import RefusalPages
from mtls_gateway.web.session_cookies import SessionCookies
from mtls_gateway.web.session_pages import SessionPages
from mtls_gateway.web.sign_in_pages import SignInPages
from mtls_gateway.web.tickets import Tickets

#: A request of ours is a form of a few fields; the worker holds it against its own limit besides.
_MAXIMUM_OCTETS = 65_536


@dataclass(frozen=True, slots=True)
class PortalParts:
    """What the composition root gives: the seams, satisfied."""

    configuration: Configuration
    clock: Clock
    #: See ``signin.instance_secret``.
    secret: bytes
    stores: SignInStores
    checkers: Mapping[Site, PasswordChecker]
    members: MemberStore
    terms: TermStore
    #: None: ``[issuance]`` was left out.
    issuing: IssuingParts | None = None


@dataclass(frozen=True, slots=True)
class IssuingParts:
    """What enrolment needs besides."""

    stores: EnrolmentStores
    signer: Signer
    issuers: Issuers
    #: When the cooling-off of a reissue at that moment ends; both POSIX seconds (clause D.6). None: there is none.
    cooling_off_until: Callable[[float], float | None]


def make_checkers(
    configuration: Configuration, http: LegacyHttp, hashes: PasswordHashStore, clock: Clock
) -> Mapping[Site, PasswordChecker]:
    """The password checkers that the configuration names, one for each host as the backend sees it."""
    legacy = configuration.legacy
    login = legacy.login
    if not isinstance(login, LegacyForm):
        local = LocalPasswordChecker(hashes)
        return dict.fromkeys(Site, local)
    hosts = {Site.PUBLIC: configuration.public, Site.CERTIFICATE: configuration.certificate}
    return {
        site: LegacyFormChecker(login, legacy, LegacyView(host, legacy.seen, legacy.backends), http, clock)
        for site, host in hosts.items()
    }


def make_enrolment(parts: PortalParts, proof: PasswordProof) -> Enrolment | None:
    """The enrolment of an instance that issues certificates; None: it issues none."""
    settings, issuing = parts.configuration.issuance, parts.issuing
    if settings is None or issuing is None:
        return None
    return Enrolment(
        issuing.stores,
        issuing.signer,
        issuing.issuers,
        PublicHostPasswords(parts.checkers[Site.PUBLIC], proof),
        settings,
        parts.clock,
        code_key=derive(parts.secret, KEY_PURPOSE),
        cooling_off_until=issuing.cooling_off_until,
    )


def make_sign_in(parts: PortalParts) -> SignIn:
    """Sign-in, and with it the proof of passwords that every page shares."""
    configuration = parts.configuration
    return SignIn(
        parts.stores,
        parts.checkers,
        Tokens(parts.secret),
        LegacyJar(parts.secret),
        (configuration.sessions, configuration.lockout),
        parts.clock,
    )


def make_portal(parts: PortalParts, sign_in: SignIn, enrolment: Enrolment | None) -> web.Application:
    """The application; run it with ``access_log=None``: the workers write the access log."""
    configuration = parts.configuration
    tokens = Tokens(parts.secret)
    front = Front(configuration, parts.clock, FormTokens(parts.secret))
    cookies = SessionCookies(configuration.sessions, configuration.legacy, tokens)
    refusals = RefusalPages(front, parts.stores.users)
    entry = SignInPages(front, sign_in, cookies, refusals)
    session = SessionPages(front, sign_in, parts.stores.sessions, cookies, entry, parts.terms)
    members = MemberPages(front, sign_in.proof, parts.stores.sessions, parts.members, cookies, refusals)
    another = AnotherCertificate(front, parts.stores.users, parts.clock)
    cache_seconds = 0.0 if configuration.issuance is None else configuration.issuance.crl.cache
    crls = PublishedCrls(configuration.published_directory, cache_seconds)

    async def style(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=front.style.octets,
            content_type="text/css",
            charset="utf-8",
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    here = front.here
    application = web.Application(client_max_size=_MAXIMUM_OCTETS, middlewares=[front.middleware])
    application.add_routes(
        [
            web.get("/", entry.choose),
            web.get(here(""), entry.choose),
            web.get(here("password"), entry.show_password),
            web.post(here("password"), entry.take_password),
            web.get(here("password-sign-in"), entry.show_password_sign_in),
            web.post(here("password-sign-in"), entry.take_password_sign_in),
            web.get(here("takeover"), session.show_takeover),
            web.post(here("takeover"), session.take_over),
            web.get(here("notice"), session.show_notice),
            web.get(here("status"), session.show_status),
            web.get(here("members"), members.show_all),
            web.get(here("members/member"), members.show_one),
            web.get(here("members/confirm"), members.ask),
            web.post(here("members/confirm"), members.do),
            web.get(here("sign-out"), session.show_sign_out),
            web.post(here("sign-out"), session.sign_out),
            web.get(here("sign-out/legacy"), session.follow_legacy_sign_out),
            web.get(here("refused/{code}"), refusals.show),
            web.get(here("crl/{issuer}.crl"), crls.show),
            web.get(here("another-certificate"), another.wish),
            web.post(here("another-certificate"), another.wish),
            web.get(here("choosing"), another.wait),
            web.get(here("chosen"), another.go_back),
            web.get(here(PROBE), another.dot),
            web.get(here(f"static/{front.style.name}"), style),
        ]
    )
    desk = _desk(parts, enrolment)
    est = Est(front, desk, sign_in.proof)
    application.add_routes([web.route("*", EST + "{operation:.*}", est.answer)])
    application.add_routes(_enrolment_routes(front, desk, Tickets(parts.secret, parts.clock), refusals))
    return application


def _desk(parts: PortalParts, enrolment: Enrolment | None) -> EnrolmentDesk | None:
    settings, issuing = parts.configuration.issuance, parts.issuing
    if settings is None or issuing is None or enrolment is None:
        return None
    throttle = AddressThrottle(parts.configuration.lockout.attempts_per_address, parts.clock)
    return EnrolmentDesk(settings, issuing.issuers, enrolment, throttle)


def _enrolment_routes(
    front: Front, desk: EnrolmentDesk | None, tickets: Tickets, refusals: RefusalPages
) -> list[web.RouteDef]:
    here = front.here
    if desk is None:

        async def what_to_have_at_hand(request: web.Request) -> web.StreamResponse:
            return front.page(visit_of(request), "enrolment.html")

        return [web.get(here("enrolment"), what_to_have_at_hand)]
    app = None if desk.settings.issuing_app is None else IssuingApp(desk.settings.issuing_app)
    pages = EnrolmentPages(front, desk, tickets, app, refusals)
    return [
        web.get(here("enrolment"), pages.show_sign_in),
        web.post(here("enrolment"), pages.take_sign_in),
        web.get(here("enrolment/app"), pages.show_app),
        web.get(here("enrolment/download"), pages.download),
        web.get(here("renewal"), pages.show_renewal),
        web.get(here("renewal/download"), pages.download_for_renewal),
    ]
