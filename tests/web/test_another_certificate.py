"""Choose another certificate: every worker is told, the connection closed, the browser led through one alert."""

from __future__ import annotations

import asyncio
import re

from mtls_gateway.model import ChangeKind
from mtls_gateway.signin.another_certificate import NO_CERTIFICATE, Unwanted
from tests.web.portal_client import Portal


async def test_the_wish_reaches_every_worker_and_closes_the_connection(portal: Portal) -> None:
    before = await portal.store.worker.latest_change()
    answer = await portal.browser(verdict="certificate_expired").post("/gateway/another-certificate", {})
    assert (answer.status, answer.one("Location")) == (303, "https://bank.example:8443/gateway/choosing")
    assert answer.one("Gateway-Connection") == "close"
    (change,) = await portal.store.worker.changes_since(before)
    assert (change.kind, change.subject) == (ChangeKind.ASK_AGAIN, f"{1:064x} 192.0.2.7")


async def test_a_link_does_as_well_as_a_button(portal: Portal) -> None:
    assert (await portal.browser().get("/gateway/another-certificate")).status == 303


async def test_having_shown_none_is_a_choice_too(portal: Portal) -> None:
    before = await portal.store.worker.latest_change()
    browser = portal.browser(serial=None, verdict="certificate_missing")
    assert (await browser.get("/gateway/another-certificate")).status == 303
    (change,) = await portal.store.worker.changes_since(before)
    assert change.subject == f"{NO_CERTIFICATE.hex()} 192.0.2.7"


async def test_another_site_cannot_wish_for_the_customer(portal: Portal) -> None:
    before = await portal.store.worker.latest_change()
    browser = portal.browser()
    assert (await browser.get("/gateway/another-certificate", Sec_Fetch_Site="cross-site")).status == 403
    assert (await browser.post("/gateway/another-certificate", {}, Origin="https://evil.example")).status == 403
    assert await portal.store.worker.changes_since(before) == []


async def test_the_waiting_page_tries_the_certificate_host_once_and_leads_back(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/choosing")
    onward = "https://bank.example:8443/gateway/chosen"
    assert f'content="1; url={onward}"' in page.text and f'href="{onward}"' in page.text
    assert re.search(r'<img[^>]+src="https://cert\.bank\.example:8443/gateway/static/dot\.gif\?[0-9a-f]{8}"', page.text)
    assert "img-src https://cert.bank.example:8443;" in page.one("Content-Security-Policy")


async def test_before_it_is_led_back_the_workers_are_told_that_any_choice_is_welcome(portal: Portal) -> None:
    unwanted = Unwanted(portal.clock)
    before = await portal.store.worker.latest_change()
    await portal.browser().get("/gateway/another-certificate")
    for change in await portal.store.worker.changes_since(before):
        unwanted.mark(change.subject)
    assert unwanted.must_ask_again("192.0.2.7")
    before = await portal.store.worker.latest_change()
    answer = await portal.stranger().get("/gateway/chosen")
    assert answer.one("Location") == "https://cert.bank.example:8443/gateway/password"
    for change in await portal.store.worker.changes_since(before):
        unwanted.mark(change.subject)
    assert not unwanted.must_ask_again("192.0.2.7")


async def test_the_picture_is_never_kept(portal: Portal) -> None:
    dot = await portal.browser().get("/gateway/static/dot.gif?00000000")
    assert (dot.status, dot.one("Cache-Control"), dot.one("Content-Type")) == (200, "no-store", "image/gif")


async def test_the_wish_belongs_to_the_certificate_host_and_the_waiting_to_the_public_one(portal: Portal) -> None:
    answer = await portal.stranger().get("/gateway/another-certificate")
    assert answer.one("Location") == "https://bank.example:8443/gateway/"
    answer = await portal.browser().get("/gateway/choosing")
    assert answer.one("Location") == "https://bank.example:8443/gateway/choosing"


async def test_who_asks_all_the_time_is_not_written_down_for_ever(portal: Portal) -> None:
    before = await portal.store.worker.latest_change()
    await asyncio.gather(*(portal.stranger().get("/gateway/chosen") for _ in range(40)))
    assert await portal.store.worker.latest_change() == before + 30
    answer = await portal.stranger().get("/gateway/chosen")
    assert answer.one("Location") == "https://cert.bank.example:8443/gateway/password"
