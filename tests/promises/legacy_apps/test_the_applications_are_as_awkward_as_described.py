"""The traps that the gateway is tested against are really there: each application asked directly, without it."""

from __future__ import annotations

import http.client
import re
from urllib.parse import urlencode, urlsplit

import pytest

from mtls_gateway.config import Legacy
from tests.promises.legacy_apps.application import LegacyApplication
from tests.promises.legacy_apps.tomcat import PROTECTED

CHECK = PROTECTED.replace("index.jsp", "j_security_check")

tomcat_is_there = pytest.mark.needs("tomcat10", "tomcat10-examples")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.location = response.getheader("Location") or ""
        self.cookies = dict(
            header.partition(";")[0].split("=", 1) for header in response.headers.get_all("Set-Cookie") or []
        )
        self.body = response.read().decode("utf-8", "replace")


def ask(
    application: LegacyApplication,
    method: str,
    target: str,
    cookies: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    parts = urlsplit(application.base)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    sent = dict(headers or {})
    if cookies:
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, target, urlencode(form) if form is not None else None, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


@tomcat_is_there
def test_tomcat_shows_its_login_page_in_place_of_the_protected_one(tomcat: LegacyApplication) -> None:
    answer = ask(tomcat, "GET", tomcat.protected)
    assert answer.status == 200
    assert "j_password" in answer.body
    assert ";jsessionid=" in answer.body
    assert "JSESSIONID" in answer.cookies


@tomcat_is_there
def test_tomcat_refuses_a_password_without_its_page_before_it(tomcat: LegacyApplication) -> None:
    answer = ask(tomcat, "POST", CHECK, form={"j_username": tomcat.user, "j_password": tomcat.password})
    assert answer.status == 408


@tomcat_is_there
def test_tomcat_answers_a_wrong_password_with_200(tomcat: LegacyApplication) -> None:
    page = ask(tomcat, "GET", tomcat.protected)
    # Another name than the one that signs in: Tomcat's LockOutRealm counts per user.
    answer = ask(tomcat, "POST", CHECK, page.cookies, {"j_username": "nobody", "j_password": "wrong"})
    assert answer.status == 200
    assert tomcat.greeting not in answer.body


@tomcat_is_there
def test_tomcat_renames_the_session_at_sign_in(tomcat: LegacyApplication) -> None:
    page = ask(tomcat, "GET", tomcat.protected)
    answer = ask(tomcat, "POST", CHECK, page.cookies, {"j_username": tomcat.user, "j_password": tomcat.password})
    assert answer.status in (302, 303)
    renamed = page.cookies | answer.cookies
    assert renamed["JSESSIONID"] != page.cookies["JSESSIONID"]
    assert tomcat.greeting in ask(tomcat, "GET", tomcat.protected, renamed).body
    assert "j_password" in ask(tomcat, "GET", tomcat.protected, page.cookies).body


def django_login(application: LegacyApplication, password: str, **headers: str) -> tuple[Answer, Answer]:
    page = ask(application, "GET", "/admin/login/?next=/admin/", headers=headers)
    form = {
        "csrfmiddlewaretoken": hidden(page.body, "csrfmiddlewaretoken"),
        "username": application.user,
        "password": password,
        "next": "/admin/",
    }
    return page, ask(application, "POST", "/admin/login/?next=/admin/", page.cookies, form, headers)


def test_django_wants_the_token_of_its_own_page(django_admin: LegacyApplication) -> None:
    form = {"username": django_admin.user, "password": django_admin.password}
    assert ask(django_admin, "POST", "/admin/login/", form=form).status == 403


def test_django_answers_a_wrong_password_with_200(django_admin: LegacyApplication) -> None:
    _, answer = django_login(django_admin, "wrong")
    assert answer.status == 200
    assert "sessionid" not in answer.cookies


def test_django_opens_a_session_for_the_right_password(django_admin: LegacyApplication) -> None:
    page, answer = django_login(django_admin, django_admin.password)
    assert answer.status == 302
    cookies = page.cookies | answer.cookies
    assert django_admin.greeting in ask(django_admin, "GET", django_admin.protected, cookies).body


def test_django_behind_a_tls_front_refuses_a_browsers_origin(django_admin: LegacyApplication) -> None:
    seen = {"Host": "cert.bank.localhost:8443", "Origin": "https://cert.bank.localhost:8443"}
    _, answer = django_login(django_admin, django_admin.password, **seen)
    assert answer.status == 403
    seen["Origin"] = "http://cert.bank.localhost:8443"
    _, answer = django_login(django_admin, django_admin.password, **seen)
    assert answer.status == 302


def test_django_serves_the_style_sheets_of_its_pages(django_admin: LegacyApplication) -> None:
    assert ask(django_admin, "GET", "/static/admin/css/base.css").status == 200


@tomcat_is_there
def test_the_settings_for_each_are_a_valid_configuration(
    tomcat: LegacyApplication, django_admin: LegacyApplication
) -> None:
    for application in (tomcat, django_admin):
        assert Legacy.model_validate(application.legacy).backends == (application.base,)
