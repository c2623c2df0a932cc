"""What can go wrong, and whose fault it was.

::

    GatewayError                 one line that says what, where and what to do
    ├── ConfigurationError       the operator's: a file or key of the configuration (exit status 2)
    ├── UsageError               the operator's: the words of a command (exit status 2)
    ├── StateError               nobody's: the state of things forbids it, e.g. a user that exists (exit status 1)
    │   ├── EnrolmentConflict    the request for a certificate cannot be met as things stand; ``reason`` says which
    │   └── MemberRefused        an administrator may not act for that user, or there is nothing to do; ``reason`` too
    ├── StoreUnavailable         the machine's: the database does not answer (nothing new is admitted)
    ├── TrustMaterialError       the bank's: a CA certificate or a CRL cannot be used
    ├── SignerUnavailable        the machine's: the signer does not answer, or asks to wait (nothing is issued)
    ├── SignerRefused            the order's: it breaks a rule of the signer's, and nothing was signed for it
    ├── MailServerAway           the mail server's: it is down, slow, not to be trusted or refuses all (mails wait)
    └── LegacyUnavailable        the legacy backend's: it is down, slow or talks nonsense

Errors of a single request are not exceptions but values: see ``wire.refusal`` and ``trust.verdict``.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of every error that is meant to be read by a person; ``str()`` is one line."""

    exit_status = 1


class ConfigurationError(GatewayError):
    """The configuration cannot be used; names the file, the key and the cause."""

    exit_status = 2

    def __init__(self, file: str, key: str, cause: str) -> None:
        self.file = file
        self.key = key
        self.cause = cause
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {cause}")


class UsageError(GatewayError):
    """A command was given words that do not fit; says which would."""

    exit_status = 2


class StateError(GatewayError):
    """The request was understood, but the present state of things forbids it."""


class EnrolmentConflict(StateError):
    """A certificate cannot be issued as things stand; ``reason`` is a stable word that the pages and EST know."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no certificate can be issued: {reason.replace('_', ' ')}")


class MemberRefused(StateError):
    """An administrator of a company asked for something that cannot be; ``reason`` is a stable word of the pages.

    ``no_such_member`` (why not is not said), ``nothing_to_revoke``, ``never_acquired``, ``password_method`` or
    ``letter_due``.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"nothing can be done for this member: {reason.replace('_', ' ')}")


class StoreUnavailable(GatewayError):
    """The database cannot be reached or refuses; what depended on it was not done."""


class FellBehind(GatewayError):
    """Changes were pruned before this reader saw them: it must forget all it holds and go on from the latest."""


class TrustMaterialError(GatewayError):
    """A CA certificate or a CRL cannot be used; names the file or address and the cause."""

    def __init__(self, source: str, cause: str, reason: str) -> None:
        self.source = source
        self.cause = cause
        #: A stable word for the metric, e.g. ``signature``, ``rolled_back``, ``oversized``.
        self.reason = reason
        super().__init__(f"{source}: {cause}")


class SignerUnavailable(GatewayError):
    """The signer does not answer, or asks to wait; the same order again is always safe."""


class SignerRefused(GatewayError):
    """An order breaks a rule of the signer's; nothing was signed for it, now or before."""

    def __init__(self, rule: str, cause: str) -> None:
        #: A stable word for the metric, e.g. ``validity``, ``key_type``, ``serial_used``.
        self.rule = rule
        self.cause = cause
        super().__init__(f"the signer refuses ({rule}): {cause}")


class MailServerAway(GatewayError):
    """The mail server cannot be reached, trusted or signed in to, or is silent; no mail has failed for that."""

    def __init__(self, reason: str, cause: str, *, may_have_it: bool) -> None:
        #: A stable word for the metric, e.g. ``unreachable``, ``tls``, ``slow``.
        self.reason = reason
        #: The mail that it was given last may have been accepted.
        self.may_have_it = may_have_it
        super().__init__(cause)


class LegacyUnavailable(GatewayError):
    """The legacy backend did not answer as a web application does."""


class LegacyUnreachable(LegacyUnavailable):
    """No connection was made: nothing was sent, and another backend may be asked."""
