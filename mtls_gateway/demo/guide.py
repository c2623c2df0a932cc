"""What a person is told before ``ready``: addresses, accounts, how the certificates get into a browser."""

from __future__ import annotations

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PKCS12_PASSWORD, PUBLIC_HOST
from mtls_gateway.demo.material import Material, Ports


def whole(material: Material, ports: Ports) -> str:
    """Everything, in the order in which one needs it."""
    parts = [addresses(material, ports), accounts(material), enrolling(material, ports), importing(material)]
    return "\n\n".join([*parts, curl(material, ports)])


def addresses(material: Material, ports: Ports) -> str:
    """Where everything listens; all of it on loopback."""
    rows = (
        ("sign-in page", f"https://{PUBLIC_HOST}:{ports.gateway}/"),
        ("certificate host", f"https://{CERTIFICATE_HOST}:{ports.gateway}/"),
        ("health, metrics", f"http://127.0.0.1:{ports.operations}/readyz  /healthz  /metrics"),
        (
            "the legacy bank",
            f"http://127.0.0.1:{ports.bank}/login  (what is behind the gateway; browsers never go there)",
        ),
        ("configuration", str(material.configuration)),
        ("logs", f"{material.log('gateway')}  {material.log('bank')}"),
    )
    return _titled("Addresses", [f"{name:<18} {where}" for name, where in rows])


def accounts(material: Material) -> str:
    """Who has which certificate, and what becomes of it."""
    lines = [f"{'certificate':<24} {'user ID':<10} {'password':<15} what it meets"]
    for certificate in cast.CERTIFICATES:
        user = cast.user(certificate.user_id)
        met = certificate.says if certificate.code is None else f"{certificate.says}: {certificate.code.value}"
        lines.append(f"{certificate.name:<24} {user.user_id:<10} {user.password:<15} {met}")
    for user_id in cast.PASSWORD_USERS:
        user = cast.user(user_id)
        lines.append(f"{'(none)':<24} {user.user_id:<10} {user.password:<15} signs in with ID + password")
    lines.append("")
    lines.append("電子証明書の管理, on the sign-in page, leads to each certificate's page, and yamada01 to its members")
    lines.append(f"Files: {material.certificates.users}/NAME.p12 (password: {PKCS12_PASSWORD}) and NAME.pem")
    return _titled("Certificates and accounts", lines)


def enrolling(material: Material, ports: Ports) -> str:
    """How a user who has only just got the letter comes to a certificate."""
    user = cast.user(cast.APPLICANT)
    code = material.enrolment_code.read_text().strip()
    server = f"https://{PUBLIC_HOST}:{ports.gateway}"
    return _titled(
        f"A new certificate for {user.user_id} (password {user.password})",
        [
            f"procedure letter {material.letter}",
            f"enrolment code   {code}  (good once)",
            f"in a browser     {server}/ → 電子証明書発行; the app itself is for Windows, so on Linux then:",
            f"  mtls-gateway enrol --server {server} --user {user.user_id} --ca {material.certificates.server_ca} \\",
            "    --connect 127.0.0.1      # asks for code and password; it is .venv/bin/mtls-gateway after make setup",
        ],
    )


def importing(material: Material) -> str:
    """Into each browser's store."""
    server_ca, folder = material.certificates.server_ca, material.certificates.users
    return _titled(
        "Into a browser",
        [
            "Chromium, Chrome, Edge on Linux (certutil, pk12util: apt-get install libnss3-tools):",
            '  mkdir -p "$HOME/.pki/nssdb"; certutil -d sql:"$HOME/.pki/nssdb" -N --empty-password  # if it is new',
            f'  certutil -d sql:"$HOME/.pki/nssdb" -A -t C,, -n mtls-gateway-demo -i {server_ca}',
            f'  pk12util -d sql:"$HOME/.pki/nssdb" -i {folder}/good.p12 -W {PKCS12_PASSWORD}',
            "Windows (Edge, Chrome), in a command prompt:",
            f"  certutil -user -addstore Root {server_ca.name}",
            f"  certutil -user -p {PKCS12_PASSWORD} -importpfx good.p12",
            "Firefox: Settings, Privacy & Security, View Certificates:",
            f"  Authorities, Import {server_ca.name}; Your Certificates, Import good.p12",
            'To remove them again (Linux): certutil -d sql:"$HOME/.pki/nssdb" -D -n mtls-gateway-demo',
        ],
    )


def curl(material: Material, ports: Ports) -> str:
    """The same without a browser."""
    url = f"https://{CERTIFICATE_HOST}:{ports.gateway}/"
    # Who does not ask for a page gets none: scripts are told by the status alone.
    command = f"curl -iL -H 'Accept: text/html' --cacert {material.certificates.server_ca}"
    return _titled(
        "With curl (it resolves names below localhost to loopback by itself)",
        [
            f"{command} https://{PUBLIC_HOST}:{ports.gateway}/",
            f"{command} --cert {material.certificates.user('good')} {url}",
            f"{command} --cert {material.certificates.user('expired')} {url}",
        ],
    )


def _titled(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}" if line else "" for line in lines)])
