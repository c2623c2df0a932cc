"""Who may sign in, with what, and for how long (clauses A.6 to A.8)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mtls_gateway.config.values import Count, Expression, Seconds, Section


class Sessions(Section):
    """Clause A.6."""

    idle: Seconds = 900.0
    absolute: Seconds = 28_800.0
    #: How often a worker writes down when its sessions were last used; the idle end is that exact.
    note_use_every: Seconds = 15.0
    takeover: Seconds = 120.0
    cookie: Annotated[str, Field(pattern=r"^__Host-[A-Za-z0-9_-]+$")] = "__Host-ib-session"


class Lockout(Section):
    """Clause A.7."""

    wrong_passwords: Count = 5
    suspension: Seconds = 1_800.0
    suspensions: Count = 3
    #: Password attempts that one address may make in a minute, over all users.
    attempts_per_address: Count = 60


class Browser(Section):
    """One row of the notice's table 3: matched against the User-Agent."""

    name: str
    pattern: Expression


class Browsers(Section):
    """Clause A.8: which PCs and browsers are supported."""

    mode: Literal["off", "advise", "enforce"] = "advise"
    systems: tuple[Browser, ...] = (Browser(name="Windows 8.1 以上", pattern=r"Windows NT (?:6\.[3-9]|[1-9]\d)"),)
    browsers: tuple[Browser, ...] = (
        Browser(name="Internet Explorer 11", pattern=r"Trident/7\.0;.*rv:11\."),
        Browser(name="Microsoft Edge", pattern=r"Edg/\d+"),
        Browser(name="Google Chrome", pattern=r"Chrome/\d+(?!.*(?:OPR|Vivaldi|YaBrowser)/)"),
    )
