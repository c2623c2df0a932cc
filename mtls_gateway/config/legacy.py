"""The internet banking system behind the gateway, and its login (clauses A.3, A.4, B.2)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from mtls_gateway.config.values import Count, Expression, Octets, Parameter, PathPattern, Seconds, Section


class Seen(Section):
    """What the legacy backend sees of a browser's request: it must believe itself unchanged."""

    #: ``public`` (the name the browser used), ``backend`` (the backend's own address), or a literal host[:port].
    host: str = "public"
    scheme: Literal["http", "https"] = "http"
    #: Origin and Referer: rewritten to the scheme and host above, passed on as they came, or removed.
    origin: Literal["rewrite", "pass", "remove"] = "rewrite"
    #: X-Forwarded-For, -Proto, -Host and RFC 7239 Forwarded.
    forwarded_headers: bool = False
    #: X-User-ID with the signed-in user (clause B.2).
    user_header: bool = False
    #: RFC 9440 Client-Cert with the certificate.
    client_cert_header: bool = False


class Answer(Section):
    """How one answer of the legacy login form is told from another; what is left out is not looked at."""

    status: tuple[int, ...] = ()
    #: Regular expressions: searched for in the Location header and in the body.
    location: Expression | None = None
    body: Expression | None = None
    #: A cookie that the answer must set.
    cookie: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Answer:
        if not (self.status or self.location or self.body or self.cookie):
            raise ValueError("needs at least one of status, location, body, cookie")
        return self


class LegacyForm(Section):
    """The legacy backend's own login form, replayed with its hidden fields and cookies (clause A.3)."""

    kind: Literal["form"] = "form"
    #: Fetched first; the form is looked for in the page that this leads to.
    page: str
    user_field: str
    password_field: str
    #: Sent besides what the form itself holds; an empty value removes a field.
    fields: dict[str, str] = Field(default={})
    #: The answer is a success only if this fits (when given) …
    success: Answer | None = None
    #: … and none of these do …
    failures: tuple[Answer, ...] = ()
    #: … and this page, fetched afterwards, no longer shows the login form. Empty: not fetched.
    proof_page: str = ""
    #: Redirects (302, 303, 307 and meta-refresh) followed after the form was sent.
    redirects: Annotated[int, Field(ge=0, le=20)] = 5
    timeout: Seconds = 20.0
    maximum_octets: Octets = 1_048_576

    @model_validator(mode="after")
    def _success_can_be_told(self) -> LegacyForm:
        if not self.page.startswith("/") or (self.proof_page and not self.proof_page.startswith("/")):
            raise ValueError("page and proof_page are paths of the legacy backend; start them with /")
        if self.success is None and not self.proof_page:
            raise ValueError("needs success or proof_page: a password is right only on positive evidence")
        return self


class LocalPasswords(Section):
    """A local argon2id store decides instead of a form (clause A.3)."""

    kind: Literal["argon2id"]


class SignOut(Section):
    """How the legacy session is ended when the gateway's is (clause A.6)."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    #: The page whose form leads to ``path``, when a POST needs its hidden fields. Empty: the POST has no fields.
    page: str = ""
    #: Paths of the legacy backend's own sign-out; asking for one ends the gateway's session too.
    watched: tuple[PathPattern, ...] = ()


class GuardedRequest(Section):
    """A login that a front controller tells by a parameter rather than by its path.

    Requests to ``path`` whose parameter is another are none of it. Parameters are found in every spelling that a
    backend could take for theirs.
    """

    path: PathPattern
    #: Guarded when the query names this parameter, with this value when one is given.
    query: Parameter | None = None
    #: Guarded when the query *or the form that is sent* names it. The form is then read before it is forwarded; what is
    #: no urlencoded form (uploads, JSON) cannot be sent to ``path``.
    field: Parameter | None = None

    @model_validator(mode="after")
    def _names_one(self) -> GuardedRequest:
        if (self.query is None) is (self.field is None):
            raise ValueError(
                "needs query or field, and not both; a path that is guarded as a whole is written as a string"
            )
        return self


def _kind_of_guarded(value: object) -> str:
    return "_table" if isinstance(value, (dict, GuardedRequest)) else "_pattern"


Guarded = Annotated[
    Annotated[PathPattern, Tag("_pattern")] | Annotated[GuardedRequest, Tag("_table")], Discriminator(_kind_of_guarded)
]


class HealthCheck(Section):
    """Active checks: each worker asks each backend by itself, with nothing in the request that is a customer's."""

    active: bool = True
    #: Asked for with GET. Empty: only a connection is made (with TLS for https), and closed again.
    path: str = ""
    #: Statuses that are good; of no use without ``path``.
    expected: tuple[int, ...] = (200,)
    #: Between two checks, each time up to a tenth more or less: workers do not beat at once.
    interval: Seconds = 5.0
    #: For the whole check.
    timeout: Seconds = 2.0
    #: So many good ones in a row bring a backend back, so many bad ones take it out.
    rise: Count = 2
    fall: Count = 3

    @model_validator(mode="after")
    def _can_be_asked(self) -> HealthCheck:
        if self.path and not re.fullmatch(r"/[!-~]*", self.path):
            raise ValueError(f"path: {self.path!r} is not a path of the backend in ASCII; start it with /")
        if not self.expected or not all(200 <= status <= 599 for status in self.expected):
            raise ValueError("expected needs statuses from 200 to 599, as in [200]")
        if self.timeout > self.interval:
            raise ValueError("timeout is longer than interval: checks would overtake each other")
        return self


class Ejection(Section):
    """Passive checks: what customers' own requests meet. Its numbers are those of each worker."""

    #: Consecutive failures that eject a backend: connections refused or not made in time, answers that do not come,
    #: are broken or break off, and the statuses below.
    failures: Count = 3
    statuses: tuple[int, ...] = (502, 503, 504)
    #: How long the first time; twice as long each time after, up to ``longest``. Then one request every ``shortest``
    #: is let through until one succeeds.
    shortest: Seconds = 2.0
    longest: Seconds = 60.0

    @model_validator(mode="after")
    def _grows(self) -> Ejection:
        if self.longest < self.shortest:
            raise ValueError("longest is shorter than shortest")
        if not all(500 <= status <= 599 for status in self.statuses):
            raise ValueError("statuses are of the 500s: any other is an answer of a backend that is well")
        return self


class Legacy(Section):
    """The internet banking system behind the gateway."""

    #: One or several, all of one system; the same addresses on every node.
    backends: tuple[str, ...] = Field(min_length=1)
    #: How long the addresses of a backend's name are believed before the resolver is asked again.
    name_refresh: Seconds = 10.0
    #: How long they are used while the resolver says nothing at all. A name that is no more is given up at once.
    name_keep: Seconds = 3_600.0
    #: What becomes of a session whose backend is out. ``strict``: the legacy session lives there and nowhere else, so
    #: its requests are answered 503. ``prefer``: the backends share their sessions, so another one serves it.
    affinity: Literal["strict", "prefer"] = "strict"
    #: Of ``backends``: those that keep their sessions but get no new ones, so that they can be taken out afterwards.
    draining: tuple[str, ...] = ()
    health_check: HealthCheck = HealthCheck()
    ejection: Ejection = Ejection()
    #: A backend that comes back gets a share of what is new that grows for so long; 0: all of it at once.
    slow_start: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    #: Where a browser goes after it has signed in.
    home: str = "/"
    #: Open without a session, e.g. style sheets of a public page. Never the login form.
    public_paths: tuple[PathPattern, ...] = ()
    #: The cookies that carry the legacy session: sealed to the gateway's session, HttpOnly.
    session_cookies: tuple[str, ...] = Field(min_length=1)
    #: The legacy login URL in every spelling of these patterns, or tables ``{ path = …, query = … }`` and
    #: ``{ path = …, field = … }`` where a front controller takes the login by a parameter (clause A.4).
    guarded: tuple[Guarded, ...] = Field(min_length=1)
    seen: Seen = Seen()
    login: Annotated[LegacyForm | LocalPasswords, Field(discriminator="kind")]
    sign_out: SignOut | None = None

    @model_validator(mode="after")
    def _backends_are_addresses(self) -> Legacy:
        if len(set(self.backends)) < len(self.backends):
            raise ValueError("backends: the same address is given twice")
        for backend in self.backends:
            scheme, _, rest = backend.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest.rstrip("/"):
                raise ValueError(f"backends: {backend!r} is not http://HOST:PORT or https://HOST:PORT")
        for backend in self.draining:
            if backend not in self.backends:
                raise ValueError(f"draining: {backend!r} is not one of backends")
        if set(self.draining) == set(self.backends):
            raise ValueError("draining names all backends: nobody could sign in; close the service instead")
        return self
