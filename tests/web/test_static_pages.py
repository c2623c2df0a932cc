"""The pages that the gateway answers with when the portal is dead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtls_gateway.web.static_pages import render_error_pages
from mtls_gateway.wire.refusal import REASONS
from tests.signin import legacy_settings


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    directory: Path = tmp_path_factory.mktemp("pages")
    bank = {"bank_name_ja": "<みほん>信用組合", "help_desk_ja": "0120-000-000"}
    configuration = legacy_settings.configure("http://127.0.0.1:1", legacy_settings.TOMCAT, directory, pages=bank)
    return {status: page.decode() for status, page in render_error_pages(configuration).items()}


def test_every_status_that_the_gateway_answers_by_itself_has_a_page(pages: dict[int, str]) -> None:
    assert set(REASONS) - {303} <= set(pages)


def test_each_is_a_whole_document_in_both_languages_that_loads_nothing(pages: dict[int, str]) -> None:
    for status, page in pages.items():
        assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>")
        assert '<html lang="ja">' in page and 'lang="en"' in page and str(status) in page
        assert "<script" not in page and "src=" not in page and "<link" not in page and "url(" not in page
        assert re.findall(r'href="([^"]+)"', page) == [
            "https://bank.example:8443/gateway/",
            "https://bank.example:8443/gateway/?lang=en",
        ]


def test_the_banks_name_is_escaped_and_the_style_is_not(pages: dict[int, str]) -> None:
    assert "&lt;みほん&gt;信用組合" in pages[502]
    assert '"Hiragino Kaku Gothic ProN"' in pages[502]


def test_a_page_is_small_enough_to_be_answered_from_memory(pages: dict[int, str]) -> None:
    assert max(len(page.encode()) for page in pages.values()) < 16_384
