"""Behind a company's proxy.

Wine takes whatever a proxy answers for the way to the server: that somebody can sign in to one is for a real Windows to
show. Here is shown that nobody's secret gets lost on the way.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.issuing_app.bank import PUBLIC_HOST, Bank
from tests.issuing_app.proxy import FORBIDDEN, Proxy, wants_sign_in
from tests.issuing_app.test_unattended import (
    DONE,
    FOREIGN,
    NO_CONNECTION,
    PROXY_SIGN_IN,
    SECRETS,
    UNTRUSTED,
    nothing_installed,
    the_only,
)
from tests.issuing_app.windows import Windows

# The first test of a run pays for the build and for a whole Windows.
pytestmark = [pytest.mark.needs("mingw-i686", "mingw-x86_64", "wine", "Xvfb"), pytest.mark.timeout(300)]


def test_a_proxy_that_says_no_learns_nothing_and_one_that_lets_through_is_gone_through(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port)
    with Proxy() as proxy:
        for answer in (FORBIDDEN, wants_sign_in('Basic realm="proxy"'), wants_sign_in("Negotiate")):
            proxy.answer = answer
            code = windows.run(app, secrets=SECRETS, proxy=proxy.port)
            assert code in {NO_CONNECTION, UNTRUSTED, FOREIGN, PROXY_SIGN_IN}, answer
            assert nothing_installed(windows), answer
            assert windows.keys == windows.pending == [], answer
        assert len(proxy.heads) >= 3
        assert not any("authorization" in head.lower() for head in proxy.heads)
        assert bank.requests == []
        proxy.answer = b""
        assert windows.run(app, secrets=SECRETS, proxy=proxy.port) == DONE
        assert all(head.startswith(f"CONNECT {PUBLIC_HOST}:{bank.port} ") for head in proxy.heads)
    the_only(windows, bank)
