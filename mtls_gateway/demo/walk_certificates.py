"""The walk's pages of certificates: one's own, what is refused after a reissue, and an administrator's members."""

from __future__ import annotations

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import WRONG, Visit, place, within_a_second
from mtls_gateway.model import Code

_STATUS = "/gateway/status"
_MEMBERS = "/gateway/members"
_FORM = {"Content-Type": "multipart/form-data; boundary=b"}
_FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="t"\r\n\r\n1\r\n--b--\r\n'


def the_page_of_a_certificate(visit: Visit) -> None:
    """Clauses D.4 and D.5, and how customers find it."""
    page = visit.browser().get(PUBLIC_HOST, "/")
    visit.expect("the sign-in page leads to it", True, f"{CERTIFICATE_HOST}:" in page.text and _STATUS in page.text)
    visit.expect("without a session", "password page", place(visit.browser("newer").get(CERTIFICATE_HOST, _STATUS)))
    page = visit.signed_in("newer").get(CERTIFICATE_HOST, _STATUS)
    visit.expect("signed in", "until when it is good", "until when it is good" if "有効期限" in page.text else "")
    visit.expect("a member's leads to no members", False, f'href="{_MEMBERS}"' in page.text)
    notice = visit.sign_in(visit.browser("ending"), "yamada15")
    visit.expect("a certificate that ends soon: its notice", True, "まもなく有効期限" in notice.text)


def cooling_off_after_a_reissue(visit: Visit) -> None:
    """Clause D.6."""
    browser = visit.signed_in("reissued")
    page = browser.get(CERTIFICATE_HOST, "/transfer")
    visit.expect("the page of a transfer", 200, page.status)
    url = browser.url(CERTIFICATE_HOST, "/transfer")
    refused = browser.request("POST", url, _FILE, _FORM, False)
    visit.expect("the transfer itself", Code.COOLING_OFF.value, place(refused))
    visit.expect("and from when on it is open", True, "からご利用いただけます" in refused.text)
    other = browser.request("POST", browser.url(CERTIFICATE_HOST, "/TRANSFER/;x/"), _FILE, _FORM, False)
    visit.expect("the transfer in another spelling", Code.COOLING_OFF.value, place(other))
    passed = visit.signed_in("newer").request("POST", url, _FILE, _FORM, False)
    visit.expect("the same for somebody else", True, "受け付けました" in passed.text)


def an_administrator_revokes_a_members_certificate(visit: Visit) -> None:
    """Clause D.6: on the page of its own members, with its own password once more."""
    member = visit.signed_in("revoked-by-administrator")
    administrator = visit.signed_in("good")
    page = administrator.get(CERTIFICATE_HOST, _MEMBERS)
    visit.expect("the list has the company's users", True, "yamada14" in page.text and "tanaka01" not in page.text)
    page = member.get(CERTIFICATE_HOST, _MEMBERS)
    visit.expect("a member has no such list", 404, page.status)
    question = f"{_MEMBERS}/confirm?user=%s&deed=revoke&cause=lost"
    page = administrator.get(CERTIFICATE_HOST, question % "tanaka01")
    visit.expect("another company's user", 404, page.status)
    page = administrator.get(CERTIFICATE_HOST, question % "yamada14")
    form = page.form_to("/members/confirm")
    wrong = administrator.submit(page, form, password=WRONG)
    visit.expect("with a wrong password", "password page", place(wrong))
    visit.expect("the member's session goes on", "home of yamada14", place(member.get(CERTIFICATE_HOST, "/home")))
    done = administrator.submit(page, form, password=cast.user("yamada01").password)
    visit.expect("with the administrator's own", True, "失効させました" in done.text)
    code = Code.CERTIFICATE_REVOKED.value
    then = within_a_second(lambda: place(member.get(CERTIFICATE_HOST, "/home")), code)
    visit.expect("the member, within a second", code, then)
