"""Everything that can be said of a configuration before it is used, without opening a socket.

Each check is the loader that ``serve`` uses wherever there is one; what it refuses is one problem.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import stat
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, Host, read_configuration
from mtls_gateway.errors import ConfigurationError, GatewayError, TrustMaterialError

if TYPE_CHECKING:
    from mtls_gateway.signin.guard import Guard, Place
    from mtls_gateway.trust.bundle import BundledAuthority


def find_problems(file: Path, clock: Clock) -> list[GatewayError]:
    """What is wrong with the configuration in ``file`` and with what it names; empty: nothing."""
    try:
        configuration = read_configuration(file)
    except ConfigurationError as error:
        return [error]
    problems: list[GatewayError] = []
    for check in (_hosts, _tls, _authorities, _legacy, _browsers, _mail, _state, _user, _store, _signer, _issuance):
        problems += check(configuration, clock)
    return problems


def _caught(call: Callable[[], object]) -> Iterator[GatewayError]:
    try:
        call()
    except GatewayError as error:
        yield error


def _hosts(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    for site, host in (("public", configuration.public), ("certificate", configuration.certificate)):
        yield from _host_key(host, site)
        yield from _host_certificate(host, site, clock)


def _host_key(host: Host, site: str) -> Iterator[GatewayError]:
    try:
        mode = host.key.stat().st_mode
    except OSError:
        return  # _tls says that it cannot be read
    if mode & 0o007:
        cause = "may be read by every user of this machine; run: chmod o-rwx on it"
        yield ConfigurationError(str(host.key), f"{site}.key", cause)


def _host_certificate(host: Host, site: str, clock: Clock) -> Iterator[GatewayError]:
    file, key = str(host.certificate), f"{site}.certificate"
    try:
        certificate = x509.load_pem_x509_certificates(host.certificate.read_bytes())[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        purposes = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except OSError as error:
        yield ConfigurationError(file, key, f"cannot be read: {error.strerror}")
        return
    except x509.ExtensionNotFound as error:
        yield ConfigurationError(file, key, f"browsers refuse it: it has no {error.oid._name}")
        return
    except ValueError:
        return  # _tls says that it is no certificate
    if not _is_named(host.name, names):
        named = ", ".join(str(one) for one in names.get_values_for_type(x509.DNSName)) or "no host name"
        yield ConfigurationError(file, key, f"is for {named}, not for {host.name}; browsers refuse it")
    if ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        yield ConfigurationError(file, key, "is not for servers (extendedKeyUsage serverAuth); browsers refuse it")
    if certificate.not_valid_after_utc.timestamp() < clock.now():
        yield ConfigurationError(file, key, f"expired on {certificate.not_valid_after_utc.isoformat()}")
    if certificate.not_valid_before_utc.timestamp() > clock.now():
        yield ConfigurationError(file, key, f"is not valid before {certificate.not_valid_before_utc.isoformat()}")


def _is_named(name: str, names: x509.SubjectAlternativeName) -> bool:
    for pattern in names.get_values_for_type(x509.DNSName):
        lowered = pattern.lower()
        if lowered == name or (lowered.startswith("*.") and name.partition(".")[2] == lowered[2:]):
            return True
    return any(str(address) == name for address in names.get_values_for_type(x509.IPAddress))


def _tls(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.wire.tls import build_contexts

    yield from _caught(lambda: build_contexts(configuration, []))


def _authorities(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.app.first_crls import own_crl_files
    from mtls_gateway.trust.bundle import load_bundle

    try:
        bundle = load_bundle(configuration.trust)
    except GatewayError as error:
        yield error
        return
    own = own_crl_files(configuration)
    for place, authority in enumerate(bundle):
        file = str(authority.settings.certificate)
        if authority.certificate.not_valid_after_utc.timestamp() < clock.now():
            cause = f"expired on {authority.certificate.not_valid_after_utc.isoformat()}"
            yield ConfigurationError(file, f"trust.authorities.{place}.certificate", cause)
        yield from _crls(authority, place, own, clock)


def _crls(authority: BundledAuthority, place: int, own: Container[Path], clock: Clock) -> Iterator[GatewayError]:
    """The CRLs in files; those behind an address are the clerk's to fetch."""
    from mtls_gateway.trust.compiler import check_all, group

    fetched: dict[str, bytes] = {}
    for crl_place, crl in enumerate(authority.settings.crls):
        key = f"trust.authorities.{place}.crls.{crl_place}"
        if crl.is_http:
            continue
        if Path(crl.source) in own and not Path(crl.source).exists():
            return  # serve has it signed when it first starts
        try:
            octets = Path(crl.source).read_bytes()
        except OSError as error:
            yield ConfigurationError(crl.source, f"{key}.source", f"cannot be read: {error.strerror}")
            continue
        if len(octets) > crl.maximum_octets:
            cause = f"has {len(octets)} octets, more than {crl.maximum_octets}"
            yield ConfigurationError(crl.source, f"{key}.maximum_octets", cause)
            continue
        fetched[crl.source] = octets
    if len(fetched) < len(authority.settings.crls):
        return  # only all of them together can be checked
    key = f"trust.authorities.{place}.crls"
    try:
        grouped = group(check_all(authority, fetched, clock.now()))
    except TrustMaterialError as error:
        yield ConfigurationError(error.source, key, error.cause)
        return
    for base, deltas in grouped:
        for checked in (base, *deltas):
            if authority.settings.stale == "refuse" and checked.next_update <= clock.now():
                cause = 'is past its next update, so that its certificates are refused (stale = "refuse")'
                yield ConfigurationError(checked.source, key, cause)


def _legacy(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.signin.guard import Guard, Place

    legacy = configuration.legacy
    watched = () if legacy.sign_out is None else legacy.sign_out.watched
    guard = Guard(legacy.guarded, public=legacy.public_paths, sign_out=watched, prefix=configuration.pages.prefix)
    if legacy.login.kind == "form" and _place_of(legacy.login.page.encode(), guard) is Place.PUBLIC:
        cause = f"opens the login form's page {legacy.login.page} to everybody"
        yield ConfigurationError("configuration", "legacy.public_paths", cause)


def _place_of(target: bytes, guard: Guard) -> Place:
    from mtls_gateway.signin.guard import Place

    place = guard.place_of(target)
    return guard.by_query(target)[0] if place is Place.BY_PARAMETER else place


def _browsers(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    table = configuration.browsers
    if table.mode != "off" and not (table.systems and table.browsers):
        cause = f"with mode {table.mode!r} an empty table supports nobody"
        yield ConfigurationError("configuration", "browsers", cause)


def _mail(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.mail.server import MailServer
    from mtls_gateway.mail.texts import has_link

    settings = configuration.mail
    if settings is None:
        return
    yield from _caught(lambda: MailServer(settings))
    pages = configuration.pages
    for key in ("bank_name_ja", "bank_name_en", "service_name_ja", "service_name_en", "help_desk_ja", "help_desk_en"):
        if has_link(getattr(pages, key)):
            cause = "holds a link, and stands in mails: none of them would go out; name a telephone number"
            yield ConfigurationError("configuration", f"pages.{key}", cause)


def _state(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    state = configuration.state
    if not state.exists():
        parent = next(one for one in state.parents if one.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            yield ConfigurationError(str(state), "state", f"is not there and cannot be made: {parent} is not writable")
        return
    if not state.is_dir():
        yield ConfigurationError(str(state), "state", "is not a directory")
        return
    mode = stat.S_IMODE(state.stat().st_mode)
    if mode & 0o077:
        cause = f"may be entered by other users (mode {mode:04o}); it holds sessions and secrets: chmod 0700 {state}"
        yield ConfigurationError(str(state), "state", cause)
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield ConfigurationError(str(state), "state", "is not readable and writable for this user")


def _user(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    operations = configuration.operations
    if operations.user is not None:
        try:
            wanted = pwd.getpwnam(operations.user).pw_uid
        except KeyError:
            yield ConfigurationError("configuration", "operations.user", f"there is no user {operations.user!r}")
        else:
            if os.geteuid() not in (0, wanted):
                cause = f"only root or {operations.user} itself can run as {operations.user}"
                yield ConfigurationError("configuration", "operations.user", cause)
    if operations.group is not None:
        try:
            grp.getgrnam(operations.group)
        except KeyError:
            yield ConfigurationError("configuration", "operations.group", f"there is no group {operations.group!r}")


def _signer(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.app.signer import check_keys

    yield from _caught(lambda: check_keys(configuration, Path("configuration"), clock))


def _issuance(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    app = None if configuration.issuance is None else configuration.issuance.issuing_app
    if app is not None and not (app.is_file() and os.access(app, os.R_OK)):
        cause = "cannot be read; customers would be told to look for the app in their letter"
        yield ConfigurationError(str(app), "issuance.issuing_app", cause)


def _store(configuration: Configuration, clock: Clock) -> Iterator[GatewayError]:
    from mtls_gateway.store.opening import open_store

    if configuration.store.url is None and not (configuration.state / "gateway.sqlite3").exists():
        return  # serve makes it

    async def check() -> None:
        await (await open_store(configuration.database_url, clock)).close()

    yield from _caught(lambda: asyncio.run(check()))
