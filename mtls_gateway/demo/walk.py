"""Every case as a client meets it, in the order in which one customer after another would."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mtls_gateway.demo import walk_certificates as certificates
from mtls_gateway.demo import walk_disturbances as disturbances
from mtls_gateway.demo import walk_enrolment as enrolment
from mtls_gateway.demo import walk_signin as signin
from mtls_gateway.demo import walk_traffic as traffic
from mtls_gateway.demo.report import Report
from mtls_gateway.demo.visit import Visit

if TYPE_CHECKING:
    from mtls_gateway.demo.run import Running

#: The last ones break things: a certificate is revoked, a worker killed, the bank stopped.
PARTS: tuple[tuple[str, Callable[[Visit], None]], ...] = (
    ("the sign-in page", signin.the_sign_in_page),
    ("each certificate's refusal", signin.each_refusal),
    ("the certificate method", signin.the_certificate_method),
    ("a session is bound to its certificate", signin.the_session_is_bound),
    ("the legacy bank's own login", signin.the_legacy_login_is_guarded),
    ("the password method", signin.the_password_method),
    ("wrong passwords", signin.wrong_passwords_lock_out),
    ("what the client says of itself", traffic.nothing_the_client_says_is_believed),
    ("hosts", traffic.the_hosts_are_kept_apart),
    ("malformed requests", traffic.malformed_requests_are_refused),
    ("downloads, uploads, WebSocket", traffic.everything_passes_both_ways),
    ("one session per user", signin.one_session_per_user),
    ("sign-out", signin.sign_out_ends_both_sessions),
    ("a certificate's own page", certificates.the_page_of_a_certificate),
    ("cooling-off", certificates.cooling_off_after_a_reissue),
    ("administrators", certificates.an_administrator_revokes_a_members_certificate),
    ("from the letter to the certificate", enrolment.the_letter_leads_to_a_certificate),
    ("health and metrics", disturbances.health_and_metrics_answer),
    ("revocation", disturbances.revocation_reaches_everything_within_a_second),
    ("another certificate", disturbances.another_certificate_can_be_chosen),
    ("a killed worker", disturbances.a_killed_worker_is_replaced),
    ("the bank is down", disturbances.a_bank_that_is_down_is_said_to_be),
)


def walk(running: Running, report: Report) -> None:
    """Meet every case; what goes wrong within one part is a failed case, and the next is met all the same."""
    visit = Visit(running, report)
    for name, part in PARTS:
        with report.guarded(name):
            part(visit)
