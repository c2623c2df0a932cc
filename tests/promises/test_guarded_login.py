r"""Nobody reaches the legacy backend's own login, on either host, by whatever way its path can be written (clause A.4).

Whoever has a good certificate and a session of its own, and knows another user's ID and password, would otherwise
become that user. The bank counts its sign-ins: that figure, and not an answer's status, is what the tests go by.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.visit import place
from mtls_gateway.model import Code
from tests.promises.tls_line import Answer, Line, client_context
from tests.promises.whole_gateway import WholeGateway

VICTIM = cast.user("yamada02")

SPELLINGS = [
    "/login",
    "/login/",
    "/login//",
    "//login",
    "///login",
    "/./login",
    "/a/../login",
    "/a/b/../../login",
    "/../login",
    "/login/.",
    "/login/x/..",
    "/%6cogin",
    "/%6Cogin",
    "/%6c%6f%67%69%6e",
    "/%256cogin",
    "/%25256cogin",
    "/%2e/login",
    "/%2E/login",
    "/a/%2e%2e/login",
    "/a/.%2e/login",
    "/%2flogin",
    "/a%2f..%2flogin",
    "/..%2flogin",
    "/%5clogin",
    "/%5Clogin",
    "/\\login",
    "/login\\",
    "\\login",
    "/login%5c",
    "/login;",
    "/login;a=b",
    "/login;jsessionid=0123456789",
    "/;/login",
    "/a;/../login",
    "/..;/login",
    "/;a/login",
    "/login%3b",
    "/login%3ba",
    "/LOGIN",
    "/Login",
    "/loGin",
    "/login?",
    "/login?next=/home",
    "/login%3f",
    "/login%23",
    "/login#",
    "/login%00",
    "/login%20",
    "/login.",
    "/login%2e",
    "/login::$DATA",
    "/login%09",
    "/login%0a",
    "/%0a/login",
    "/login%0d%0a",
    "/%ef%bd%8cogin",
    "/%ef%bd%8c%ef%bd%8f%ef%bd%87%ef%bd%89%ef%bd%8e",
    "/%ef%bc%8flogin",
    "/%c0%aflogin",
    "/%u006cogin",
    "/%u006c%u006f%u0067%u0069%u006e",
    "/log%C2%ADin",
    "/log%e2%80%8bin",
    "/log%C4%B0n",
    "/log%C4%B1n",
    "/%e2%85%bcogin",
    "/%c2%a5login",
    "http://{host}/login",
    "https://{host}/login",
    "//{host}/login",
    "/static/../login",
    "/static/%2e%2e/login",
    "/static/..;/login",
    "/static/..%2flogin",
    "/static/x/..\\..\\login",
    "/gateway/../login",
    "/gateway/%2e%2e/login",
    "/gateway/..%2flogin",
    "/gateway/;/../login",
    "*",
    "login",
]
METHODS = ["POST", "PUT", "PATCH"]


def attack(line: Line, browser: Browser, host: str, spelling: str, method: str, token: str) -> str:
    body = urlencode({"token": token, "loginId": VICTIM.user_id, "password": VICTIM.password}).encode()
    headers = {
        "Cookie": browser.cookie_header(host),
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"https://{line.host}",
    }
    answer = line.ask(spelling.format(host=line.host), method=method, headers=headers, body=body)
    return answer.text


@pytest.fixture(scope="module")
def attackers(gateway: WholeGateway) -> Iterator[dict[str, tuple[str, Browser]]]:
    """Where they are, and their browsers, each signed in as somebody else than the victim."""
    by_password = gateway.browser()
    answer = gateway.visit.sign_in_by_password(by_password, "tanaka02")
    assert place(answer) == "home of tanaka02"
    yield {
        "the public host": (PUBLIC_HOST, gateway.browser()),
        "the public host, signed in": (PUBLIC_HOST, by_password),
        "the certificate host, without a certificate": (CERTIFICATE_HOST, gateway.browser()),
        "the certificate host, with a certificate": (CERTIFICATE_HOST, gateway.browser(gateway.newcomer())),
        "the certificate host, signed in": (CERTIFICATE_HOST, gateway.signed_in(gateway.newcomer())),
    }


PLACES = [
    "the public host",
    "the public host, signed in",
    "the certificate host, without a certificate",
    "the certificate host, with a certificate",
    "the certificate host, signed in",
]


@pytest.mark.parametrize("where", PLACES)
def test_no_spelling_lets_another_users_password_through(
    gateway: WholeGateway, attackers: dict[str, tuple[str, Browser]], where: str
) -> None:
    host, browser = attackers[where]
    before = gateway.visit.bank("sign_ins")
    for spelling in SPELLINGS:
        for method in METHODS:
            with Line(gateway, host, browser.context) as line:
                text = attack(line, browser, host, spelling, method, "guess")
            assert 'name="loginId"' not in text, f"{method} {spelling} reached the form"
            assert VICTIM.user_id not in text, f"{method} {spelling}"
    assert gateway.visit.bank("sign_ins") == before


def test_every_spelling_is_stopped_at_the_gateway(
    gateway: WholeGateway, attackers: dict[str, tuple[str, Browser]]
) -> None:
    """Also those that this bank does not understand: another would."""
    host, browser = attackers["the certificate host, signed in"]
    passed = []
    for spelling in SPELLINGS:
        with Line(gateway, host, browser.context) as line:
            answer = line.ask(spelling.format(host=line.host), headers={"Cookie": browser.cookie_header(host)})
        if answer.status != 400 and Code.LEGACY_LOGIN_GUARDED.value not in answer.text:
            passed.append(spelling)
    # Two slashes begin a path here, and nothing else; then this one is of another folder.
    assert passed == ["//{host}/login"]


@pytest.mark.parametrize("where", PLACES)
def test_no_spelling_shows_the_form(
    gateway: WholeGateway, attackers: dict[str, tuple[str, Browser]], where: str
) -> None:
    host, browser = attackers[where]
    for spelling in SPELLINGS:
        for method in ("GET", "HEAD", "OPTIONS"):
            with Line(gateway, host, browser.context) as line:
                headers = {"Cookie": browser.cookie_header(host)}
                answer = line.ask(spelling.format(host=line.host), method=method, headers=headers)
            assert 'name="loginId"' not in answer.text, f"{method} {spelling} reached the form"
            assert "Set-Cookie" not in answer.headers or "ibsession" not in answer.headers["Set-Cookie"], spelling


def test_a_form_that_the_bank_really_handed_out_is_of_no_use(
    gateway: WholeGateway, attackers: dict[str, tuple[str, Browser]]
) -> None:
    """The attacker has its token and cookie from the bank itself: asked directly, they do sign the victim in."""
    host, browser = attackers["the certificate host, signed in"]
    direct = http.client.HTTPConnection("127.0.0.1", gateway.ports.bank, timeout=10)
    direct.request("GET", "/login")
    page = direct.getresponse()
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    token = page.read().decode().partition('name="token" value="')[2].partition('"')[0]
    assert token
    before = gateway.visit.bank("sign_ins")
    for spelling in SPELLINGS:
        with Line(gateway, host, browser.context) as line:
            assert VICTIM.user_id not in attack(line, browser, host, spelling, "POST", token)
    assert gateway.visit.bank("sign_ins") == before
    form = urlencode({"token": token, "loginId": VICTIM.user_id, "password": VICTIM.password})
    direct.request("POST", "/login", form, {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"})
    assert direct.getresponse().status == 302
    direct.close()
    assert gateway.visit.bank("sign_ins") == before + 1


def test_the_refusal_of_the_plain_url_has_its_page_and_other_pages_go_on(
    gateway: WholeGateway, attackers: dict[str, tuple[str, Browser]]
) -> None:
    host, browser = attackers["the certificate host, signed in"]
    assert Code.LEGACY_LOGIN_GUARDED.value in browser.get(host, "/login").text
    assert place(browser.get(host, "/home")).startswith("home of")


def test_a_public_path_carries_no_session_to_the_bank(gateway: WholeGateway) -> None:
    with Line(gateway, PUBLIC_HOST, client_context(gateway)) as line:
        assert line.ask("/static/bank.css").status == 200
        for spelling in ("/static/../home", "/static/%2e%2e/home", "/static/..%2fhome", "/static/;/../home"):
            with Line(gateway, PUBLIC_HOST, client_context(gateway)) as other:
                assert "ようこそ" not in other.ask(spelling).text


# --- a front controller, which takes the login by a parameter -------------------------------------


#: Queries that the odd backend, or another, takes for its login; the credentials come as a form.
QUERIES = [
    "EventID=Login",
    "eventid=login",
    "a=b&EventID=Login",
    "a=b;EventID=Login",
    "EventID=Balance&EventID=Login",
    "EventID=Login&x=y",
    "%45ventID=Login",
    "%2545ventID=Login",
    "EventID%3dLogin",
    "EventID=%4cogin",
    "EventID=%254cogin",
    "a=b%26EventID=Login",
    "+EventID=+Login",
    "%20EventID=Login",
    "EventID[]=Login",
    "EventID%00=Login",
    "%u0045ventID=Login",
    "userid={user}",
    "USERID={user}&password={password}",
    "%75serid={user}",
]
#: Forms that are its login by a field.
FORMS = [
    "userid={user}&password={password}",
    "password={password}&userid={user}",
    "a=b;userid={user};password={password}",
    "%75serid={user}&password={password}",
    "%2575serid={user}&password={password}",
    "UserID={user}&password={password}",
    "+userid={user}&password={password}",
    "userid%3d{user}&password={password}",
    "a=b%26userid={user}&password={password}",
    "EventID=Balance&userid={user}&password={password}",
]
URLENCODED = "application/x-www-form-urlencoded"
#: What a form may not be sent as where it has to be read.
UNREADABLE = [
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/json",
    f"{URLENCODED}; charset=utf-16",
    f"{URLENCODED}, text/plain",
    "",
]


@pytest.fixture(scope="module")
def insider(odd: WholeGateway) -> Browser:
    """Signed in as somebody else than the victim."""
    return odd.signed_in(odd.newcomer())


@pytest.fixture(scope="module")
def target_of_it(odd: WholeGateway) -> dict[str, str]:
    """The victim's ID and password."""
    victim = odd.newcomer()
    return {"user": victim.user_id, "password": victim.password}


def sign_ins(odd: WholeGateway) -> int:
    return odd.visit.bank("sign_ins")


def send(odd: WholeGateway, browser: Browser, target: str, form: str, media: str = URLENCODED) -> Answer:
    with Line(odd, CERTIFICATE_HOST, browser.context) as line:
        headers = {"Cookie": browser.cookie_header(CERTIFICATE_HOST), "Origin": f"https://{line.host}"}
        if media:
            headers["Content-Type"] = media
        return line.ask(target, method="POST", headers=headers, body=form.encode())


def test_no_query_that_is_the_login_reaches_the_controller(
    odd: WholeGateway, insider: Browser, target_of_it: dict[str, str]
) -> None:
    before = sign_ins(odd)
    for query in QUERIES:
        target = "/ib?" + query.format(**target_of_it)
        for form in ("", urlencode({"loginId": target_of_it["user"], "password": target_of_it["password"]})):
            answer = send(odd, insider, target, form)
            assert answer.status == 403, target
            assert Code.LEGACY_LOGIN_GUARDED.value in answer.text
            assert "Set-Cookie" not in answer.headers
        with Line(odd, CERTIFICATE_HOST, insider.context) as line:
            assert line.as_browser(insider, CERTIFICATE_HOST, target).status == 403, target
    assert sign_ins(odd) == before


def test_no_form_that_is_the_login_reaches_the_controller(
    odd: WholeGateway, insider: Browser, target_of_it: dict[str, str]
) -> None:
    before = sign_ins(odd)
    for form in FORMS:
        for target in ("/ib", "/ib?EventID=Balance", "/IB", "/ib;x=y", "/%69b"):
            answer = send(odd, insider, target, form.format(**target_of_it))
            assert answer.status == 403, (target, form)
            assert Code.LEGACY_LOGIN_GUARDED.value in answer.text
        for media in UNREADABLE:
            assert send(odd, insider, "/ib", form.format(**target_of_it), media).status == 415, (media, form)
    assert sign_ins(odd) == before


def test_the_same_sent_to_the_backend_itself_does_sign_the_victim_in(
    odd: WholeGateway, target_of_it: dict[str, str]
) -> None:
    """Or else the tests above would say nothing."""
    before = sign_ins(odd)
    direct = http.client.HTTPConnection("127.0.0.1", odd.ports.bank, timeout=10)
    form = urlencode({"loginId": target_of_it["user"], "password": target_of_it["password"]})
    entered = 0
    for target, body in [("/ib?" + query, form) for query in QUERIES] + [("/ib", form) for form in FORMS]:
        direct.request("POST", target.format(**target_of_it), body.format(**target_of_it), {"Content-Type": URLENCODED})
        entered += "ようこそ" in direct.getresponse().read().decode()
    direct.close()
    assert sign_ins(odd) == before + entered
    assert entered > 20


def test_everything_else_of_the_controller_goes_on(odd: WholeGateway, insider: Browser) -> None:
    balance = insider.get(CERTIFICATE_HOST, "/ib?EventID=Balance&account=1234567")
    assert balance.text.startswith("event balance of person")
    form = urlencode({"EventID": "Transfer", "to": "振込先 100%", "memo": "my userid & password"})
    answer = send(odd, insider, "/ib", form)
    assert answer.text.startswith("event transfer of person")
    assert answer.text.endswith(f" {len(form)} octets")
    assert send(odd, insider, "/ib?EventID=Transfer", "a=b", f"{URLENCODED}; charset=Shift_JIS").status == 200
    # Where nobody looks at forms, everything may be sent.
    assert send(odd, insider, "/echo", "userid=x", "multipart/form-data; boundary=x").status == 200


def test_a_form_too_long_to_be_read_is_refused(odd: WholeGateway, insider: Browser) -> None:
    before = odd.metric("mtls_gateway_limit_refusals_total", limit="guarded_body_octets")
    assert send(odd, insider, "/ib", "a=" + "b" * 70_000).status == 413
    assert odd.metric_reaches(before + 1, "mtls_gateway_limit_refusals_total", limit="guarded_body_octets")
