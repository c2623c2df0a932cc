"""An EST client behind a worker: a request as a program sends it, and what it makes of the answer."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import KEY_PURPOSE as CODE_KEY
from mtls_gateway.issuance.code import Code, digest, new_code, read_code
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import CodePurpose, Site
from mtls_gateway.signin.instance_secret import derive
from tests.issuance.requests import csr
from tests.signin.legacy_applications import PASSWORD
from tests.store.issuing import DAY, printed
from tests.web.portal_client import SECRET, Answer, Portal

EST = "/.well-known/est/"


async def letter(portal: Portal, user_id: str = "tanaka", purpose: CodePurpose = CodePurpose.FIRST) -> Code:
    """A code in its letter."""
    code = read_code(new_code())
    await printed(
        portal.store,
        user_id,
        locator=code.locator,
        digest=digest(code, derive(SECRET, CODE_KEY)),
        expires=portal.clock.now() + 80 * DAY,
        purpose=purpose,
    )
    return code


@dataclass
class Client:
    """A program on one connection."""

    portal: Portal
    site: Site = Site.PUBLIC
    more: dict[str, Any] = field(default_factory=dict)
    serial: int | None = None
    user: str | None = None
    not_after: float | None = None
    user_agent: str | None = "a client"

    async def send(
        self,
        method: str,
        operation: str,
        body: bytes | None = None,
        credentials: Credentials | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        given = {"serial": self.serial, "user": self.user, "not_after": self.not_after, "more": self.more}
        browser = (self.portal.stranger if self.site is Site.PUBLIC else self.portal.browser)(**given)
        sent = {"Gateway-Context": browser.context_text}
        if self.user_agent is not None:
            sent["User-Agent"] = self.user_agent
        if body is not None:
            sent["Content-Type"] = est_bodies.REQUEST
        if credentials is not None:
            sent["Authorization"] = est_bodies.basic(credentials)
        sent |= headers or {}
        return await self.portal.exchange(method, EST + operation, list(sent.items()), body)

    async def enrol(
        self,
        code: Code | str,
        body: bytes | None = None,
        *,
        user_id: str = "tanaka",
        password: str = PASSWORD,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        printed = code if isinstance(code, str) else code.printed
        asked = base64.b64encode(csr()) if body is None else body
        credentials = Credentials(user_id, f"{printed}:{password}")
        return await self.send("POST", "simpleenroll", asked, credentials, headers)

    async def renew(
        self,
        body: bytes | None = None,
        *,
        user_id: str = "",
        password: str = PASSWORD,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        asked = base64.b64encode(csr()) if body is None else body
        return await self.send("POST", "simplereenroll", asked, Credentials(user_id, password), headers)


def key_storage(portal: Portal, key: ec.EllipticCurvePrivateKey) -> str | None:
    """What was written down of where the key of a certificate is."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with closing(sqlite3.connect(portal.configuration.database_url.removeprefix("sqlite:///"))) as database:
        query = "select key_storage from certificates where public_key = ?"
        (found,) = database.execute(query, (spki,)).fetchone()
    return None if found is None else str(found)


def certificates(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer.text
    return est_bodies.read_certs_only(answer.body)


def told(answer: Answer) -> str:
    """The code of a refusal, which always has three lines of plain text."""
    assert answer.one("Content-Type") == "text/plain; charset=utf-8", answer.text
    code, japanese, english, rest = answer.text.split("\n")
    assert rest == "" and japanese.endswith("。") and english.endswith(".") and english.isascii()
    assert (answer.status == 401) == bool(answer.all("WWW-Authenticate"))
    if answer.status == 401:
        assert answer.one("WWW-Authenticate") == 'Basic realm="enrolment", charset="UTF-8"'
    assert bool(answer.all("Retry-After")) == (answer.status in (429, 503))
    return f"{answer.status} {code}"
