"""The walk's sign-ins: each certificate, each method, and what ends a session."""

from __future__ import annotations

import re
from typing import Final

from mtls_gateway.demo import cast
from mtls_gateway.demo.bank import SESSION_COOKIE, THEME_COOKIE
from mtls_gateway.demo.bank_pages import balance_rows, statements_csv
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Answer
from mtls_gateway.demo.visit import CHOICES, WRONG, Visit, place, within_a_second
from mtls_gateway.model import Code


def the_sign_in_page(visit: Visit) -> None:
    """Clause A.1."""
    page = visit.browser().get(PUBLIC_HOST, "/")
    visit.expect(
        "the public host shows the sign-in page", "200 sign-in page with 3 choices", f"{page.status} {_choices(page)}"
    )
    page = visit.browser().get(PUBLIC_HOST, "/balance")
    visit.expect("a page of the bank without a session", "sign-in page with 3 choices", _choices(page))


def _choices(page: Answer) -> str:
    return f"sign-in page with {sum(choice in page.text for choice in CHOICES)} choices"


def each_refusal(visit: Visit) -> None:
    """Clause A.2."""
    answer = visit.browser().get(CERTIFICATE_HOST, "/")
    visit.expect("no certificate", Code.CERTIFICATE_MISSING.value, place(answer))
    for certificate in cast.CERTIFICATES:
        if certificate.code is not None:
            with visit.report.guarded(f"certificate {certificate.name}"):
                answer = visit.browser(certificate.name).get(CERTIFICATE_HOST, "/")
                visit.expect(f"certificate that {certificate.says}", certificate.code.value, place(answer))


def the_certificate_method(visit: Visit) -> None:
    """Clause A.3, and what becomes of the legacy session's cookies."""
    browser = visit.browser("good")
    visit.expect("good certificate, no session", "password page", place(browser.get(CERTIFICATE_HOST, "/")))
    visit.expect("good certificate, wrong password", "password page", place(visit.sign_in(browser, "yamada01", WRONG)))
    visit.expect("good certificate, right password", "home of yamada01", place(visit.sign_in(browser, "yamada01")))
    for name in ("newer", "migrating-company"):
        user_id = cast.certificate(name).user_id
        visit.expect(f"certificate {name}", f"home of {user_id}", place(visit.sign_in(visit.browser(name), user_id)))
    balance = browser.get(CERTIFICATE_HOST, "/balance")
    visit.expect("a page in chunks", len("".join(balance_rows()).encode()), len(balance.body))
    csv = browser.get(CERTIFICATE_HOST, "/statements.csv")
    visit.expect("a CSV download", len(statements_csv().encode("utf-8-sig")), len(csv.body))
    redirect = browser.get(CERTIFICATE_HOST, "/", follow=False)
    visit.expect("an absolute redirect of the bank", browser.url(CERTIFICATE_HOST, "/home"), redirect.location)
    values = browser.cookies[CERTIFICATE_HOST]
    visit.expect(
        "the bank's session cookie is sealed", False, bool(re.fullmatch("[0-9A-F]{32}", values[SESSION_COOKIE]))
    )
    unsealed = visit.browser("good")
    unsealed.cookies[CERTIFICATE_HOST] = values | {SESSION_COOKIE: values[SESSION_COOKIE][:32]}
    stripped = place(unsealed.get(CERTIFICATE_HOST, "/home"))
    visit.expect("without its seal it opens nothing", False, stripped.startswith("home"))
    visit.expect("the cookie that the bank's scripts read", "standard", values.get(THEME_COOKIE))
    for name, attributes in browser.attributes[CERTIFICATE_HOST].items():
        wanted = {"secure"} if name == THEME_COOKIE else {"secure", "httponly"}
        visit.expect(f"cookie {name} is hardened", sorted(wanted), sorted(wanted & attributes))


def the_session_is_bound(visit: Visit) -> None:
    """Clause A.6."""
    browser = visit.signed_in("good")
    other = browser.with_certificate(visit.material.certificates.user("good-second-user"))
    answer = other.get(CERTIFICATE_HOST, "/home")
    visit.expect("the session's cookie with another certificate", Code.SESSION_OTHER_CERTIFICATE.value, place(answer))
    without = browser.with_certificate(None)
    answer = without.get(CERTIFICATE_HOST, "/home")
    visit.expect("the session's cookie with no certificate", Code.CERTIFICATE_MISSING.value, place(answer))
    stolen = visit.browser()
    stolen.cookies[PUBLIC_HOST] = dict(browser.cookies[CERTIFICATE_HOST])
    answer = stolen.get(PUBLIC_HOST, "/home")
    visit.expect("the session's cookie at the public host", False, place(answer).startswith("home"))
    visit.expect("the session itself lives on", "home of yamada01", place(browser.get(CERTIFICATE_HOST, "/home")))


#: The bank's login address, as somebody writes it who wants past the gateway.
_LOGIN_SPELLINGS: Final = (
    "/login",
    "/login/",
    "//login",
    "/./login",
    "/x/../login",
    "/%6cogin",
    "/%256cogin",
    "/login;jsessionid=1",
    "/%2e/login",
    "/..%2flogin",
    "/\\login",
    "/login?next=/home",
    "/LOGIN",
)


def the_legacy_login_is_guarded(visit: Visit) -> None:
    """Clause A.4: every spelling, on both hosts, with and without a session."""
    browsers = [
        ("public host", PUBLIC_HOST, visit.browser()),
        ("certificate host", CERTIFICATE_HOST, visit.browser("good-second-user")),
        ("certificate host, signed in", CERTIFICATE_HOST, visit.signed_in("good")),
    ]
    before = visit.bank("sign_ins")
    body = f"loginId=yamada02&password={cast.user('yamada02').password}".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for name, host, browser in browsers:
        reached = []
        for spelling in _LOGIN_SPELLINGS:
            for method, content, headers in (("GET", None, {}), ("POST", body, form)):
                connection = browser.connect(host)
                try:
                    answer = browser.exchange(connection, method, spelling, content, headers)
                finally:
                    connection.close()
                if 'name="loginId"' in answer.text:
                    reached.append(f"{method} {spelling}")
        visit.expect(f"{name}: spellings that reach the bank's login", [], reached)
    visit.expect("sign-ins that the bank has seen of it", 0, visit.bank("sign_ins") - before)


def the_password_method(visit: Visit) -> None:
    """Clauses A.4 and A.5."""
    browser = visit.browser()
    answer = visit.sign_in_by_password(browser, "tanaka02")
    visit.expect("ID + password, company on the password method", "home of tanaka02", place(answer))
    balance = browser.get(PUBLIC_HOST, "/balance")
    visit.expect("the password method's session goes on", "1234567", "".join(re.findall("1234567", balance.text)))
    answer = visit.sign_in_by_password(visit.browser(), "sato02")
    visit.expect("ID + password, migrating, not switched yet", "home of sato02", place(answer))
    refused = Code.COMPANY_ON_CERTIFICATE_METHOD.value
    answer = visit.sign_in_by_password(visit.browser(), "sato01")
    visit.expect("ID + password, migrating, has a certificate", refused, place(answer))
    answer = visit.sign_in_by_password(visit.browser(), "yamada01")
    visit.expect("ID + password, company on the certificate method", refused, place(answer))
    wrong = visit.sign_in_by_password(visit.browser(), "tanaka02", WRONG)
    visit.expect("ID + wrong password", "page for ID and password", place(wrong))
    unknown = visit.sign_in_by_password(visit.browser(), "nobody", WRONG)
    visit.expect("an unknown ID is answered as a wrong password is", True, _sayings(wrong) == _sayings(unknown))


def _sayings(page: Answer) -> str:
    """What a page says, without the values of its fields."""
    text = re.sub(r"<(style|script|head).*?</\1>|<[^>]*>", " ", page.text, flags=re.S)
    return " ".join(text.split())


def wrong_passwords_lock_out(visit: Visit) -> None:
    """Clause A.7."""
    browser = visit.browser("good-second-user")
    reached = [place(visit.sign_in(browser, "yamada02", WRONG)) for _ in range(5)]
    visit.expect("wrong passwords in a row before the suspension", 4, reached.count("password page"))
    visit.expect("the fifth wrong password", Code.USER_SUSPENDED.value, reached[-1])
    then = within_a_second(lambda: place(browser.get(CERTIFICATE_HOST, "/")), Code.USER_SUSPENDED.value)
    visit.expect("and then, within a second", Code.USER_SUSPENDED.value, then)


def one_session_per_user(visit: Visit) -> None:
    """Clause A.6: a second PC takes the session over, knowingly."""
    first = visit.signed_in("good")
    second = visit.browser("good")
    answer = visit.sign_in(second, "yamada01")
    visit.expect("signing in while signed in elsewhere", "takeover page", place(answer))
    answer = second.submit(answer, answer.form_to("/takeover"))
    visit.expect("having taken over", "home of yamada01", place(answer))
    then = within_a_second(lambda: place(first.get(CERTIFICATE_HOST, "/home")), "password page")
    visit.expect("the session that was taken over, within a second", "password page", then)


def sign_out_ends_both_sessions(visit: Visit) -> None:
    """Clause A.6."""
    browser = visit.signed_in("good")
    before = visit.bank("sign_outs")
    page = browser.get(CERTIFICATE_HOST, "/gateway/sign-out")
    browser.submit(page, page.form_to("/sign-out"))
    visit.expect("sign-out: legacy sessions that it ended", 1, visit.bank("sign_outs") - before)
    visit.expect("after sign-out", "password page", place(browser.get(CERTIFICATE_HOST, "/home")))
    browser = visit.signed_in("good")
    browser.get(CERTIFICATE_HOST, "/logout")
    visit.expect("the bank's own sign-out ends it too", "password page", place(browser.get(CERTIFICATE_HOST, "/home")))
