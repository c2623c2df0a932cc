"""What each figure is to reach, by its name in the last line of the bench."""

from __future__ import annotations

from collections.abc import Mapping

#: Ratios, gateway to peer, that must be reached.
AT_LEAST = {
    "full_handshakes_vs_nginx": 2.2,
    "full_handshakes_vs_envoy": 0.85,
    "resumed_vs_nginx": 1.8,
    "handshakes_crl_100k_vs_nginx": 5.0,
    "handshakes_crl_1m_vs_nginx": 50.0,
    "requests_vs_nginx_auth_request": 1.0,
    "requests_vs_nginx_auth_request_go": 2.0,
    "requests_vs_nginx_lua": 1.0,
    "requests_vs_envoy_lua": 1.6,
    "bulk_vs_nginx": 1.3,
    "bulk_vs_envoy": 0.95,
    "request_two_workers_would_do": 1.8,
    "handshake_two_workers_would_do": 1.8,
    "handshakes_least_with_crl": 0.9,
    "requests_least_with_crl": 0.9,
}
#: What the other figures must stay below, in their own units.
AT_MOST = {
    "idle_kb_vs_nginx": 1.2,
    "requests_32_p99_vs_nginx_lua": 1.5,
    "requests_256_p99_vs_nginx_lua": 1.5,
    "new_crl_seconds_disturbed": 1.0,
    "new_crl_worker_mb_grown": 8.0,
    "revocation_worst_seconds": 1.0,
    "memory_moved_mb": 32.0,
}


def verdict(name: str, figure: float) -> str:
    """What is printed beside a figure; empty where it has no goal."""
    if name in AT_LEAST:
        return f"   goal >= {AT_LEAST[name]:g}: {'reached' if figure >= AT_LEAST[name] else 'MISSED'}"
    if name in AT_MOST:
        return f"   goal <= {AT_MOST[name]:g}: {'reached' if figure <= AT_MOST[name] else 'MISSED'}"
    return ""


def unmeasured(figures: Mapping[str, float]) -> list[str]:
    """The goals that a run says nothing of, so that none is left out silently."""
    return [name for name in (*AT_LEAST, *AT_MOST) if name not in figures]
