"""The portal as a worker reaches it: a real server on a unix socket, a real store, a real legacy backend."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration
from mtls_gateway.issuance.enrolment import EnrolmentStores
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.issuance.orders import Signer
from mtls_gateway.model import CertificateId, Site, print_serial
from mtls_gateway.signin.sign_in import SignInStores
from mtls_gateway.store.opening import Store
from mtls_gateway.web.legacy_http import LegacyClient
from mtls_gateway.web.portal import IssuingParts, PortalParts, make_checkers, make_enrolment, make_portal, make_sign_in
from tests.issuance.own_signer import OwnSigner
from tests.signin.legacy_applications import Legacy

#: 2026-06-01 12:00 in Japan.
NOW = 1_780_282_800.0
SECRET = b"s" * 32
YEAR = 365 * 86_400.0
ISSUER = "CN=Bank CA,O=Bank,C=JP"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


@dataclass
class Answer:
    """What the worker gets."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def token(self, action: str) -> str:
        """The form token of the form that is sent to ``action``."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', self.text, re.DOTALL)
        assert form is not None, self.text
        found = re.search(r'name="form_token" value="([^"]+)"', form[0])
        assert found is not None
        return found[1]


@dataclass
class Browser:
    """One browser behind one connection: its cookies, and what the worker says of it."""

    portal: Portal
    site: Site = Site.CERTIFICATE
    serial: int | None = 1
    user: str | None = "tanaka"
    verdict: str = "admitted"
    not_after: float | None = NOW + YEAR
    cookies: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> dict[str, Any]:
        shown = None
        if self.serial is not None:
            fingerprint = f"{self.serial:064x}"
            serial = print_serial(self.serial)
            shown = {"issuer": ISSUER, "serial": serial, "fingerprint": fingerprint, "subject": "CN=x"}
        return {
            "site": self.site.value,
            "address": "192.0.2.7",
            "verdict": self.verdict,
            "certificate": shown,
            "user": self.user,
            "not_after": self.not_after,
            "session": None,
            "browser": None,
        } | self.more

    @property
    def context_text(self) -> str:
        """The header's value, as the worker sends it."""
        return json.dumps(self.context)

    async def send(self, method: str, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        sent = list(({"User-Agent": CHROME, "Accept-Language": "ja"} | self.headers).items())
        sent += [(name.replace("_", "-"), value) for name, value in headers.items()]
        if "Gateway_Context" not in headers:
            sent.append(("Gateway-Context", self.context_text))
        if self.cookies:
            sent.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        body = None
        if fields is not None:
            body = urlencode(fields).encode()
            if "Content_Type" not in headers:
                sent.append(("Content-Type", "application/x-www-form-urlencoded"))
        answer = await self.portal.exchange(method, path, sent, body)
        for value in answer.all("Set-Cookie"):
            for name, morsel in SimpleCookie(value).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, None, **headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        return await self.send("POST", path, fields, **headers)

    async def give_password(self, password: str, **fields: str) -> Answer:
        page = await self.get("/gateway/password")
        token = page.token("/gateway/password")
        return await self.post("/gateway/password", {"form_token": token, "password": password, **fields})

    async def give_both(self, user_id: str, password: str, **fields: str) -> Answer:
        page = await self.get("/gateway/password-sign-in")
        token = page.token("/gateway/password-sign-in")
        given = {"form_token": token, "user_id": user_id, "password": password}
        return await self.post("/gateway/password-sign-in", {**given, **fields})


@dataclass
class Portal:
    """Everything behind the socket."""

    configuration: Configuration
    clock: ManualClock
    store: Store
    legacy: Legacy
    http: aiohttp.ClientSession
    #: Where certificates are issued.
    signer: OwnSigner | None = None

    async def exchange(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None) -> Answer:
        url = "http://portal" + path
        async with self.http.request(
            method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=("User-Agent",)
        ) as response:
            fields = [(name.decode(), value.decode()) for name, value in response.raw_headers]
            return Answer(response.status, fields, await response.read())

    def browser(self, **more: Any) -> Browser:
        return Browser(self, **more)

    def stranger(self, **more: Any) -> Browser:
        """On the public host: without certificate and session."""
        given = {"serial": None, "user": None, "verdict": "certificate_missing", "not_after": None} | more
        return Browser(self, site=Site.PUBLIC, **given)


def certificate(serial: int) -> CertificateId:
    return CertificateId(ISSUER, serial)


async def serve(parts: PortalParts, socket: Path) -> web.AppRunner:
    sign_in = make_sign_in(parts)
    portal = make_portal(parts, sign_in, make_enrolment(parts, sign_in.proof))
    runner = web.AppRunner(portal, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    return runner


def parts_of(
    configuration: Configuration, clock: ManualClock, store: Store, http: LegacyClient, signer: Signer | None = None
) -> PortalParts:
    stores = SignInStores(store.attempts, store.sessions, store.identities)
    checkers = make_checkers(configuration, http, store.users, clock)
    issuing = None
    if signer is not None:
        rows = EnrolmentStores(store.codes, store.enrolments, store.users)
        issuing = IssuingParts(rows, signer, Issuers(signer, clock), lambda now: now + 86_400.0)
    return PortalParts(configuration, clock, SECRET, stores, checkers, store.members, store.certificates, issuing)
