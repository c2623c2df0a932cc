"""Every metric, in one place, so that the alert rules and the dashboard can be held against it.

Processes share their figures through prometheus_client's multi-process files: ``serve`` sets
``PROMETHEUS_MULTIPROC_DIR`` before anything imports this module. On the path of a request nothing
here is touched: workers count in plain integers and add them up once a second (``wire.tally``).

Labels have few values, all known beforehand: sites, codes, statuses, names of the configuration. Nothing that a
client sends is ever one.

Counters are those of all processes since ``serve`` began, also of processes that have ended; gauges only of those
that live (``app.figures``).
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# --- processes ----------------------------------------------------------------------------------
BUILD = Gauge(
    "mtls_gateway_build_info",
    "1, with the version that runs, and whether its path of a request is compiled (yes or no).",
    ["version", "compiled"],
    multiprocess_mode="mostrecent",
)
GENERATION_LOADED = Gauge(
    "mtls_gateway_generation_loaded_timestamp_seconds",
    "When the configuration in force was loaded, POSIX.",
    multiprocess_mode="mostrecent",
)
RELOADS = Counter(
    "mtls_gateway_reloads_total",
    "New generations, and programs, asked for: taken, or refused and everything stays.",
    ["outcome"],
)
WORKERS = Gauge("mtls_gateway_workers", "Processes that serve, by role.", ["role"], multiprocess_mode="livesum")
WORKER_EXITS = Counter(
    "mtls_gateway_worker_exits_total",
    "Worker processes that have ended: asked to, hung and killed for it, or died.",
    ["role", "cause"],
)
FORK_PAUSES = Counter(
    "mtls_gateway_fork_pauses_total", "Pauses before a process is started again that ended before it served.", ["role"]
)
READY = Gauge("mtls_gateway_ready", "1 where a check of /readyz passes.", ["check"], multiprocess_mode="livemostrecent")
STATE_FREE = Gauge(
    "mtls_gateway_state_free_octets",
    "What can still be written to the file system of the state directory.",
    multiprocess_mode="livemostrecent",
)
STATE_SIZE = Gauge(
    "mtls_gateway_state_size_octets",
    "The size of the file system of the state directory.",
    multiprocess_mode="livemostrecent",
)

# --- census: what the rows say, for all nodes together ------------------------------------------
SESSIONS = Gauge("mtls_gateway_sessions", "Live sessions, by method.", ["method"], multiprocess_mode="livemostrecent")
SESSIONS_KNOWN = Gauge(
    "mtls_gateway_sessions_known",
    "Sessions that workers know and need not ask the database for, added up over all of them.",
    multiprocess_mode="livesum",
)
USERS_LOCKED = Gauge(
    "mtls_gateway_users_locked",
    "Users who cannot sign in now: suspended for a while, or stopped until the bank releases them.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
CERTIFICATES = Gauge(
    "mtls_gateway_certificates",
    "Registered certificates by state: intended (not signed yet), awaiting (their first sign-in), valid.",
    ["state"],
    multiprocess_mode="livemostrecent",
)
CERTIFICATES_ENDING = Gauge(
    "mtls_gateway_certificates_ending",
    "Valid certificates that end within so many days.",
    ["days"],
    multiprocess_mode="livemostrecent",
)

# --- wire ---------------------------------------------------------------------------------------
CONNECTIONS = Gauge("mtls_gateway_connections", "Open client connections.", ["site"], multiprocess_mode="livesum")
HANDSHAKES = Counter("mtls_gateway_handshakes_total", "TLS handshakes by how they ended.", ["site", "outcome"])
REQUESTS = Counter("mtls_gateway_requests_total", "Requests answered.", ["site", "route", "status"])
REQUEST_SECONDS = Histogram(
    "mtls_gateway_request_seconds",
    "From the head read to the answer's last octet written.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
MALFORMED = Counter(
    "mtls_gateway_malformed_requests_total", "Requests refused before admission, by reason.", ["reason"]
)
LIMIT_REFUSALS = Counter("mtls_gateway_limit_refusals_total", "Connections and requests refused by a limit.", ["limit"])
LIMITS_REACHED = Counter(
    "mtls_gateway_limits_reached_total",
    "Limits that came into force and refused nobody: somebody waited, or was asked to connect anew.",
    ["limit"],
)
PROXY_REFUSALS = Counter(
    "mtls_gateway_proxy_header_refusals_total",
    "Connections behind a balancer refused by their PROXY header, or for want of one, by reason.",
    ["reason"],
)
TIMEOUTS = Counter("mtls_gateway_timeouts_total", "Connections ended by a time-out.", ["timeout"])
ACCESS_LOG_LOST = Counter("mtls_gateway_access_log_lost_total", "Lines of the access log that could not be written.")
OCTETS = Counter("mtls_gateway_octets_total", "Octets of bodies relayed.", ["direction"])
BACKEND_CONNECTIONS = Gauge(
    "mtls_gateway_backend_connections", "Connections to backends.", ["backend", "state"], multiprocess_mode="livesum"
)
BACKEND_FAILURES = Counter(
    "mtls_gateway_backend_failures_total", "Exchanges that a backend failed, by reason.", ["backend", "reason"]
)
BACKEND_USABLE = Gauge(
    "mtls_gateway_backend_usable",
    "Workers that send requests to the backend; 0: none does, it is down or ejected.",
    ["backend"],
    multiprocess_mode="livesum",
)
BACKEND_REQUESTS = Gauge(
    "mtls_gateway_backend_requests",
    "Requests under way at the backend, or waiting for a connection to it.",
    ["backend"],
    multiprocess_mode="livesum",
)
BACKEND_EJECTIONS = Counter(
    "mtls_gateway_backend_ejections_total",
    "Times that a worker sent a backend nothing more, by what was wrong: connect, answer, check.",
    ["backend", "cause"],
)
BACKEND_CHECKS = Counter(
    "mtls_gateway_backend_checks_total", "Active health checks, by how they ended.", ["backend", "outcome"]
)
BACKEND_REFUSALS = Counter(
    "mtls_gateway_backend_refusals_total",
    "Requests answered 503 at once: all backends were out, or that of the session was.",
    ["out"],
)
CUTS = Counter("mtls_gateway_cut_connections_total", "Connections cut while open, by cause.", ["cause"])

# --- trust --------------------------------------------------------------------------------------
CRL_SECONDS_LEFT = Gauge(
    "mtls_gateway_crl_seconds_left",
    "Until nextUpdate; negative when stale.",
    ["authority"],
    multiprocess_mode="mostrecent",
)
CRL_THIS_UPDATE = Gauge(
    "mtls_gateway_crl_this_update_timestamp_seconds",
    "When the oldest list in force was made, POSIX.",
    ["authority"],
    multiprocess_mode="mostrecent",
)
CRL_NEXT_UPDATE = Gauge(
    "mtls_gateway_crl_next_update_timestamp_seconds",
    "The earliest nextUpdate of the lists in force, POSIX; unlike the seconds left it needs no clerk to be true.",
    ["authority"],
    multiprocess_mode="mostrecent",
)
CRL_ENTRIES = Gauge(
    "mtls_gateway_crl_entries", "Revoked serials in force.", ["authority"], multiprocess_mode="mostrecent"
)
CRL_REFUSALS = Counter(
    "mtls_gateway_crl_refusals_total", "CRLs not taken, by reason; the last good one stays.", ["authority", "reason"]
)
CRL_TAKEN = Counter("mtls_gateway_crl_taken_total", "CRLs taken into use.", ["authority"])
AUTHORITY_NOT_AFTER = Gauge(
    "mtls_gateway_authority_not_after_seconds",
    "When a CA certificate ends, POSIX.",
    ["authority"],
    multiprocess_mode="mostrecent",
)
HOST_NOT_AFTER = Gauge(
    "mtls_gateway_host_certificate_not_after_seconds",
    "When a host's certificate ends, POSIX.",
    ["site"],
    multiprocess_mode="mostrecent",
)

# --- signin -------------------------------------------------------------------------------------
ADMISSIONS = Counter(
    "mtls_gateway_admissions_total", "Requests by what the gate said: admitted, or why not.", ["site", "verdict"]
)
SERVICE_CLOSED = Gauge(
    "mtls_gateway_service_closed",
    "1 while the bank has closed the service, at once or for maintenance.",
    multiprocess_mode="livemax",
)
SIGN_INS = Counter(
    "mtls_gateway_sign_ins_total",
    "Passwords tried by method (confirmation: asked for again from somebody who is signed in) and how that ended.",
    ["method", "outcome"],
)
SESSIONS_ENDED = Counter("mtls_gateway_sessions_ended_total", "Sessions ended, by cause.", ["cause"])
SUSPENSIONS = Counter("mtls_gateway_user_suspensions_total", "Users suspended for wrong passwords.", ["kind"])
LEGACY_LOGIN_SECONDS = Histogram(
    "mtls_gateway_legacy_login_seconds",
    "Replay of the legacy login form.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)

# --- issuance -----------------------------------------------------------------------------------
ENROLMENTS = Counter(
    "mtls_gateway_enrolments_total", "Certificates asked for, by way and by how that ended.", ["way", "outcome"]
)

NOTICES = Counter(
    "mtls_gateway_expiry_notices_total",
    "Expiry notices given, by days before the end; counted: without a mail, e.g. because it was renewed.",
    ["notice", "outcome"],
)
SWEEP_SECONDS = Gauge(
    "mtls_gateway_expiry_sweep_seconds", "How long the last sweep has taken.", multiprocess_mode="mostrecent"
)
SWEPT = Gauge(
    "mtls_gateway_expiry_swept_timestamp_seconds",
    "When the last sweep that came to its end began, POSIX.",
    multiprocess_mode="mostrecent",
)
CLOCK_JUMPS = Counter(
    "mtls_gateway_clock_jumps_total", "The clock went ahead by more than is believed; notices are held."
)
OWN_CRLS = Counter("mtls_gateway_own_crls_total", "CRLs of the signer's issuers, by how that ended.", ["outcome"])
OWN_CRL_NUMBER = Gauge(
    "mtls_gateway_own_crl_number", "The last one that was published.", ["issuer"], multiprocess_mode="mostrecent"
)
OWN_CRL_SIGNED = Gauge(
    "mtls_gateway_own_crl_timestamp_seconds",
    "thisUpdate of the last one that was published, POSIX.",
    ["issuer"],
    multiprocess_mode="mostrecent",
)
OWN_CRL_ENTRIES = Gauge(
    "mtls_gateway_own_crl_entries",
    "What the last one that was published lists.",
    ["issuer"],
    multiprocess_mode="mostrecent",
)

# --- mail ---------------------------------------------------------------------------------------
MAILS = Counter("mtls_gateway_mails_total", "Mails by kind and by how an attempt to send ended.", ["kind", "outcome"])
MAILS_WAITING = Gauge("mtls_gateway_mails_waiting", "Mails that are due and not sent.", multiprocess_mode="mostrecent")
MAIL_OLDEST = Gauge(
    "mtls_gateway_mail_oldest_waiting_seconds",
    "For how long the oldest of them has waited.",
    multiprocess_mode="mostrecent",
)
MAIL_SERVER_FAILURES = Counter(
    "mtls_gateway_mail_server_failures_total",
    "Times that the mail server was away or refused all, by reason.",
    ["reason"],
)

# --- clerk --------------------------------------------------------------------------------------
CLERK_LEADING = Gauge("mtls_gateway_clerk_leading", "1 where the active clerk is.", multiprocess_mode="livesum")
CLERK_DUTIES = Counter(
    "mtls_gateway_clerk_duties_total", "Rounds of the active clerk, by duty and by how they ended.", ["duty", "outcome"]
)

# --- store --------------------------------------------------------------------------------------
CHANGES_SEQUENCE = Gauge(
    "mtls_gateway_changes_sequence",
    "Last change that all workers of a role have applied.",
    ["role"],
    multiprocess_mode="livemin",
)
CHANGES_POLLED = Gauge(
    "mtls_gateway_changes_polled_timestamp_seconds",
    "When the worker that has heard nothing for longest last read the feed, POSIX.",
    ["role"],
    multiprocess_mode="livemin",
)
STORE_FAILURES = Counter(
    "mtls_gateway_store_failures_total", "Questions that the database did not answer.", ["operation"]
)

# --- signer -------------------------------------------------------------------------------------
SIGNATURES = Counter(
    "mtls_gateway_signatures_total", "Orders that the signer has answered, by how they ended.", ["kind", "outcome"]
)
SIGNER_REFUSALS = Counter("mtls_gateway_signer_refusals_total", "Orders that the signer refused, by rule.", ["rule"])
SIGNATURE_SECONDS = Histogram(
    "mtls_gateway_signature_seconds",
    "From an order read to its signature written down; orders that come together share it.",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SIGNER_LAST_MINUTE = Gauge(
    "mtls_gateway_signer_last_minute", "Orders that count against the limit.", ["kind"], multiprocess_mode="mostrecent"
)
SIGNER_JOURNAL_RECORDS = Gauge(
    "mtls_gateway_signer_journal_records", "Records in the signer's journal.", multiprocess_mode="mostrecent"
)
ISSUER_NOT_AFTER = Gauge(
    "mtls_gateway_issuer_not_after_seconds",
    "When an issuing CA's certificate ends, POSIX.",
    ["issuer"],
    multiprocess_mode="mostrecent",
)
