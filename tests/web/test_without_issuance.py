"""Where certificates come from elsewhere there is no enrolment, and everything else is as ever."""

from __future__ import annotations

import pytest

from mtls_gateway.model import Site
from tests.web.est_client import Client, told
from tests.web.portal_client import Portal


@pytest.mark.parametrize("site", Site)
@pytest.mark.parametrize("operation", ["GET cacerts", "GET csrattrs", "POST simpleenroll", "POST simplereenroll"])
async def test_est_is_not_there(portal: Portal, site: Site, operation: str) -> None:
    method, name = operation.split()
    assert told(await Client(portal, site).send(method, name)) == "404 not_found"


async def test_the_page_says_what_to_have_at_hand(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/enrolment")
    assert page.status == 200
    assert "<form" not in page.text
    assert "手順書" in page.text


@pytest.mark.parametrize("name", ["enrolment/app", "enrolment/download", "renewal", "renewal/download"])
async def test_the_other_pages_are_not_there(portal: Portal, name: str) -> None:
    assert (await portal.stranger().get(f"/gateway/{name}")).status == 404


async def test_nobody_is_sent_to_renew_what_cannot_be_renewed_here(portal: Portal) -> None:
    page = await portal.browser().get("/gateway/notice")
    assert "/gateway/renewal" not in page.text
