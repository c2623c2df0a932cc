"""From a TOML file to a frozen, validated configuration.

What was read is a plain ``dict``; what was validated is a :class:`Configuration`, and nothing
but this module can make one from the other. Every room is given its own slice. A process keeps
the configuration that it started with for life: a reload is a new generation of processes.

Every number is a default of ``docs/configuration.md`` and one setting. Times are seconds, sizes octets.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from mtls_gateway.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Octets = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def _against_the_file(path: Path, info: ValidationInfo) -> Path:
    """A relative path is relative to the configuration file, wherever the process was started."""
    base: Path = (info.context or {}).get("base", Path())
    return path if path.is_absolute() else base / path


def _crl_source(source: str, info: ValidationInfo) -> str:
    if not source:
        raise ValueError("is empty; give a file or an http:// or https:// address")
    if "://" not in source:
        return str(_against_the_file(Path(source), info))
    if not source.startswith(("http://", "https://")):
        raise ValueError(f"{source!r} is neither a file nor an http:// or https:// address")
    return source


def _log_file(file: str, info: ValidationInfo) -> str:
    if not file:
        raise ValueError("is empty; give a file, or - for standard output")
    return file if file == "-" else str(_against_the_file(Path(file), info))


def _host_name(name: str) -> str:
    lowered = name.lower()
    labels = lowered.split(".")
    if len(lowered) > 253 or not all(
        0 < len(label) <= 63 and label.replace("-", "").isalnum() and label.isascii() for label in labels
    ):
        raise ValueError(f"{name!r} is not a host name; give it as a browser sends it, without port and trailing dot")
    return lowered


def _endpoint(address: str) -> str:
    host, separator, port = address.rpartition(":")
    try:
        numeric = ipaddress.ip_address(host.strip("[]"))
        if not separator or not port.isdecimal() or not 0 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f"{address!r} is not ADDRESS:PORT with a numeric address, as in 0.0.0.0:443") from None
    # As the system says it: a socket is recognised by what it listens on.
    return f"[{numeric}]:{int(port)}" if numeric.version == 6 else f"{numeric}:{int(port)}"


def _secret_source(source: str, info: ValidationInfo) -> str:
    kind, _, rest = source.partition(":")
    if source == "prompt" or (kind == "fd" and rest.isdecimal() and int(rest) > 2):
        return source
    if kind == "credential" and re.fullmatch(r"[A-Za-z0-9._-]{1,255}", rest) and rest.strip("."):
        return source
    if kind == "file" and rest:
        return f"file:{_against_the_file(Path(rest), info)}"
    raise ValueError(f"{source!r} is none of credential:NAME, file:PATH, fd:NUMBER (3 or more) and prompt")


def _http_address(address: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", address):
        raise ValueError(f"{address!r} is not an http:// or https:// address")
    return address


def _mail_address(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if not re.fullmatch(r"[!#-'*+\-/-9=?A-Z^-~.]{1,64}", local) or _host_name(domain) != domain.lower():
        raise ValueError(f"{address!r} is not a mail address; give it without a name, as in ib@example.co.jp")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _path_pattern(pattern: str) -> str:
    if not pattern.startswith(("/", "**/")):
        raise ValueError(f"{pattern!r} is not a path pattern; start it with / or **/")
    return pattern


def _parameter(parameter: str) -> str:
    name, given, value = parameter.partition("=")
    plain = re.compile(r"[A-Za-z0-9_.:$-]+")
    if not plain.fullmatch(name) or (given and not plain.fullmatch(value)):
        raise ValueError(
            f"{parameter!r} is not NAME or NAME=VALUE; write both plainly, in letters, digits and any of _ . : $ -"
        )
    return parameter


def _expression(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from None
    return expression


File = Annotated[Path, AfterValidator(_against_the_file)]
HostName = Annotated[str, AfterValidator(_host_name)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Expression = Annotated[str, AfterValidator(_expression)]
SecretSource = Annotated[str, AfterValidator(_secret_source)]
HttpAddress = Annotated[str, AfterValidator(_http_address)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
PathPattern = Annotated[str, AfterValidator(_path_pattern)]
"""A path of the legacy backend: ``*`` stands for anything within a segment, ``**`` for anything."""
Parameter = Annotated[str, AfterValidator(_parameter)]
"""A parameter of a query or form: ``NAME``, or ``NAME=VALUE`` where only one value of it is meant."""


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, hide_input_in_errors=True)


class Host(Section):
    """One of the two hosts (clause A.1). Both may listen on the same endpoints: SNI tells them apart."""

    name: HostName
    listen: tuple[Endpoint, ...] = Field(min_length=1)
    #: The port that browsers use, when a balancer translates it; else the first endpoint's.
    port: int | None = Field(default=None, ge=1, le=65535)
    certificate: File
    key: File

    @property
    def browser_port(self) -> int:
        """The port in the URL that a browser uses."""
        return self.port if self.port is not None else int(self.listen[0].rpartition(":")[2])

    @property
    def authority(self) -> str:
        """``name`` or ``name:port``, as a browser sends it in ``Host``."""
        return self.name if self.browser_port == 443 else f"{self.name}:{self.browser_port}"

    @property
    def origin(self) -> str:
        """``https://name[:port]``, as a browser sends it in ``Origin``."""
        return f"https://{self.authority}"


class Tls(Section):
    """TLS of both hosts."""

    minimum: Literal["1.2", "1.3"] = "1.2"
    #: OpenSSL's cipher list for TLS 1.2; the default still serves IE 11 on Windows 8.1.
    ciphers: str = (
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
        "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
    )
    session_seconds: Annotated[int, Field(ge=0, le=604_800)] = 7_200


class Limits(Section):
    """Each limit has a metric, ``mtls_gateway_limit_refusals_total{limit=…}``."""

    connections: Count = 20_000
    connections_per_address: Count = 500
    head_octets: Octets = 32_768
    header_count: Count = 100
    target_octets: Octets = 8_192
    body_octets: Octets = 4 * 1024**3
    portal_body_octets: Octets = 65_536
    #: A form that is read before it is forwarded, see ``legacy.guarded``.
    guarded_body_octets: Octets = 65_536
    response_head_octets: Octets = 65_536
    buffer_octets: Octets = 262_144
    backend_connections: Count = 512
    #: Of these, for each worker: who is signed in must not keep all others out with slow uploads.
    backend_connections_per_session: Count = 16
    backend_waiting: Count = 2_048
    requests_per_connection: Count = 100_000


class Timeouts(Section):
    """In seconds. ``body`` and ``response`` bound the silence between two reads, not the whole transfer."""

    handshake: Seconds = 10.0
    head: Seconds = 15.0
    body: Seconds = 30.0
    idle: Seconds = 75.0
    write: Seconds = 60.0
    backend_connect: Seconds = 5.0
    backend_first_octet: Seconds = 60.0
    backend_silence: Seconds = 60.0
    tunnel_silence: Seconds = 600.0
    #: How long old workers finish what they have begun after a reload.
    drain: Seconds = 30.0
    #: How long an idle connection of theirs may still begin a request: one may be on its way.
    last_request: Seconds = 2.0


class Crl(Section):
    """Where one CRL comes from. A certificate's own distribution point is never fetched (SSRF)."""

    #: A file, or an http:// or https:// address.
    source: Annotated[str, AfterValidator(_crl_source)]
    delta: bool = False
    refresh: Seconds = 5.0
    timeout: Seconds = 20.0
    maximum_octets: Octets = 128 * 1024**2

    @property
    def is_http(self) -> bool:
        """Fetched over HTTP rather than read from a file."""
        return self.source.startswith(("http://", "https://"))


class Authority(Section):
    """One CA certificate of the bank, issuing or superior (clause C.1)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    certificate: File
    #: Trusted in its own right. Left out: true for a self-signed certificate only.
    anchor: bool | None = None
    #: Named to browsers in the certificate request, so that their picker shows this CA's certificates.
    named_to_browsers: bool = True
    revocation: Literal["crl", "none"] = "crl"
    crls: tuple[Crl, ...] = ()
    #: What to do when a CRL is past its ``nextUpdate`` (clause C.2).
    stale: Literal["refuse", "grace", "accept"] = "refuse"
    grace: Seconds = 86_400.0

    @model_validator(mode="after")
    def _has_a_crl(self) -> Authority:
        if self.revocation == "crl" and not self.crls:
            raise ValueError('needs at least one entry in crls, or revocation = "none"')
        return self


class Trust(Section):
    """Which certificates are good (clauses C.1 to C.4)."""

    authorities: tuple[Authority, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Trust:
        names = [authority.name for authority in self.authorities]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two authorities are named {name!r}")
        return self


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
    fields: dict[str, str] = {}
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


class Legacy(Section):
    """The internet banking system behind the gateway."""

    backends: tuple[str, ...] = Field(min_length=1)
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
        for backend in self.backends:
            scheme, _, rest = backend.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest.rstrip("/"):
                raise ValueError(f"backends: {backend!r} is not http://HOST:PORT or https://HOST:PORT")
        return self


class EnrolmentCodes(Section):
    """One-time enrolment codes, as they stand in procedure letters (clause D.1)."""

    tries: Count = 5
    days: Count = 80


class OwnCrls(Section):
    """The CRLs of the signer's issuers, one file each (clause C.2)."""

    #: Where ``ISSUER.crl`` is written; ``trust.authorities`` names these files. Left out: ``published`` in the state
    #: directory. They are published below ``pages.prefix``, as ``crl/ISSUER.crl``.
    directory: File | None = None
    #: From thisUpdate to nextUpdate.
    lifetime: Seconds = 604_800.0
    #: Signed anew so long before nextUpdate, if no revocation asks for it sooner.
    renew_before: Seconds = 518_400.0
    #: After a revocation those that follow at once are waited for …
    gather: Seconds = 0.2
    #: … and after a CRL the next one comes no sooner.
    shortest: Seconds = 5.0
    #: A revoked certificate is listed for so long after its own end.
    listed_after_end: Seconds = 604_800.0
    #: Caches on the way may keep a CRL for so long.
    cache: Seconds = 300.0

    @model_validator(mode="after")
    def _is_renewed_in_time(self) -> OwnCrls:
        if self.renew_before >= self.lifetime:
            raise ValueError("renew_before must be shorter than lifetime: else each CRL is renewed at once")
        return self


class Issuance(Section):
    """The bank issues its users' certificates here (clauses D.1 to D.7). Left out: they come from elsewhere."""

    #: O of the users' certificates: the bank's name in ASCII.
    organisation: Annotated[str, Field(min_length=1, max_length=64)]
    #: What a user's key may be; the customer's PC makes P-256 unless told otherwise.
    keys: tuple[Literal["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"], ...] = Field(
        default=("P-256",), min_length=1
    )
    codes: EnrolmentCodes = EnrolmentCodes()
    #: A certificate can be renewed from so many days before it ends (clause D.4).
    renewal_days: Annotated[int, Field(ge=1, le=180)] = 40
    #: A request with a PKCS#10 may have so many octets.
    csr_octets: Octets = 16_384
    #: The issuing app that customers download after the enrolment sign-in page; left out: the letter says where it is.
    issuing_app: File | None = None
    #: How often a certificate that was written down and not signed yet is taken to the signer again.
    finish_every: Seconds = 30.0
    crl: OwnCrls = OwnCrls()


class Notices(Section):
    """Notices of certificates that end (clause D.5): to the user and to the administrators of its company."""

    #: Days of the calendar in Japan before the last day; 0: when it has expired.
    days: tuple[Annotated[int, Field(ge=0, le=180)], ...] = Field(default=(40, 10, 3, 0), max_length=10)
    #: Their mails go out from this hour on, in Japan.
    hour: Annotated[int, Field(ge=0, le=23)] = 9
    #: How often the clerk looks for notices that are due and certificates that have expired.
    every: Seconds = 60.0
    #: Certificates in one transaction.
    portion: Annotated[int, Field(ge=1, le=1_000)] = 100
    #: When the clock jumps ahead by more, no notice is given for ``clock_hold``, in which it can be set right.
    clock_jump: Seconds = 86_400.0
    clock_hold: Seconds = 3_600.0


class Mail(Section):
    """The mail server (clause D.5). Left out: no mail is sent, and those due are listed as failed."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    #: ``none`` only for a server on this machine.
    security: Literal["starttls", "tls", "none"] = "starttls"
    #: The CAs that may have issued the server's certificate; left out: the system's.
    ca_file: File | None = None
    user: str | None = None
    password_file: File | None = None
    sender: MailAddress
    reply_to: MailAddress | None = None
    #: How long connecting, and sending one mail, may take.
    timeout: Seconds = 30.0
    #: Mails taken from the outbox at a time, sent one after the other over one connection.
    batch: Annotated[int, Field(ge=1, le=200)] = 20
    #: How often the outbox is looked at.
    poll: Seconds = 1.0
    #: A mail that the server would not take now is tried again after so long, then after twice as long, …
    retry_first: Seconds = 60.0
    retry_longest: Seconds = 14_400.0
    #: … and when it has waited for so long altogether, it has failed. While the server is away nothing fails.
    give_up: Seconds = 432_000.0
    #: A server that is away is tried again after a second, then two, … at most so long.
    pause_longest: Seconds = 300.0
    #: Mails that have gone out, or failed, are kept for so many days.
    kept_days: Annotated[int, Field(ge=60)] = 400

    @model_validator(mode="after")
    def _keeps_its_secrets(self) -> Mail:
        if self.security == "none" and not _is_loopback(self.host):
            raise ValueError('security = "none" is for a server on this machine only; use starttls or tls')
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        return self


class Store(Section):
    """Where the rows are."""

    #: ``sqlite:///absolute/path``; left out: ``gateway.sqlite3`` in the state directory. For several machines
    #: ``postgresql://USER@HOST:PORT/NAME``, with parameters as libpq's: ``?passfile=FILE&sslmode=verify-full``.
    url: str | None = None
    #: How often a worker asks for changes; revocation must reach everything within a second.
    poll: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    #: How long a worker goes on with what it knows while it hears of no changes; then it admits nobody.
    silence: Annotated[float, Field(ge=1.0, le=300.0)] = 10.0
    busy_timeout: Seconds = 5.0


class Operations(Section):
    """What SREs touch."""

    #: /metrics, /healthz, /readyz.
    listen: Endpoint = "127.0.0.1:9464"
    workers: Count = 2
    #: The access log: a file, or ``-`` for standard output; one JSON object for each request. Left out: none.
    access_log: Annotated[str, AfterValidator(_log_file)] | None = None
    #: A worker that has not reported for so long is replaced.
    worker_timeout: Annotated[int, Field(ge=2)] = 30
    #: With less than this left on the state directory's file system, /readyz says no.
    disk_reserve: Octets = 64 * 1024**2
    #: How often sessions, locked users and certificates are counted for the metrics.
    census_every: Seconds = 60.0
    user: str | None = None
    group: str | None = None


class Pages(Section):
    """What the portal's pages say of the bank."""

    bank_name_ja: str = "〇〇信用組合"
    bank_name_en: str = "Credit Cooperative"
    service_name_ja: str = "法人向けインターネットバンキング"
    service_name_en: str = "Corporate Internet Banking"
    help_desk_ja: str = "お取引店までお問い合わせください。"
    help_desk_en: str = "Please contact your branch."
    #: The gateway's own pages are below this path on both hosts; never forwarded to the legacy backend.
    prefix: Annotated[str, Field(pattern=r"^/[a-z0-9-]+/$")] = "/gateway/"
    #: The expiry notice page is shown after sign-in from so many days before expiry.
    notice_days: Count = 40


class Letter(Section):
    """The procedure letter (clause D.1): who sends it and whom to call; the names are those of ``pages``."""

    department: str = ""
    postal_code: str = ""
    #: The sender's postal address, line by line.
    address: tuple[str, ...] = ()
    telephone: str = ""
    #: When the telephone is answered.
    hours: str = ""
    #: TrueType fonts for characters of names that BIZ UDGothic has not, the first that has one wins.
    extra_fonts: tuple[File, ...] = ()
    letters_per_file: Count = 10_000


class BusinessDays(Section):
    """When a reissue's cooling-off ends (clause D.6): weekends, holidays and the year end are closed anyway."""

    #: The hour in Japan at which a business day begins.
    opening_hour: Annotated[int, Field(ge=0, le=23)] = 0
    #: Further days on which the bank is closed, as 2027-02-01.
    closed: tuple[datetime.date, ...] = ()


class PemKey(Section):
    """An issuing CA's key in a file: PKCS#8, PEM, encrypted; mode 0600."""

    kind: Literal["pem"]
    file: File
    #: Where its passphrase comes from: ``credential:NAME`` (systemd's), ``file:PATH``; where the signer is started
    #: alone also ``fd:NUMBER`` and ``prompt``.
    passphrase: SecretSource | None = None
    #: For development only: the file is not encrypted.
    unencrypted: bool = False

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> PemKey:
        if (self.passphrase is None) != self.unencrypted:
            raise ValueError("needs passphrase; for development only, unencrypted = true instead")
        return self


class Pkcs11Key(Section):
    """An issuing CA's key in a hardware security module, reached by PKCS#11."""

    kind: Literal["pkcs11"]
    #: The maker's library, e.g. ``/usr/lib/softhsm/libsofthsm2.so``.
    module: File
    #: Labels of the token and of the private key in it.
    token: Annotated[str, Field(min_length=1, max_length=32)]
    label: Annotated[str, Field(min_length=1)]
    #: Where the user PIN comes from, as for a passphrase.
    pin: SecretSource


class SignerIssuer(Section):
    """One issuing CA whose key the signer holds. During a roll-over there are two, one of them active."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    #: Signs new certificates; the others go on signing their CRLs.
    active: bool = False
    certificate: File
    #: Its superiors, up to and with the root.
    chain: tuple[File, ...] = Field(min_length=1)
    key: Annotated[PemKey | Pkcs11Key, Field(discriminator="kind")]
    #: Where its CRL is published: written into every certificate.
    crl_url: HttpAddress


class Signer(Section):
    """The process that alone holds the CA keys (clause D.7). Left out: this gateway issues nothing."""

    #: ``serve`` runs it too. False: it is started alone, as a user of its own, with ``mtls-gateway signer``.
    role: bool = True
    #: The unix socket; left out: ``run/signer.sock`` in the state directory.
    socket: File | None = None
    #: The group that may connect besides the signer's user; left out: none.
    group: str | None = None
    #: The users whose processes may give orders; left out: only the signer's own.
    users: tuple[str, ...] = ()
    #: Where its journal lies, nobody else's (mode 0700); left out: ``signer`` in the state directory.
    directory: File | None = None
    issuers: tuple[SignerIssuer, ...] = Field(min_length=1)
    #: The keys that users may have.
    key_types: tuple[Literal["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"], ...] = Field(
        default=("P-256",), min_length=1
    )
    #: How long before now a new certificate or CRL may begin.
    backdating: Seconds = 300.0
    #: More is answered with "wait", so that a portal that was taken over cannot mint at will.
    certificates_per_minute: Count = 600
    crls_per_minute: Count = 20
    #: The longest time from a CRL's thisUpdate to its nextUpdate.
    crl_longest: Seconds = 2_592_000.0
    crl_entries: Count = 2_000_000
    connections: Count = 64
    #: How long portal and clerk wait for a certificate, and the signer for the rest of a message.
    timeout: Seconds = 10.0
    #: How long the clerk waits for a CRL.
    crl_timeout: Seconds = 120.0
    #: A connection on which nothing was asked for so long is closed.
    idle: Seconds = 600.0
    #: Metrics of a signer that is started alone; left out: not served.
    metrics: Endpoint | None = None

    @model_validator(mode="after")
    def _one_is_active(self) -> Signer:
        names = [issuer.name for issuer in self.issuers]
        if len(set(names)) < len(names):
            raise ValueError("two issuers have the same name")
        active = sum(issuer.active for issuer in self.issuers)
        if active != 1:
            raise ValueError(f"{active} issuers are active; set active = true on the one that signs new certificates")
        sources = [one.key.passphrase if one.key.kind == "pem" else one.key.pin for one in self.issuers]
        if self.role and any(source is not None and source.startswith(("fd:", "prompt")) for source in sources):
            raise ValueError(
                "serve can neither prompt nor keep a descriptor: use credential: or file:, or role = false"
            )
        return self


class CoolingOffRule(Section):
    """Requests that are refused to a user until the next business day after a reissue (clause D.6)."""

    #: Left out: every method.
    methods: tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...] = ()
    #: In every spelling of these patterns, as with ``legacy.guarded``.
    paths: tuple[PathPattern, ...] = Field(min_length=1)


class CoolingOff(Section):
    """What a user may not do for a while after a reissue; ``business_days`` says for how long (clause D.6)."""

    rules: tuple[CoolingOffRule, ...] = ()


class Configuration(Section):
    """Everything, validated."""

    state: File
    public: Host
    certificate: Host
    tls: Tls = Tls()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    trust: Trust
    sessions: Sessions = Sessions()
    lockout: Lockout = Lockout()
    browsers: Browsers = Browsers()
    legacy: Legacy
    issuance: Issuance | None = None
    notices: Notices = Notices()
    mail: Mail | None = None
    store: Store = Store()
    operations: Operations = Operations()
    pages: Pages = Pages()
    letter: Letter = Letter()
    business_days: BusinessDays = BusinessDays()
    signer: Signer | None = None
    cooling_off: CoolingOff = CoolingOff()

    @model_validator(mode="after")
    def _hosts_can_be_told_apart(self) -> Configuration:
        if self.public.authority == self.certificate.authority:
            raise ValueError("public and certificate have the same name and port; give the certificate host its own")
        shared = set(self.public.listen) & set(self.certificate.listen)
        if shared and set(self.public.listen) != set(self.certificate.listen):
            raise ValueError("public.listen and certificate.listen must be the same endpoints or have none in common")
        if shared and self.public.name == self.certificate.name:
            raise ValueError("one name on one port: SNI cannot tell the hosts apart; give the certificate host a port")
        if self.operations.listen in (*self.public.listen, *self.certificate.listen):
            raise ValueError(
                "operations.listen is an endpoint of a host; give it a port of its own, and not to the world"
            )
        return self

    @model_validator(mode="after")
    def _issuance_has_its_signer(self) -> Configuration:
        if self.issuance is None:
            return self
        if self.signer is None:
            raise ValueError("issuance needs the signer; configure [signer], or leave [issuance] out")
        for kind in self.issuance.keys:
            if kind not in self.signer.key_types:
                raise ValueError(f"issuance.keys has {kind}, which signer.key_types has not")
        return self

    @property
    def portal_socket(self) -> Path:
        """The private unix socket that workers reach the portal by."""
        return self.state / "run" / "portal.sock"

    @property
    def signer_socket(self) -> Path:
        """The unix socket that portal and clerk reach the signer by."""
        named = None if self.signer is None else self.signer.socket
        return named or self.state / "run" / "signer.sock"

    @property
    def signer_directory(self) -> Path:
        """Where the signer's journal lies."""
        named = None if self.signer is None else self.signer.directory
        return named or self.state / "signer"

    @property
    def published_directory(self) -> Path:
        """Where the CRLs of the signer's issuers are written and published from."""
        named = None if self.issuance is None else self.issuance.crl.directory
        return named or self.state / "published"

    @property
    def database_url(self) -> str:
        """The store's address as SQLAlchemy writes it, without a driver."""
        return self.store.url or f"sqlite:///{self.state / 'gateway.sqlite3'}"

    @property
    def instance_secret(self) -> Path:
        """The file of the instance secret, see ``signin.instance_secret``."""
        return self.state / "instance.secret"

    @property
    def revocation_directory(self) -> Path:
        """Where compiled revocation indexes lie."""
        return self.state / "revocation"


#: Words of pydantic's in the place of an error, which are no keys of the file.
_TAGS = ("form", "argon2id", "pem", "pkcs11", "_pattern", "_table")


def read_configuration(path: Path) -> Configuration:
    """Read and validate ``path``.

    Raises:
        ConfigurationError: names the file, the key and the cause; the first of several.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), "", f"is not TOML: {error}") from error
    return validate_configuration(raw, path)


def validate_configuration(raw: dict[str, Any], path: Path) -> Configuration:
    """Make a :class:`Configuration` of what ``path`` held.

    Raises:
        ConfigurationError: names the file, the key and the cause; the first of several.
    """
    try:
        return Configuration.model_validate(raw, context={"base": path.resolve().parent})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in _TAGS)
        cause = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigurationError(str(path), key, cause + more) from error
