"""Certificate policies along a path (RFC 5280, section 6.1, with the graph of RFC 9618).

OpenSSL does process policies, but from Python its initial policy set cannot be filled, and an empty one makes it
refuse every path on which a CA requires a policy. So this is done here, with any policy being acceptable to the
gateway: what counts is that CAs which demand a common policy (``requireExplicitPolicy``) get one.

Only the lowest level of the graph is kept. Whether the graph is empty shows there, and nothing else is asked of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtensionOID

_ANY = x509.ObjectIdentifier("2.5.29.32.0")
#: Nodes of a level: a CA that says more is refused rather than followed (CVE-2023-0464).
_MOST = 512
_Value = TypeVar("_Value", bound=x509.ExtensionType)


@asn1.sequence
class _Mapping:
    """One entry of policyMappings (section 4.2.1.5)."""

    issuer_domain: x509.ObjectIdentifier
    subject_domain: x509.ObjectIdentifier


@asn1.sequence
class _Mappings:
    """What the library can take apart: a list as the one field of a sequence."""

    entries: list[_Mapping]


@asn1.sequence
class _Wrapped:
    """The sequence that makes a :class:`_Mappings` of a list."""

    entries: asn1.TLV


@dataclass(slots=True)
class _State:
    """The state variables of section 6.1.2: how many certificates until something is required or forbidden."""

    explicit: int
    mapping: int
    any_policy: int


class PolicyFault(Exception):
    """The path breaks what a CA on it demands of policies; says how."""


def require_policies(anchor: x509.Certificate, path: Sequence[x509.Certificate]) -> None:
    """Follow the policies of ``path``, from below ``anchor`` down to the client's certificate.

    What ``anchor`` itself demands is honoured as well (RFC 5937).

    Raises:
        PolicyFault: the path is not valid.
    """
    length = len(path)
    state = _State(length + 1, length + 1, length + 1)
    _tighten(anchor, state)
    #: The lowest level: valid policies and, of each, which policies of the next certificate continue it.
    level: dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]] = {_ANY: frozenset({_ANY})}
    for depth, certificate in enumerate(path, 1):
        last = depth == length
        self_issued = certificate.subject == certificate.issuer
        level = _next_level(certificate, level, state.any_policy > 0 or (self_issued and not last))
        if not level and state.explicit == 0:
            raise PolicyFault("a CA requires an explicit policy, and there is none common to all")
        if not last:
            level = _mapped(certificate, level, allowed=state.mapping > 0)
            if not self_issued:
                _count_down(state)
            _tighten(certificate, state)
    constraints = _value(path[-1], x509.PolicyConstraints)
    explicit = max(state.explicit - 1, 0)
    if constraints is not None and constraints.require_explicit_policy == 0:
        explicit = 0
    if not level and explicit == 0:
        raise PolicyFault("a CA requires an explicit policy, and there is none common to all")


def _next_level(
    certificate: x509.Certificate,
    level: dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]],
    any_counts: bool,
) -> dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]]:
    """Section 6.1.3, (d) and (e)."""
    policies = _value(certificate, x509.CertificatePolicies)
    if policies is None:
        return {}
    named = {information.policy_identifier for information in policies}
    expected = frozenset(one for node in level.values() for one in node)
    continued = {one: frozenset({one}) for one in named - {_ANY} if one in expected or _ANY in level}
    if _ANY in named and any_counts:
        continued |= {one: frozenset({one}) for one in expected}
    return _bounded(continued)


def _mapped(
    certificate: x509.Certificate,
    level: dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]],
    *,
    allowed: bool,
) -> dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]]:
    """Section 6.1.4, (a) and (b)."""
    mapped: dict[x509.ObjectIdentifier, set[x509.ObjectIdentifier]] = {}
    for one in _mappings(certificate):
        if _ANY in (one.issuer_domain, one.subject_domain):
            raise PolicyFault("a CA maps anyPolicy, which must not be")
        mapped.setdefault(one.issuer_domain, set()).add(one.subject_domain)
    following = dict(level)
    for policy, others in mapped.items():
        if not allowed:
            following.pop(policy, None)
        elif policy in level or _ANY in level:
            following[policy] = frozenset(others)
    return _bounded(following)


def _mappings(certificate: x509.Certificate) -> Iterable[_Mapping]:
    for extension in certificate.extensions:
        if extension.oid == ExtensionOID.POLICY_MAPPINGS and isinstance(extension.value, x509.UnrecognizedExtension):
            try:
                entries = asn1.decode_der(asn1.TLV, extension.value.value)
                return asn1.decode_der(_Mappings, asn1.encode_der(_Wrapped(entries=entries))).entries
            except ValueError as error:
                raise PolicyFault(f"a CA's policyMappings cannot be read: {error}") from error
    return ()


def _count_down(state: _State) -> None:
    """Section 6.1.4, (h)."""
    state.explicit = max(state.explicit - 1, 0)
    state.mapping = max(state.mapping - 1, 0)
    state.any_policy = max(state.any_policy - 1, 0)


def _tighten(certificate: x509.Certificate, state: _State) -> None:
    """Section 6.1.4, (i) and (j)."""
    constraints = _value(certificate, x509.PolicyConstraints)
    if constraints is not None:
        if constraints.require_explicit_policy is not None:
            state.explicit = min(state.explicit, constraints.require_explicit_policy)
        if constraints.inhibit_policy_mapping is not None:
            state.mapping = min(state.mapping, constraints.inhibit_policy_mapping)
    inhibited = _value(certificate, x509.InhibitAnyPolicy)
    if inhibited is not None:
        state.any_policy = min(state.any_policy, inhibited.skip_certs)


def _value(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)


def _bounded(
    level: dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]],
) -> dict[x509.ObjectIdentifier, frozenset[x509.ObjectIdentifier]]:
    if sum(map(len, level.values())) > _MOST:
        raise PolicyFault(f"its CAs map policies into more than {_MOST}")
    return level
