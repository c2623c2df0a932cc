"""Everything that the demo runs on, below one directory: CAs, certificates, CRL, configuration, database.

What was made once is kept for a week, so that certificates which a person has imported into a browser go on working;
only the configuration is written anew at each start, because the ports may be others.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import insert, update

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock, SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.bank import SESSION_COOKIE
from mtls_gateway.demo.cast import Defect, Trouble
from mtls_gateway.demo.certificates import DAY, DemoCertificates
from mtls_gateway.issuance.business_days import next_business_day
from mtls_gateway.model import CertificateState, Method, print_serial
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.engine import Database
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import certificates as certificates_table
from mtls_gateway.store.schema import users as users_table
from mtls_gateway.store.users import NewUser

_ACTOR: Final = "demo"
_FOLDERS: Final = ("hosts", "ca", "other-ca", "certificates", "state")
#: How long what was made is kept: well within the CRL's life, and before what is not yet valid becomes so.
_KEPT: Final = 7 * DAY


@dataclass(frozen=True, slots=True)
class Ports:
    """Of 127.0.0.1."""

    gateway: int
    operations: int
    bank: int


class Material:
    """The files, by what they are for."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory.resolve()
        self.certificates = DemoCertificates(self.directory, clock)

    @property
    def configuration(self) -> Path:
        """The gateway's configuration file."""
        return self.directory / "gateway.toml"

    @property
    def accounts(self) -> Path:
        """The legacy bank's IDs and passwords."""
        return self.directory / "accounts.json"

    @property
    def letter(self) -> Path:
        """The procedure letter of ``cast.APPLICANT``."""
        return self.directory / "letter.pdf"

    @property
    def enrolment_code(self) -> Path:
        """The code that stands in it, for those who would rather not open the letter."""
        return self.directory / "enrolment-code.txt"

    def log(self, process: str) -> Path:
        """What a process has said."""
        return self.directory / f"{process}.log"


def make_material(directory: Path, ports: Ports, *, fresh: bool, clock: Clock | None = None) -> Material:
    """Make what is not there; ``fresh`` makes everything anew.

    Raises:
        ConfigurationError, StoreUnavailable: the gateway could not use what was made.
    """
    clock = clock or SystemClock()
    material = Material(directory, clock)
    directory = material.directory
    made = directory / "made"
    now = clock.now()
    if fresh or not made.exists() or not 0 <= now - float(made.read_text()) < _KEPT:
        # Only what is made here: the directory may be anybody's.
        made.unlink(missing_ok=True)
        for folder in _FOLDERS:
            shutil.rmtree(directory / folder, ignore_errors=True)
        material.enrolment_code.unlink(missing_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        material.certificates.make()
        (directory / "state").mkdir(mode=0o700)
        _write_configuration(material, ports)
        asyncio.run(_fill(material, read_configuration(material.configuration), clock))
        made.write_text(str(now))
    _write_configuration(material, ports)
    passwords = {user.user_id: user.password for user in cast.USERS}
    material.accounts.write_text(json.dumps(passwords, indent=1), encoding="utf-8")
    asyncio.run(_trouble(read_configuration(material.configuration), clock))
    return material


def _write_configuration(material: Material, ports: Ports) -> None:
    material.configuration.write_text(
        f"""\
# Written by the demo at each start. Every other setting has its default; see docs/configuration.md.
state = "state"

[public]
name = "{cast.PUBLIC_HOST}"
listen = ["127.0.0.1:{ports.gateway}"]
certificate = "hosts/{cast.PUBLIC_HOST}.cert.pem"
key = "hosts/{cast.PUBLIC_HOST}.key.pem"

[certificate]
name = "{cast.CERTIFICATE_HOST}"
listen = ["127.0.0.1:{ports.gateway}"]
certificate = "hosts/{cast.CERTIFICATE_HOST}.cert.pem"
key = "hosts/{cast.CERTIFICATE_HOST}.key.pem"

[[trust.authorities]]
name = "demo-root"
certificate = "ca/root.cert.pem"
crls = [{{ source = "ca/root.crl.pem" }}]

[[trust.authorities]]
name = "demo-issuing"
certificate = "ca/issuing.cert.pem"
crls = [{{ source = "ca/issuing.crl.pem", refresh = 0.2 }}]

[legacy]
backends = ["http://127.0.0.1:{ports.bank}"]
home = "/home"
public_paths = ["/static/**"]
session_cookies = ["{SESSION_COOKIE}"]
guarded = ["/login", "/login/**"]

[legacy.login]
kind = "form"
page = "/login"
user_field = "loginId"
password_field = "password"
success = {{ status = [302], location = "/home$", cookie = "{SESSION_COOKIE}" }}
failures = [{{ status = [200], body = "正しくありません" }}]

[legacy.sign_out]
path = "/logout"
watched = ["/logout"]

[cooling_off]
rules = [{{ methods = ["POST"], paths = ["/transfer/**"] }}]

[operations]
listen = "127.0.0.1:{ports.operations}"
workers = 2

[pages]
bank_name_ja = "デモ信用組合"
bank_name_en = "Demo Credit Cooperative"
""",
        encoding="utf-8",
    )


async def _fill(material: Material, configuration: Configuration, clock: Clock) -> None:
    """Companies, users and registrations, as operators would have entered them."""
    await migrate(configuration.database_url, clock)
    store = await open_rows(configuration, clock)
    try:
        for company in cast.COMPANIES:
            await store.companies.create(company.company_id, company.name_ja, company.name_en, actor=_ACTOR)
        people = [
            NewUser(user.user_id, user.company_id, user.administrator, user.email, user.name) for user in cast.USERS
        ]
        await store.users.add(people, actor=_ACTOR)
        await _register(material, store, configuration, clock)
        for company in cast.COMPANIES:
            if company.method is not Method.PASSWORD:
                deadline = clock.now() + 30 * DAY if company.method is Method.MIGRATING else None
                await store.companies.set_method(company.company_id, company.method, deadline, actor=_ACTOR)
            if company.suspended:
                await store.companies.suspend(company.company_id, actor=_ACTOR)
        for user in cast.USERS:
            if user.trouble is Trouble.STOPPED:
                await store.users.stop(user.user_id, actor=_ACTOR)
    finally:
        await store.close()


async def _register(material: Material, store: Store, configuration: Configuration, clock: Clock) -> None:
    registered = {}
    for wanted in cast.CERTIFICATES:
        if wanted.defect is not Defect.UNREGISTERED:
            identity, not_after = material.certificates.identity(wanted.name)
            registered[wanted.name] = NewCertificate(identity, wanted.user_id, not_after)
    newer = registered.pop("newer")
    await store.certificates.register(list(registered.values()), actor=_ACTOR)
    # A renewal, before its first sign-in: the newer certificate beside the valid one. Then it signs in.
    database = Database(configuration.database_url, clock)
    try:
        async with database.writing("add the renewed certificate of the demo") as connection:
            row = {
                "issuer": newer.certificate.issuer,
                "serial": print_serial(newer.certificate.serial),
                "user_id": newer.user_id,
                "state": CertificateState.AWAITING,
                "not_after": newer.not_after,
                "registered": clock.now(),
            }
            await connection.execute(insert(certificates_table).values(row))
    finally:
        await database.close()
    await store.certificates.superseded_by_first_sign_in(newer.certificate)


async def _cool_off(configuration: Configuration, user_id: str, clock: Clock) -> None:
    """What is written when a reissued certificate is stored."""
    until = next_business_day(clock.now(), configuration.business_days)
    database = Database(configuration.database_url, clock)
    try:
        async with database.writing("let a user of the demo cool off") as connection:
            row = update(users_table).where(users_table.c.id == user_id).values(cooling_off_until=until)
            await connection.execute(row)
    finally:
        await database.close()


async def _trouble(configuration: Configuration, clock: Clock) -> None:
    """Lock out, as wrong passwords would, whom they locked out, and let cool off who was given a new certificate.

    Both pass, so this is done at each start.
    """
    store = await open_rows(configuration, clock)
    lockout = configuration.lockout
    try:
        for user in cast.USERS:
            if user.trouble is Trouble.COOLING_OFF:
                await _cool_off(configuration, user.user_id, clock)
            if user.trouble is Trouble.LOCKED_OUT:
                await store.users.release(user.user_id, actor=_ACTOR)
                for _ in range(lockout.wrong_passwords):
                    await store.attempts.begin_attempt(
                        user.user_id,
                        limit=lockout.wrong_passwords,
                        suspension=lockout.suspension,
                        suspensions=lockout.suspensions,
                    )
    finally:
        await store.close()
