"""``mtls-gateway ca ceremony``, ``roll-over`` and ``root-crl``: the bank's own CAs, whose keys the signer holds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from mtls_gateway.cli.output import done
from mtls_gateway.cli.settings import settings_of
from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import UsageError

if TYPE_CHECKING:
    from mtls_gateway.config import Pkcs11Key
    from mtls_gateway.issuance.orders import Reason
    from mtls_gateway.issuance.signer.ceremony import Ceremony, IssuingPlan, Made
    from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind
    from mtls_gateway.issuance.signer.secret import Secrets

_SOURCE = "credential:NAME, file:PATH, fd:NUMBER or prompt."
Directory = Annotated[Path, typer.Option(help="Where the root's key, certificates and CRLs are.")]
RootPassphrase = Annotated[str, typer.Option(help=f"Of the root's key: {_SOURCE}")]
IssuingPassphrase = Annotated[str, typer.Option(help=f"Of the issuing key's file: {_SOURCE}")]
IssuerName = Annotated[str, typer.Option("--issuer", help="Its name in the configuration and of its files.")]
IssuingName = Annotated[str, typer.Option("--issuing-name", help="Its common name, not that of another CA.")]
Key = Annotated[str, typer.Option(help="P-256, P-384, RSA-3072 or RSA-4096.")]
RootCrlUrl = Annotated[str, typer.Option(help="Where the root's CRL will be published.")]
Years = Annotated[int, typer.Option(min=1, max=30)]
CrlDays = Annotated[float, typer.Option(help="How long the root's CRL is good for.")]
Participants = Annotated[
    list[str], typer.Option("--participant", help="Role and name of somebody present; at least two.")
]
Place = Annotated[str, typer.Option(help="For the minutes.")]
Module = Annotated[Path | None, typer.Option("--pkcs11-module", help="Makes the issuing key in an HSM: its library.")]
Token = Annotated[str | None, typer.Option("--pkcs11-token", help="The token's label.")]
Pin = Annotated[str, typer.Option("--pin", help=f"The token's user PIN: {_SOURCE}")]

_KINDS = ("P-256", "P-384", "RSA-3072", "RSA-4096")


@dataclass(frozen=True, slots=True)
class _Issuing:
    """What both commands ask of an issuing CA."""

    name: str
    common_name: str
    key: str
    years: int
    root_crl_url: str
    passphrase: str
    module: Path | None
    token: str | None
    pin: str


def ceremony(
    context: typer.Context,
    directory: Directory,
    organisation: Annotated[str, typer.Option(help="The bank's name in the certificates.")],
    root_crl_url: RootCrlUrl,
    participant: Participants,
    root_name: Annotated[str | None, typer.Option(help="The root's common name.")] = None,
    issuing_name: Annotated[str | None, typer.Option(help="The issuing CA's common name.")] = None,
    issuer: IssuerName = "issuing-1",
    root_key: Key = "P-384",
    issuing_key: Key = "P-256",
    root_years: Years = 20,
    issuing_years: Years = 8,
    crl_days: CrlDays = 400.0,
    root_passphrase: RootPassphrase = "prompt",
    issuing_passphrase: IssuingPassphrase = "prompt",
    pkcs11_module: Module = None,
    pkcs11_token: Token = None,
    pin: Pin = "prompt",
    place: Place = "",
) -> None:
    """Make a root and an issuing CA.

    On a machine that is not connected, with two people present; the minutes that it writes are to be signed by both.
    """
    from mtls_gateway.issuance.signer.ceremony import RootPlan

    secrets, work = _begin(directory, participant)
    passphrase = secrets.get_new(_source(root_passphrase), "passphrase of the root's key")
    plan = _plan(
        _Issuing(
            issuer,
            issuing_name or f"{organisation} Issuing CA 1",
            issuing_key,
            issuing_years,
            root_crl_url,
            issuing_passphrase,
            pkcs11_module,
            pkcs11_token,
            pin,
        ),
        secrets,
    )
    root = RootPlan(organisation, root_name or f"{organisation} Root CA", _kind(root_key), root_years)
    made = work.begin(root, plan, passphrase, crl_days)
    titles = ("ルート認証局および発行認証局の作成", "root and issuing CA")
    _finish(context, work, plan, made, titles, participant, place, new_root=directory / "root.key.pem")


def roll_over(
    context: typer.Context,
    directory: Directory,
    issuing_name: IssuingName,
    issuer: IssuerName,
    root_crl_url: RootCrlUrl,
    participant: Participants,
    issuing_key: Key = "P-256",
    issuing_years: Years = 8,
    crl_days: CrlDays = 400.0,
    root_passphrase: RootPassphrase = "prompt",
    issuing_passphrase: IssuingPassphrase = "prompt",
    pkcs11_module: Module = None,
    pkcs11_token: Token = None,
    pin: Pin = "prompt",
    place: Place = "",
) -> None:
    """Make the next issuing CA below the same root.

    The old one stays trusted and goes on signing its CRL until its last certificate has ended; what the configuration
    needs is printed.
    """
    secrets, work = _begin(directory, participant)
    passphrase = secrets.get(_source(root_passphrase), "passphrase of the root's key")
    plan = _plan(
        _Issuing(
            issuer,
            issuing_name,
            issuing_key,
            issuing_years,
            root_crl_url,
            issuing_passphrase,
            pkcs11_module,
            pkcs11_token,
            pin,
        ),
        secrets,
    )
    made = work.roll_over(plan, passphrase, crl_days)
    _finish(context, work, plan, made, ("発行認証局の更新", "next issuing CA"), participant, place)


def root_crl(
    context: typer.Context,
    directory: Directory,
    revoke: Annotated[list[Path] | None, typer.Option(help="Certificate of an issuing CA to be revoked.")] = None,
    reason: Annotated[str, typer.Option(help="Why: as in RFC 5280, e.g. keyCompromise.")] = "unspecified",
    crl_days: CrlDays = 400.0,
    root_passphrase: RootPassphrase = "prompt",
) -> None:
    """Write the root's next CRL.

    Before the last one ends, or when an issuing CA must be revoked.
    """
    from mtls_gateway.issuance.orders import Reason
    from mtls_gateway.issuance.signer.ceremony import Ceremony

    if reason not in get_args(Reason):
        raise UsageError(f"{reason!r} is not a reason; give one of {', '.join(get_args(Reason))}")
    work = Ceremony(directory, SystemClock())
    passphrase = _secrets().get(_source(root_passphrase), "passphrase of the root's key")
    revoked = [(path, cast("Reason", reason)) for path in revoke or ()]
    number, files = work.renew_crl(passphrase, crl_days, revoked)
    names = ", ".join(path.name for path in files)
    done(settings_of(context), f"root CRL {number} written: {names}", crl_number=number, revoked=len(revoked))


def _begin(directory: Path, participants: list[str]) -> tuple[Secrets, Ceremony]:
    from mtls_gateway.issuance.signer.ceremony import Ceremony

    if len({person.strip() for person in participants} - {""}) < 2:
        raise UsageError("nobody may be alone with a CA's key; name two participants")
    return _secrets(), Ceremony(directory, SystemClock())


def _secrets() -> Secrets:
    from mtls_gateway.issuance.signer.secret import Secrets

    return Secrets(may_prompt=sys.stdin.isatty())


def _source(written: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from mtls_gateway.config import SecretSource

    adapter: TypeAdapter[Any] = TypeAdapter(SecretSource)
    try:
        return str(adapter.validate_python(written))
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _kind(written: str) -> KeyKind:
    if written not in _KINDS:
        raise UsageError(f"{written!r} is no kind of key; give one of {', '.join(_KINDS)}")
    return cast("KeyKind", written)


def _plan(asked: _Issuing, secrets: Secrets) -> IssuingPlan:
    from mtls_gateway.issuance.signer.ceremony import IssuingPlan

    token = _token(asked)
    if token is None:
        secret = secrets.get_new(_source(asked.passphrase), "passphrase of the issuing key")
    else:
        secret = secrets.get(token.pin, f"PIN of token {token.token}")
    return IssuingPlan(asked.name, asked.common_name, _kind(asked.key), asked.years, asked.root_crl_url, secret, token)


def _token(asked: _Issuing) -> Pkcs11Key | None:
    from mtls_gateway.config import Pkcs11Key

    if (asked.module is None) != (asked.token is None):
        raise UsageError("give both --pkcs11-module and --pkcs11-token, or neither")
    if asked.module is None or asked.token is None:
        return None
    return Pkcs11Key(kind="pkcs11", module=asked.module, token=asked.token, label=asked.name, pin=_source(asked.pin))


def _finish(
    context: typer.Context,
    work: Ceremony,
    plan: IssuingPlan,
    made: Made,
    titles: tuple[str, str],
    participants: list[str],
    place: str,
    new_root: Path | None = None,
) -> None:
    from mtls_gateway.issuance.signer.minutes import MadeCertificate, Occasion, write_minutes

    issuing_at = f"{plan.name}.key.pem" if plan.token is None else f"PKCS#11 {plan.token.token} / {plan.token.label}"
    certificates = [MadeCertificate("発行認証局", "issuing CA", made.issuing, issuing_at, issuing_at)]
    if new_root is not None:
        root = MadeCertificate("ルート認証局", "root", made.root, new_root.name, new_root.name)
        certificates.insert(0, root)
    occasion = Occasion(*titles, place or "_" * 40, tuple(participants), SystemClock().now())
    minutes = work.write_minutes(write_minutes(occasion, certificates, made.root_crl_number, made.files))
    lines = [f"made {', '.join(path.name for path in made.files)}", f"print and sign {minutes}"]
    lines += ["", "for the configuration:", "", _snippet(plan, made)]
    done(
        settings_of(context),
        "\n".join(lines),
        files=", ".join(str(path) for path in made.files),
        minutes=str(minutes),
        issuer=made.issuing.subject.rfc4514_string(),
        root_crl_number=made.root_crl_number,
    )


def _snippet(plan: IssuingPlan, made: Made) -> str:
    """What the configuration needs, as TOML."""
    key = f'{{ kind = "pem", file = "{plan.name}.key.pem", passphrase = "credential:{plan.name}" }}'
    if plan.token is not None:
        token = plan.token
        key = (
            f'{{ kind = "pkcs11", module = "{token.module}", token = "{token.token}", label = "{token.label}", '
            f'pin = "credential:{plan.name}" }}'
        )
    return f"""\
[[trust.authorities]]
name = "{plan.name}"
certificate = "{plan.name}.cert.pem"
# In the state directory, where the clerk publishes it; copy {plan.name}.crl.der there first.
crls = [{{ source = "state/published/{plan.name}.crl" }}]

[[signer.issuers]]
name = "{plan.name}"
active = true                               # and take it off every other issuer, which stay for their CRLs
certificate = "{plan.name}.cert.pem"
chain = ["root.cert.pem"]
key = {key}
# Where browsers and others find it: published there, or the same file on a plain HTTP server.
crl_url = "https://PUBLIC-HOST/gateway/crl/{plan.name}.crl"
"""
