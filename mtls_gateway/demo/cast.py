"""Who is in the demo: companies, users and certificates, one for every case that the gateway tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from mtls_gateway.model import Code, Method

#: Opens every PKCS#12 file of the demo.
PKCS12_PASSWORD: Final = "demo"

PUBLIC_HOST: Final = "bank.localhost"
CERTIFICATE_HOST: Final = "cert.bank.localhost"


@dataclass(frozen=True, slots=True)
class DemoCompany:
    """A contract."""

    company_id: str
    name_ja: str
    name_en: str
    method: Method = Method.CERTIFICATE
    suspended: bool = False


class Trouble(str, Enum):
    """What is done to a user after it was made."""

    STOPPED = "stopped by the bank"
    LOCKED_OUT = "locked out by wrong passwords"
    COOLING_OFF = "cooling off after a reissue"


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user; its password at the legacy bank is :attr:`password`."""

    user_id: str
    company_id: str
    name: str
    trouble: Trouble | None = None
    administrator: bool = False

    @property
    def email(self) -> str:
        """Where its mails would go: a domain that nobody can have (RFC 2606)."""
        return f"{self.user_id}@{self.company_id}.example"

    @property
    def password(self) -> str:
        """Known to everybody: this is a demo."""
        return f"demo-{self.user_id}"


class Defect(str, Enum):
    """What is wrong with a certificate."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    REVOKED = "revoked"
    UNKNOWN_ISSUER = "of another bank's CA"
    WRONG_USAGE = "for servers only"
    UNREGISTERED = "not registered"
    SUPERSEDED = "superseded by a newer one"
    ENDING = "about to expire"


@dataclass(frozen=True, slots=True)
class DemoCertificate:
    """A certificate; ``name`` is its files' name. ``code``: the refusal that it meets, None: it is let in."""

    name: str
    user_id: str
    says: str
    code: Code | None = None
    defect: Defect | None = None


COMPANIES: Final = (
    DemoCompany("yamada", "株式会社山田商店", "Yamada Shoten"),
    DemoCompany("suzuki", "鈴木工業有限会社", "Suzuki Kogyo", suspended=True),
    DemoCompany("tanaka", "田中建設株式会社", "Tanaka Kensetsu", method=Method.PASSWORD),
    DemoCompany("sato", "佐藤水産株式会社", "Sato Suisan", method=Method.MIGRATING),
)

USERS: Final = (
    DemoUser("yamada01", "yamada", "山田 太郎", administrator=True),
    DemoUser("yamada02", "yamada", "山田 花子"),
    DemoUser("yamada03", "yamada", "佐々木 健"),
    DemoUser("yamada04", "yamada", "小林 由美"),
    DemoUser("yamada05", "yamada", "加藤 誠"),
    DemoUser("yamada06", "yamada", "吉田 恵子"),
    DemoUser("yamada07", "yamada", "山本 大輔"),
    DemoUser("yamada08", "yamada", "松本 さくら"),
    DemoUser("yamada09", "yamada", "井上 隆"),
    DemoUser("yamada10", "yamada", "木村 直子", Trouble.STOPPED),
    DemoUser("yamada11", "yamada", "林 和也", Trouble.LOCKED_OUT),
    DemoUser("yamada12", "yamada", "清水 美咲"),
    DemoUser("yamada13", "yamada", "斎藤 浩", Trouble.COOLING_OFF),
    DemoUser("yamada14", "yamada", "山口 真理"),
    DemoUser("yamada15", "yamada", "中島 修"),
    DemoUser("suzuki01", "suzuki", "鈴木 一郎"),
    DemoUser("tanaka01", "tanaka", "田中 実"),
    DemoUser("tanaka02", "tanaka", "田中 明美"),
    DemoUser("sato01", "sato", "佐藤 進"),
    DemoUser("sato02", "sato", "佐藤 洋子"),
    DemoUser("sato03", "sato", "佐藤 剛"),
)

CERTIFICATES: Final = (
    DemoCertificate("good", "yamada01", "is let in; administers the company's members"),
    DemoCertificate("good-second-user", "yamada02", "is let in; on the same PC as the first"),
    DemoCertificate("expired", "yamada03", "has expired", Code.CERTIFICATE_EXPIRED, Defect.EXPIRED),
    DemoCertificate(
        "not-yet-valid", "yamada04", "is not valid yet", Code.CERTIFICATE_NOT_YET_VALID, Defect.NOT_YET_VALID
    ),
    DemoCertificate("revoked", "yamada05", "is on the CRL", Code.CERTIFICATE_REVOKED, Defect.REVOKED),
    DemoCertificate("unknown-issuer", "yamada06", "is another CA's", Code.ISSUER_UNKNOWN, Defect.UNKNOWN_ISSUER),
    DemoCertificate("wrong-usage", "yamada07", "is for servers only", Code.CERTIFICATE_WRONG_USAGE, Defect.WRONG_USAGE),
    DemoCertificate(
        "unregistered", "yamada08", "is registered for nobody", Code.CERTIFICATE_NOT_REGISTERED, Defect.UNREGISTERED
    ),
    DemoCertificate(
        "superseded", "yamada09", "has a newer one beside it", Code.CERTIFICATE_SUPERSEDED, Defect.SUPERSEDED
    ),
    DemoCertificate("newer", "yamada09", "is let in; the newer one"),
    DemoCertificate("stopped-user", "yamada10", "user stopped by the bank", Code.USER_STOPPED),
    DemoCertificate("locked-out-user", "yamada11", "user locked out for 30 minutes", Code.USER_SUSPENDED),
    DemoCertificate("revoked-later", "yamada12", "is let in; demo-check revokes it under way"),
    DemoCertificate("reissued", "yamada13", "is let in; POST /transfer is refused until tomorrow (cooling-off)"),
    DemoCertificate("revoked-by-administrator", "yamada14", "is let in; demo-check's administrator revokes it"),
    DemoCertificate("ending", "yamada15", "is let in; a notice says that it ends soon", defect=Defect.ENDING),
    DemoCertificate("suspended-company", "suzuki01", "company suspended", Code.COMPANY_SUSPENDED),
    DemoCertificate(
        "password-company",
        "tanaka01",
        "company on the password method",
        Code.COMPANY_NOT_ON_CERTIFICATE_METHOD,
    ),
    DemoCertificate("migrating-company", "sato01", "is let in; has switched before the company's deadline"),
)

#: Sign in with ID + password: their companies are on the password method, or have not switched them yet.
PASSWORD_USERS: Final = ("tanaka02", "sato02")

#: Has a procedure letter with an enrolment code, and no certificate yet.
APPLICANT: Final = "sato03"


def user(user_id: str) -> DemoUser:
    """The user of that ID."""
    return next(user for user in USERS if user.user_id == user_id)


def certificate(name: str) -> DemoCertificate:
    """The certificate of that name."""
    return next(certificate for certificate in CERTIFICATES if certificate.name == name)
