"""From a TOML file to a frozen, validated configuration.

What was read is a plain ``dict``; what was validated is a :class:`Configuration`, and nothing
but :mod:`.reading` can make one from the other. Every room is given its own slice. A process keeps
the configuration that it started with for life: a reload is a new generation of processes.

Every number is a default of ``docs/configuration.md`` and one setting. Times are seconds, sizes octets.
"""

from mtls_gateway.config.bounds import Limits, Timeouts
from mtls_gateway.config.configuration import Configuration
from mtls_gateway.config.cooling_off import BusinessDays, CoolingOff, CoolingOffRule
from mtls_gateway.config.hosts import Host, Tls
from mtls_gateway.config.issuance import EnrolmentCodes, Issuance, OwnCrls
from mtls_gateway.config.legacy import (
    Answer,
    Ejection,
    Guarded,
    GuardedRequest,
    HealthCheck,
    Legacy,
    LegacyForm,
    LocalPasswords,
    Seen,
    SignOut,
)
from mtls_gateway.config.notices import Mail, Notices
from mtls_gateway.config.operations import Operations, Store
from mtls_gateway.config.pages import Letter, Pages
from mtls_gateway.config.reading import read_configuration, validate_configuration
from mtls_gateway.config.signer import PemKey, Pkcs11Key, Signer, SignerIssuer
from mtls_gateway.config.signing_in import Browser, Browsers, Lockout, Sessions
from mtls_gateway.config.trust import Authority, Crl, Trust
from mtls_gateway.config.values import (
    Count,
    CrlSource,
    Endpoint,
    Expression,
    File,
    HostName,
    HttpAddress,
    LogFile,
    MailAddress,
    Network,
    Octets,
    Parameter,
    PathPattern,
    Seconds,
    SecretSource,
    Section,
)

__all__ = [
    "Answer",
    "Authority",
    "Browser",
    "Browsers",
    "BusinessDays",
    "Configuration",
    "CoolingOff",
    "CoolingOffRule",
    "Count",
    "Crl",
    "CrlSource",
    "Ejection",
    "Endpoint",
    "EnrolmentCodes",
    "Expression",
    "File",
    "Guarded",
    "GuardedRequest",
    "HealthCheck",
    "Host",
    "HostName",
    "HttpAddress",
    "Issuance",
    "Legacy",
    "LegacyForm",
    "Letter",
    "Limits",
    "LocalPasswords",
    "Lockout",
    "LogFile",
    "Mail",
    "MailAddress",
    "Network",
    "Notices",
    "Octets",
    "Operations",
    "OwnCrls",
    "Pages",
    "Parameter",
    "PathPattern",
    "PemKey",
    "Pkcs11Key",
    "Seconds",
    "SecretSource",
    "Section",
    "Seen",
    "Sessions",
    "SignOut",
    "Signer",
    "SignerIssuer",
    "Store",
    "Timeouts",
    "Tls",
    "Trust",
    "read_configuration",
    "validate_configuration",
]
