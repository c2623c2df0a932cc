"""Applications nobody here wrote, unchanged, behind the whole gateway: one adapter, settings only."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from mtls_gateway.demo.client import Answer, Browser
from tests.promises.legacy_apps.application import LegacyApplication
from tests.promises.legacy_apps.gateway import CERTIFICATE, PUBLIC, FrontedApplication, fronted

APPLICATIONS = [
    pytest.param("tomcat", marks=pytest.mark.needs("tomcat10", "tomcat10-examples")),
    "django_admin",
]
tomcat_only = pytest.mark.parametrize("front", APPLICATIONS[:1], indirect=True, scope="module")
django_only = pytest.mark.parametrize("front", APPLICATIONS[1:], indirect=True, scope="module")
both = pytest.mark.parametrize("front", APPLICATIONS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontedApplication]:
    application: LegacyApplication = request.getfixturevalue(request.param)
    with fronted(application, tmp_path_factory.mktemp("gateway")) as running:
        yield running


def sign_in(front: FrontedApplication, browser: Browser, password: str) -> Answer:
    page = browser.get(CERTIFICATE, "/")
    answer = browser.submit(page, page.form("password"), password=password)
    if any(form.action.endswith("/takeover") for form in answer.forms()):
        answer = browser.submit(answer, answer.form_to("/takeover"))
    return answer


def ask_directly(application: LegacyApplication, cookie: str) -> str:
    """The protected page, asked of the application itself with a legacy session's cookie."""
    parts = urlsplit(application.base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        headers = {"Cookie": cookie, "Host": f"{CERTIFICATE}"}
        connection.request("GET", application.protected, headers=headers)
        return connection.getresponse().read().decode("utf-8", "replace")
    finally:
        connection.close()


def legacy_cookie(front: FrontedApplication, browser: Browser) -> str:
    """The legacy session's cookie as the application knows it: without the gateway's seal."""
    name = front.application.legacy["session_cookies"][0]
    return f"{name}={browser.cookies[CERTIFICATE][name].rpartition('.')[0]}"


@both
def test_the_right_password_leads_to_the_protected_page(front: FrontedApplication) -> None:
    browser = front.browser()
    answer = sign_in(front, browser, front.application.password)
    assert answer.status == 200
    assert urlsplit(answer.url).path == front.application.legacy["home"]
    assert front.application.greeting in answer.text


@both
def test_a_wrong_password_stays_at_the_gateways_page(front: FrontedApplication) -> None:
    browser = front.browser()
    answer = sign_in(front, browser, "wrong")
    assert answer.form("password")
    assert front.application.greeting not in answer.text
    assert not set(front.application.legacy["session_cookies"]) & set(browser.cookies[CERTIFICATE])


@both
def test_without_a_certificate_or_session_the_applications_login_is_never_seen(front: FrontedApplication) -> None:
    field = front.application.legacy["login"]["password_field"]
    paths = [front.application.protected, front.application.legacy["login"]["page"], "/"]
    for host in (PUBLIC, CERTIFICATE):
        for path in paths:
            answer = front.browser(with_certificate=False).get(host, path)
            assert f'name="{field}"' not in answer.text, (host, path)


@both
def test_signing_out_ends_the_applications_session(front: FrontedApplication) -> None:
    browser = front.browser()
    sign_in(front, browser, front.application.password)
    cookie = legacy_cookie(front, browser)
    assert front.application.greeting in ask_directly(front.application, cookie)
    page = browser.get(CERTIFICATE, "/gateway/sign-out")
    browser.submit(page, page.form_to("/sign-out"))
    assert front.application.greeting not in ask_directly(front.application, cookie)
    assert browser.get(CERTIFICATE, front.application.protected).form("password")


@both
def test_the_gateway_carries_on_with_what_the_application_sets_later(front: FrontedApplication) -> None:
    browser = front.browser()
    sign_in(front, browser, front.application.password)
    for _ in range(3):
        assert front.application.greeting in browser.get(CERTIFICATE, front.application.protected).text


@django_only
def test_a_browsers_post_passes_djangos_origin_check(front: FrontedApplication) -> None:
    browser = front.browser()
    sign_in(front, browser, front.application.password)
    page = browser.get(CERTIFICATE, "/admin/auth/group/add/")
    form = next(form for form in page.forms() if "name" in form.fields)
    answer = browser.submit(page, form, text="経理部")
    assert answer.status == 200
    assert urlsplit(answer.url).path == "/admin/auth/group/"
    assert "経理部" in answer.text


@django_only
def test_djangos_own_sign_out_ends_the_gateways_session(front: FrontedApplication) -> None:
    browser = front.browser()
    page = sign_in(front, browser, front.application.password)
    cookie = legacy_cookie(front, browser)
    browser.submit(page, page.form_to("/logout/"))
    assert front.application.greeting not in ask_directly(front.application, cookie)
    assert browser.get(CERTIFICATE, front.application.protected).form("password")


@django_only
def test_djangos_style_sheets_need_no_session(front: FrontedApplication) -> None:
    assert front.browser(with_certificate=False).get(PUBLIC, "/static/admin/css/base.css").status == 200


@tomcat_only
def test_tomcats_login_servlet_is_guarded_in_every_folder(front: FrontedApplication) -> None:
    browser = front.browser()
    sign_in(front, browser, front.application.password)
    for path in ("/examples/jsp/security/protected/j_security_check", "/examples/j_security_check;jsessionid=1"):
        answer = browser.get(CERTIFICATE, f"{path}?j_username=x&j_password=y", follow=False)
        assert answer.status == 403, path
