"""One suite over every password checker (clause A.3): the legacy form in each flavour, and the local store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mtls_gateway.clock import SystemClock
from mtls_gateway.model import Site
from mtls_gateway.signin.local_passwords import LocalPasswordChecker, hash_password
from mtls_gateway.signin.ports import Caller, PasswordChecker
from mtls_gateway.web.legacy_http import LegacyClient
from mtls_gateway.web.portal import make_checkers
from tests.signin import legacy_applications as applications
from tests.signin import legacy_settings as settings
from tests.signin.legacy_applications import PASSWORD, USER, Legacy

CALLER = Caller("192.0.2.7", "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0", "ja")


@dataclass
class Subject:
    """A checker and what it checks against."""

    checker: PasswordChecker
    legacy: Legacy | None
    session_cookie: str | None


class Hashes:
    """The store's side of the local passwords."""

    def __init__(self) -> None:
        self.kept = {USER: hash_password(PASSWORD)}

    async def password_hash(self, user_id: str) -> str | None:
        return self.kept.get(user_id)


FLAVOURS: dict[str, tuple[Callable[[], tuple[web.Application, Legacy]], dict[str, Any]]] = {
    "tomcat": (applications.tomcat, settings.TOMCAT),
    "django": (applications.django, settings.DJANGO),
    "aspnet": (applications.aspnet, settings.ASPNET),
    "php": (applications.php, settings.PHP),
}


@pytest.fixture(params=[*FLAVOURS, "argon2id"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "argon2id":
        yield Subject(LocalPasswordChecker(Hashes()), None, None)
        return
    make, legacy_settings = FLAVOURS[request.param]
    application, legacy = make()
    async with applications.running(application) as backend:
        configuration = settings.configure(backend, legacy_settings, tmp_path)
        async with LegacyClient(configuration.timeouts) as http:
            checkers = make_checkers(configuration, http, Hashes(), SystemClock())
            yield Subject(checkers[Site.CERTIFICATE], legacy, legacy_settings["session_cookies"][0])


async def test_the_right_password_opens_a_legacy_session(subject: Subject) -> None:
    session = await subject.checker.check(USER, PASSWORD, CALLER)
    assert session is not None
    if subject.legacy is not None:
        carried = {cookie.name: cookie.value for cookie in session.cookies}[subject.session_cookie or ""]
        assert subject.legacy.sessions[carried]["user"] == USER


@pytest.mark.parametrize(
    "password", ["wrong", "", " correct horse", "correct horse\n", "パスワード", "a" * 256, "%&+=;"]
)
async def test_a_wrong_password_opens_none(subject: Subject, password: str) -> None:
    assert await subject.checker.check(USER, password, CALLER) is None


async def test_an_unknown_user_opens_none(subject: Subject) -> None:
    assert await subject.checker.check("nobody", PASSWORD, CALLER) is None


async def test_a_right_password_after_a_wrong_one_opens_a_session(subject: Subject) -> None:
    assert await subject.checker.check(USER, "wrong", CALLER) is None
    assert await subject.checker.check(USER, PASSWORD, CALLER) is not None


async def test_parallel_attempts_do_not_mix(subject: Subject) -> None:
    passwords = [PASSWORD, "wrong"] * 4
    outcomes = await asyncio.gather(*(subject.checker.check(USER, password, CALLER) for password in passwords))
    assert [outcome is not None for outcome in outcomes] == [True, False] * 4


async def test_signing_out_ends_the_legacy_session(subject: Subject) -> None:
    session = await subject.checker.check(USER, PASSWORD, CALLER)
    assert session is not None
    await subject.checker.sign_out(session)
    if subject.legacy is not None and subject.session_cookie != ".ASPXAUTH":
        assert subject.legacy.signed_out == [USER]
