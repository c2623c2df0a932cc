"""The settings under which each legacy application of the tests works unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtls_gateway.config import Configuration, validate_configuration

TOMCAT: dict[str, Any] = {
    "session_cookies": ["JSESSIONID"],
    "guarded": ["/examples/protected/j_security_check"],
    "login": {
        "page": "/examples/protected/index.jsp",
        "user_field": "j_username",
        "password_field": "j_password",
        "success": {"body": "logged in as remote user"},
        "failures": [{"body": "Invalid username"}],
    },
    "sign_out": {"path": "/examples/logout"},
}
DJANGO: dict[str, Any] = {
    "session_cookies": ["sessionid"],
    "guarded": ["/admin/login/"],
    "login": {
        "page": "/admin/login/",
        "user_field": "username",
        "password_field": "password",
        "success": {"status": [302], "cookie": "sessionid"},
    },
    "sign_out": {"path": "/admin/logout/", "method": "POST", "page": "/admin/"},
}
ASPNET: dict[str, Any] = {
    "session_cookies": [".ASPXAUTH"],
    "guarded": ["/Login.aspx"],
    "login": {
        "page": "/Menu.aspx",
        "user_field": "ctl00$user",
        "password_field": "ctl00$pass",
        "success": {"body": "ログオフ"},
        "failures": [{"body": "パスワードが違います"}],
    },
}
PHP: dict[str, Any] = {
    "session_cookies": ["PHPSESSID"],
    "guarded": ["/ib/login.php"],
    "login": {
        "page": "/ib/index.php",
        "user_field": "uid",
        "password_field": "pw",
        "proof_page": "/ib/menu.php",
    },
    "sign_out": {"path": "/ib/logout.php", "method": "POST"},
}


def configure(backend: str, legacy: dict[str, Any], directory: Path, **more: Any) -> Configuration:
    """A whole configuration around one backend."""
    login = {"kind": "form", **legacy["login"]}
    raw = {
        "state": "state",
        "public": {"name": "bank.example", "listen": ["127.0.0.1:8443"], "certificate": "p.pem", "key": "p.key"},
        "certificate": {
            "name": "cert.bank.example",
            "listen": ["127.0.0.1:8443"],
            "certificate": "c.pem",
            "key": "c.key",
        },
        "trust": {"authorities": [{"name": "bank", "certificate": "ca.pem", "revocation": "none"}]},
        "legacy": {"backends": [backend], **legacy, "login": login},
        **more,
    }
    return validate_configuration(raw, directory / "gateway.toml")
