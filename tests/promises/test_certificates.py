"""(issuer, serial) is what maps to a user, as numbers; and only of the certificate whose key was proven."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import CertificateId, Code, print_serial
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority
from tests.promises.whole_gateway import Person, WholeGateway

#: Short ones, an odd number of digits, the high bit set (DER puts a zero before it), 20 octets, the largest there is.
SERIALS = [
    0x01,
    0x0A,
    0x7F,
    0x80,
    0x00FF,
    0x0123456789ABCDEF,
    int("00" * 6 + "42" * 8, 16),
    int("80" + "00" * 18, 16),
    int("7f" + "ff" * 19, 16),
]


@pytest.fixture(scope="module")
def issuing(gateway: WholeGateway) -> Authority:
    return Authority.loaded(gateway.material.certificates.authority, "issuing")


@pytest.fixture(scope="module")
def second(gateway: WholeGateway) -> Authority:
    return Authority.loaded(gateway.material.directory, "second")


def registered(gateway: WholeGateway, authority: Authority, folder: Path, serial: int) -> Person:
    identity, pem = authority.leaf(folder, serial=serial)
    user_id = gateway.new_user()
    gateway.register(NewCertificate(identity, user_id))
    return Person(user_id, identity, pem)


def front_page(gateway: WholeGateway, pem: Path) -> str:
    return place(gateway.browser(pem).get(CERTIFICATE_HOST, "/"))


@pytest.mark.parametrize("serial", SERIALS, ids=print_serial)
def test_a_serial_of_any_length_maps_to_its_user(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path, serial: int
) -> None:
    person = registered(gateway, issuing, tmp_path, serial)
    # Fails unless the bank greets that very user.
    gateway.signed_in(person)


@pytest.mark.parametrize("written", ["00:1a:2B:3c", "001A2B3C4D", "1a 2b 3c 4e", "000000000000000000001a2b3c4f"])
def test_a_serial_is_imported_from_any_way_to_write_it_in_hexadecimal(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path, written: str
) -> None:
    serial = int(written.replace(":", "").replace(" ", ""), 16)
    identity, pem = issuing.leaf(tmp_path, serial=serial)
    user_id = gateway.new_user()
    rows = tmp_path / "rows.csv"
    rows.write_text(f"issuer,serial_hex,user_id\ndemo-issuing,{written},{user_id}\n")
    gateway.cli("certificate", "import", str(rows))
    gateway.signed_in(Person(user_id, identity, pem))


def test_a_serial_in_decimal_and_the_same_digits_in_hexadecimal_are_two_certificates(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path
) -> None:
    hexadecimal, decimal = gateway.new_user(), gateway.new_user()
    first, first_pem = issuing.leaf(tmp_path, serial=0x90010)
    second, second_pem = issuing.leaf(tmp_path, serial=90010)
    header = "issuer,serial_hex,serial_decimal,user_id\n"
    rows = tmp_path / "rows.csv"
    rows.write_text(f"{header}demo-issuing,90010,,{hexadecimal}\ndemo-issuing,,90010,{decimal}\n")
    gateway.cli("certificate", "import", str(rows))
    gateway.signed_in(Person(hexadecimal, first, first_pem))
    gateway.signed_in(Person(decimal, second, second_pem))


def test_the_same_serial_from_two_issuers_is_two_users(
    gateway: WholeGateway, issuing: Authority, second: Authority, tmp_path: Path
) -> None:
    serial = 0x5EED
    one, other = (registered(gateway, authority, tmp_path, serial) for authority in (issuing, second))
    assert one.certificate.serial == other.certificate.serial
    gateway.signed_in(one)
    gateway.signed_in(other)
    # And revoking the one leaves the other.
    gateway.cli("certificate", "revoke", print_serial(serial), "--issuer", one.certificate.issuer)
    assert front_page(gateway, other.pem) == "password page"
    revoked = Code.CERTIFICATE_REVOKED.value
    assert within_a_second(lambda: front_page(gateway, one.pem), revoked) == revoked
    assert front_page(gateway, other.pem) == "password page"


def test_the_same_serial_of_an_issuer_that_is_not_in_the_bundle_is_nobody(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path
) -> None:
    person = registered(gateway, issuing, tmp_path, 0x5EED2)
    # The same name and the same serial, but another key.
    impostor = Authority.made(tmp_path, "impostor")
    forged = Authority(tmp_path, "forged", type(issuing.signer)(issuing.signer.certificate, impostor.signer.key))
    identity, pem = forged.leaf(tmp_path, serial=0x5EED2)
    assert identity == person.certificate
    assert front_page(gateway, pem) == Code.ISSUER_UNKNOWN.value
    assert front_page(gateway, person.pem) == "password page"


@pytest.mark.parametrize("stuffed", ["another user's", "the issuing CA's", "a forged issuer's", "many"])
def test_certificates_stuffed_into_the_chain_are_ignored(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path, stuffed: str
) -> None:
    """CVE-2023-2422: only the certificate whose key was proven counts, whatever comes behind it."""
    victim = gateway.newcomer()
    theirs = x509.load_pem_x509_certificate(victim.pem.read_bytes())
    impostor = Authority.made(tmp_path, "impostor").signer.certificate
    also_sent = {
        "another user's": [theirs],
        "the issuing CA's": [issuing.signer.certificate, theirs],
        "a forged issuer's": [impostor, theirs],
        "many": [theirs] * 20,
    }[stuffed]
    # A certificate that is registered for nobody stays so, and one that is leads to its own user.
    _, pem = issuing.leaf(tmp_path, also_sent=also_sent)
    assert front_page(gateway, pem) == Code.CERTIFICATE_NOT_REGISTERED.value
    user_id = gateway.new_user()
    identity, pem = issuing.leaf(tmp_path, also_sent=also_sent)
    gateway.register(NewCertificate(identity, user_id))
    gateway.signed_in(Person(user_id, identity, pem))
    # A certificate of nobody's, with a good one behind it.
    _, strangers = Authority.made(tmp_path, "stranger").leaf(tmp_path, also_sent=also_sent)
    assert front_page(gateway, strangers) == Code.ISSUER_UNKNOWN.value


@pytest.mark.parametrize(
    "purpose",
    [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        None,
    ],
)
def test_a_certificate_for_another_purpose_is_refused(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path, purpose: x509.ObjectIdentifier | None
) -> None:
    identity, pem = issuing.leaf(tmp_path, purpose=purpose)
    gateway.register(NewCertificate(identity, gateway.new_user()))
    assert front_page(gateway, pem) == Code.CERTIFICATE_WRONG_USAGE.value


def test_a_certificate_that_is_a_cas_is_refused(gateway: WholeGateway, second: Authority, tmp_path: Path) -> None:
    identity, pem = second.leaf(tmp_path, is_authority=True)
    gateway.register(NewCertificate(identity, gateway.new_user()))
    assert front_page(gateway, pem) == Code.CERTIFICATE_WRONG_USAGE.value


def test_a_certificate_issued_by_a_users_certificate_is_refused(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path
) -> None:
    person = registered(gateway, issuing, tmp_path, 0x1EAF)
    signer = issuing.signer
    leaf = x509.load_pem_x509_certificate(person.pem.read_bytes())
    below = Authority(tmp_path, "below", type(signer)(leaf, signer.key))
    _, pem = below.leaf(tmp_path, also_sent=[leaf])
    assert front_page(gateway, pem) == Code.ISSUER_UNKNOWN.value


def test_octets_behind_the_der_end_the_handshake(gateway: WholeGateway, issuing: Authority, tmp_path: Path) -> None:
    """Two readers could differ on where such a certificate ends: it is no certificate at all."""
    person = registered(gateway, issuing, tmp_path, 0xDE12)
    honest = x509.load_pem_x509_certificate(person.pem.read_bytes()).public_bytes(Encoding.DER)
    assert handshake_and_get(gateway, person.pem, honest, honest).startswith("HTTP/1.1 303")
    for tail in (b"\0", b"\x30\x00", honest):
        # For what it is, and not for the signature that no longer fits: that alert is another one.
        assert "alert decode error" in handshake_and_get(gateway, person.pem, honest, honest + tail)
    other = honest[:-1] + bytes([honest[-1] ^ 1])
    assert "alert decrypt error" in handshake_and_get(gateway, person.pem, honest, other)


def handshake_and_get(gateway: WholeGateway, pem: Path, honest: bytes, shown: bytes) -> str:
    """A handshake that shows these octets for a certificate, and a request; the answer, or the alert.

    OpenSSL writes only what it can read itself, so what it writes is changed under way, before TLS 1.2 encrypts
    anything, with the lengths around it.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_file(str(pem))
    context.use_privatekey_file(str(pem))
    connection = SSL.Connection(context)
    connection.set_tlsext_host_name(CERTIFICATE_HOST.encode())
    connection.set_connect_state()
    request = f"GET / HTTP/1.1\r\nHost: {CERTIFICATE_HOST}:{gateway.port}\r\nAccept: text/html\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as plain:
        asked = False
        while True:
            try:
                if asked:
                    return connection.recv(65_536).decode()
                connection.do_handshake()
                connection.send(request.encode())
                asked = True
            except SSL.WantReadError:
                plain.sendall(_stuffed(_taken(connection), honest, shown))
                came = plain.recv(65_536)
                if not came:
                    return "closed"
                connection.bio_write(came)
            except SSL.Error as error:
                return str(error)


def _taken(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(1_000_000)
    except SSL.WantReadError:
        return b""


def _stuffed(out: bytes, honest: bytes, shown: bytes) -> bytes:
    at = out.find(honest)
    if at < 0 or honest == shown:
        return out
    # Before it stand: of the record a type, a version and a length, of the message a type and a length, two lengths.
    record = at - 15
    assert out[record] == 22
    assert out[at - 10] == 11
    more = len(shown) - len(honest)
    octets = bytearray(out)
    for where, size in ((record + 3, 2), (at - 9, 3), (at - 6, 3), (at - 3, 3)):
        value = int.from_bytes(octets[where : where + size], "big") + more
        octets[where : where + size] = value.to_bytes(size, "big")
    octets[at : at + len(honest)] = shown
    return bytes(octets)


def test_the_registration_is_of_the_certificate_shown_and_not_of_its_subject(
    gateway: WholeGateway, issuing: Authority, tmp_path: Path
) -> None:
    person = registered(gateway, issuing, tmp_path, 0xC0FFEE)
    identity, pem = issuing.leaf(tmp_path, serial=0xC0FFEF)
    assert identity == CertificateId(person.certificate.issuer, 0xC0FFEF)
    # The same subject, the same issuer, the next serial.
    assert front_page(gateway, pem) == Code.CERTIFICATE_NOT_REGISTERED.value
