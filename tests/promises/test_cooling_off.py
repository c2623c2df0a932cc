"""After a reissue money does not move before the next business day begins; everything else goes on (clause D.6)."""

from __future__ import annotations

import http.client
import time
from urllib.parse import quote

import pytest
from sqlalchemy import update

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.visit import place
from mtls_gateway.model import ChangeKind, Code
from mtls_gateway.store.changes import publish
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import users
from tests.promises.whole_gateway import Person, WholeGateway, eventually

BOUNDARY = b"----promise"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
DAY = 86_400.0


def cool_off(gateway: WholeGateway, person: Person, until: float | None) -> None:
    """What is written when a reissued certificate is stored."""

    async def write(store: Store) -> None:
        async with store._database.writing("cool off") as connection:
            await connection.execute(update(users).where(users.c.id == person.user_id).values(cooling_off_until=until))
            await publish(connection, time.time(), [(ChangeKind.USER, person.user_id)])

    gateway.store(write)


def upload(browser: Browser, path: str = "/transfer", octets: int = 1_000, method: str = "POST") -> Answer:
    body = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="t"\r\n\r\n%b\r\n--%b--\r\n' % (
        BOUNDARY,
        b"1" * octets,
        BOUNDARY,
    )
    return browser.request(method, browser.url(CERTIFICATE_HOST, path), body, HEADERS, False)


def received(answer: Answer) -> bool:
    """The bank has read the file, and says what it was."""
    return 'id="sha256"' in answer.text


def test_a_transfer_is_refused_and_the_rest_goes_on(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    assert received(upload(browser))
    cool_off(gateway, person, time.time() + DAY)
    # On every worker, within a second.
    assert eventually(lambda: all(place(upload(browser)) == Code.COOLING_OFF.value for _ in range(8)), 1.0)
    refused = upload(browser, octets=60_000)
    assert (refused.status, place(refused)) == (403, Code.COOLING_OFF.value)
    for path in ("/transfer", "/balance", "/home"):
        assert browser.get(CERTIFICATE_HOST, path).status == 200
    assert gateway.metric_reaches(1, "mtls_gateway_admissions_total", verdict=Code.COOLING_OFF.value)


def test_a_script_is_answered_with_the_built_in_403(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    cool_off(gateway, person, time.time() + DAY)
    browser = gateway.signed_in(person)
    json = {"Accept": "application/json", "Content-Type": "application/json"}

    answer = browser.request("POST", browser.url(CERTIFICATE_HOST, "/transfer"), b"{}", json, False)
    assert (answer.status, Code.COOLING_OFF.value in answer.text) == (403, False)


def test_nobody_elses_transfers_are_held_up(gateway: WholeGateway) -> None:
    person, other = gateway.newcomer(), gateway.newcomer()
    cool_off(gateway, person, time.time() + DAY)
    assert received(upload(gateway.signed_in(other)))


@pytest.mark.parametrize(
    "path",
    ["/transfer/", "/TRANSFER", "//transfer", "/transfer;x=1", "/%74ransfer", "/%2574ransfer", "/transfer%2f",
     "/x/../transfer", "/./transfer", quote("/ｔｒａｎｓｆｅｒ"), "/transfer?x=/balance"],
)  # fmt: skip
def test_no_spelling_gets_a_transfer_through(path: str, gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    cool_off(gateway, person, time.time() + DAY)
    browser = gateway.signed_in(person)
    for method in ("POST", "post"):
        try:
            answer = upload(browser, path, method=method)
        except (http.client.HTTPException, OSError):
            continue
        assert answer.status in (400, 403, 405, 501), (path, answer.status)
        assert not received(answer)


def test_it_opens_by_itself_at_its_moment(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    until = time.time() + 3.0
    cool_off(gateway, person, until)
    browser = gateway.signed_in(person)
    assert place(upload(browser)) == Code.COOLING_OFF.value
    while True:
        before = time.time()
        opened = received(upload(browser))
        after = time.time()
        # Whatever was asked and answered before the moment was refused, whatever was asked after it passed.
        if opened:
            assert after >= until
            break
        assert before < until
    assert received(upload(browser))
