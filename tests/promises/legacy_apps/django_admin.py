"""A Django admin, as Django makes it: a CSRF token in the form and in a cookie that the login page sets.

A wrong password is answered with 200. Sign-out takes a POST with the token. It checks a browser's Origin against
the scheme and host that it sees, so behind a TLS front those are settings of the gateway (``legacy.seen``).
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.promises.legacy_apps.application import LegacyApplication, serving

SITE = Path(__file__).parent / "django_site"


def settings(base: str) -> dict[str, object]:
    """The ``[legacy]`` table for this application."""
    return {
        "backends": [base],
        "home": "/admin/",
        "public_paths": ["/static/**"],
        "session_cookies": ["sessionid"],
        "guarded": ["/admin/login", "/admin/login/"],
        "seen": {"host": "public", "scheme": "http", "origin": "rewrite"},
        "login": {
            "kind": "form",
            "page": "/admin/login/?next=/admin/",
            "user_field": "username",
            "password_field": "password",
            "success": {"status": [302], "cookie": "sessionid"},
        },
        "sign_out": {"path": "/admin/logout/", "method": "POST", "page": "/admin/", "watched": ["/admin/logout/"]},
    }


@contextmanager
def running_django(folder: Path) -> Iterator[LegacyApplication]:
    """Start it with its database below ``folder``, end it afterwards."""
    user, password = "kumiai02", secrets.token_hex(8)
    environment = {
        "LEGACY_FOLDER": str(folder),
        "LEGACY_SECRET": secrets.token_hex(32),
        "LEGACY_USER": user,
        "LEGACY_PASSWORD": password,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with serving([sys.executable, "serve.py"], r"^serving on port (\d+)", environment, SITE) as port:
        address = f"http://127.0.0.1:{port}"
        yield LegacyApplication(
            name="django-admin",
            base=address,
            legacy=settings(address),
            user=user,
            password=password,
            protected="/admin/",
            greeting=f"<strong>{user}</strong>",
        )
