"""What the app reads and writes, under sanitisers and a fuzzer, held against other people's code."""

from __future__ import annotations

import base64
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import NameOID

from tests.issuing_app.bank import CODE, SYMBOLS, Authority, with_check_symbol
from tests.issuing_app.conftest import APP_FOLDER, HERE

STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-g", "-O1", f"-I{APP_FOLDER / 'portable'}"]
SANITISERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SOURCES = sorted(str(path) for path in (APP_FOLDER / "portable").glob("*.c"))

GOOD, TOO_SHORT, TOO_LONG, FOREIGN, MISTYPED = range(5)

Parsers = Callable[..., str | None]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("parsers") / "parsers"
    source = HERE / "portable" / "parsers.c"
    subprocess.run(["gcc", *STRICT, *SANITISERS, "-o", str(built), str(source), *SOURCES], check=True, timeout=60)
    return built


@pytest.fixture
def parsers(program: Path) -> Parsers:
    """Runs one of them; None when it refuses. A sanitiser's complaint is an error."""

    def run(*arguments: str) -> str | None:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
        assert done.stderr == ""
        assert done.returncode in (0, 1)
        return done.stdout if done.returncode == 0 else None

    return run


# --- certificate requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["taro", "利用者01", "x" * 64])
def test_a_request_with_a_key_of_cng_is_one_that_others_accept(program: Path, name: str) -> None:
    for _ in range(20):  # r and s of every length
        key = ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        arguments = [str(program), "request", name, f"{numbers.x:064x}", f"{numbers.y:064x}"]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            signed = bytes.fromhex(process.stdout.readline())
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            process.stdin.write(f"{r:064x}{s:064x}\n")
            process.stdin.flush()
            der = bytes.fromhex(process.stdout.readline())
        request = x509.load_der_x509_csr(der)
        assert request.public_bytes(Encoding.DER) == der
        assert request.is_signature_valid
        assert request.public_key() == key.public_key()
        assert request.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def test_a_signature_of_another_length_makes_no_request(program: Path) -> None:
    done = subprocess.run(
        [program, "request", "taro", "01" * 32, "02" * 32], input="00" * 63, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1


# --- certificates -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates() -> list[x509.Certificate]:
    root = Authority("Root")
    issuing = Authority("Issuing", root)
    return [
        issuing.issue("taro", ec.generate_private_key(ec.SECP256R1()).public_key()),
        issuing.certificate,
        root.certificate,
    ]


def bag_of(certificates: list[x509.Certificate]) -> bytes:
    return pkcs7.serialize_certificates(certificates, Encoding.DER)


def test_certificates_come_out_of_a_bag_as_they_went_in(parsers: Parsers, certificates: list[x509.Certificate]) -> None:
    read = parsers("bag", bag_of(certificates).hex())
    assert read is not None
    assert {bytes.fromhex(line) for line in read.split()} == {one.public_bytes(Encoding.DER) for one in certificates}


def test_a_bag_that_openssl_has_packed_is_read(
    parsers: Parsers, certificates: list[x509.Certificate], tmp_path: Path
) -> None:
    pem = tmp_path / "all.crt"
    pem.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    packed = subprocess.run(
        ["openssl", "crl2pkcs7", "-nocrl", "-certfile", str(pem), "-outform", "DER"], check=True, capture_output=True
    ).stdout
    read = parsers("bag", packed.hex())
    assert read is not None
    assert [bytes.fromhex(line) for line in read.split()] == [one.public_bytes(Encoding.DER) for one in certificates]


def test_no_torn_or_altered_bag_is_taken_for_a_whole_one(
    parsers: Parsers, certificates: list[x509.Certificate]
) -> None:
    whole = bag_of(certificates)
    for length in random.Random(1).sample(range(len(whole)), 40):
        assert parsers("bag", whole[:length].hex()) is None
    assert parsers("bag", (whole + b"\0").hex()) is None
    assert parsers("bag", bag_of(certificates * 11).hex()) is None  # 33


def test_the_parts_of_a_certificate_are_those_that_others_find(
    parsers: Parsers, certificates: list[x509.Certificate]
) -> None:
    for certificate in certificates:
        read = parsers("parts", certificate.public_bytes(Encoding.DER).hex())
        assert read is not None
        assert [bytes.fromhex(line) for line in read.split()] == [
            certificate.issuer.public_bytes(),
            certificate.subject.public_bytes(),
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ]


# --- base64 -----------------------------------------------------------------------------------------------------


def test_base64_is_everybodys_base64(parsers: Parsers) -> None:
    chance = random.Random(2)
    for length in (0, 1, 2, 3, 47, 48, 49, 100):
        data = chance.randbytes(length)
        flat = base64.b64encode(data).decode()
        lines = "".join(f"{flat[start : start + 64]}\n" for start in range(0, len(flat), 64))
        assert parsers("encode", data.hex(), "0") == flat
        assert parsers("encode", data.hex(), "64") == lines
        for text in (flat, lines, lines.replace("\n", "\r\n"), " ".join(flat)):
            assert parsers("decode", text) == f"{data.hex()}\n"


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AB==", "AAB=", "AA=A", "AAAA=", "AA-_", "AAA*", "=", "AAAA AA"])
def test_what_is_not_quite_base64_is_refused(parsers: Parsers, text: str) -> None:
    assert parsers("decode", text) is None


# --- enrolment codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        CODE,
        CODE.lower(),
        CODE.replace("-", ""),
        CODE.replace("-", " "),
        f"  {CODE}\t",
        CODE.replace("-", "\uff0d"),
        CODE.replace("-", "\u30fc"),
        CODE.replace("-", "\u3000"),
        "".join(chr(ord(symbol) + 0xFEE0) for symbol in CODE),
        "".join(chr(ord(symbol) + 0xFEE0) for symbol in CODE.lower()),
    ],
)
def test_a_code_is_read_however_it_is_typed(parsers: Parsers, typed: str) -> None:
    assert parsers("code", typed) == f"{GOOD} {CODE}\n"


def test_every_single_wrong_symbol_and_every_swap_of_two_neighbours_is_noticed(parsers: Parsers) -> None:
    chance = random.Random(3)
    code = with_check_symbol("".join(chance.choices(SYMBOLS, k=19))).replace("-", "")
    assert parsers("code", code) is not None
    wrong = {code[:place] + chance.choice(SYMBOLS.replace(code[place], "")) + code[place + 1 :] for place in range(20)}
    swapped = {code[:place] + code[place + 1] + code[place] + code[place + 2 :] for place in range(19)} - {code}
    for typed in wrong | swapped:
        assert parsers("code", typed) == f"{MISTYPED} \n"


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        ("", TOO_SHORT),
        (CODE[:-1], TOO_SHORT),
        (f"{CODE}2", TOO_LONG),
        (CODE.replace("K", "0"), FOREIGN),
        (CODE.replace("K", "O"), FOREIGN),
        (CODE.replace("K", "1"), FOREIGN),
        (CODE.replace("K", "か"), FOREIGN),
        (CODE.replace("K", ":"), FOREIGN),
    ],
)
def test_what_is_wrong_with_a_code_is_told_apart(parsers: Parsers, typed: str, verdict: int) -> None:
    assert parsers("code", typed) == f"{verdict} \n"


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (r"C:\Users\a\Downloads\issuing-app(ib.example.co.jp).exe", "ib.example.co.jp"),
        (r"C:\Users\a (1)\Downloads\issuing-app(ib.example.co.jp) (2).exe", "ib.example.co.jp"),
        (r"D:\issuing-app(IB.Example.co.jp_8443)(1).exe", "ib.example.co.jp:8443"),
        (r"\\server\share\証明書 (控え) (ib.example.co.jp_443).exe", "ib.example.co.jp"),
        ("issuing-app.exe", None),
        ("issuing-app(1).exe", None),
        (r"C:\x(evil.example.com)\issuing-app.exe", None),
        ("issuing-app(ib.example.co.jp_0).exe", None),
        ("issuing-app(ib.example.co.jp_65536).exe", None),
        ("issuing-app(ib.example.co.jp.exe", None),
        ("issuing-app(192.0.2.1).exe", None),
    ],
)
def test_the_server_is_read_from_the_name_that_a_browser_gave_the_file(
    parsers: Parsers, path: str, address: str | None
) -> None:
    assert parsers("file", path) == (None if address is None else f"{address}\n")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("ib.example.co.jp", "ib.example.co.jp"),
        (" https://IB.example.co.jp/ ", "ib.example.co.jp"),
        ("ib.example.co.jp:8443", "ib.example.co.jp:8443"),
        ("http://ib.example.co.jp", None),
        ("https://ib.example.co.jp/login", None),
        ("user@ib.example.co.jp", None),
        ("ib.example.co.jp:", None),
        ("localhost", None),
        ("-ib.example.jp", None),
        ("ib-.example.jp", None),
        ("ib..example.jp", None),
        (".example.jp", None),
        ("example.jp.", None),
        ("ib。example。jp", None),
        (f"{'a' * 64}.jp", None),
        (f"{'a.' * 150}jp", None),
        ("", None),
    ],
)
def test_an_address_that_is_typed_is_a_name_and_perhaps_a_port(
    parsers: Parsers, typed: str, address: str | None
) -> None:
    assert parsers("address", typed) == (None if address is None else f"{address}\n")


@pytest.mark.parametrize(
    ("address", "domain", "fits"),
    [
        ("ib.example.co.jp", "", True),
        ("ib.example.co.jp", "example.co.jp", True),
        ("example.co.jp", "example.co.jp", True),
        ("evilexample.co.jp", "example.co.jp", False),
        ("ib.example.co.jp.evil.example", "example.co.jp", False),
        ("co.jp", "example.co.jp", False),
    ],
)
def test_an_app_built_for_a_domain_stays_in_it(parsers: Parsers, address: str, domain: str, fits: bool) -> None:
    assert (parsers("within", address, domain) is not None) is fits


# --- answers ----------------------------------------------------------------------------------------------------

CERTIFICATES, REFUSED, SOMETHING_ELSE = range(3)
PKCS7 = "application/pkcs7-mime"
PLAIN = "text/plain"


def body(text: str) -> str:
    return text.encode().hex()


def test_certificates_are_read_in_every_form_of_the_media_type(
    parsers: Parsers, certificates: list[x509.Certificate]
) -> None:
    sent = body(base64.encodebytes(bag_of(certificates)).decode())
    for media_type in (PKCS7, f"{PKCS7}; smime-type=certs-only", "Application/PKCS7-MIME;x=y"):
        assert parsers("answer", "200", media_type, sent) == f"{CERTIFICATES} 0 3\n\n\n\n"


def test_a_refusal_is_read_with_its_code_and_sentences(parsers: Parsers) -> None:
    sent = body("enrolment_refused\r\n正しくありません。\r\nNot right.\r\n")
    answer = parsers("answer", "401", f"{PLAIN}; charset=utf-8", sent)
    assert answer == f"{REFUSED} 1 0\nenrolment_refused\n正しくありません。\nNot right.\n"


def test_a_code_of_a_later_server_is_still_a_refusal(parsers: Parsers) -> None:
    answer = parsers("answer", "403", PLAIN, body("moon_in_wrong_phase\n月\nMoon\n"))
    assert answer is not None
    assert answer.split() == [str(REFUSED), "24", "0", "moon_in_wrong_phase", "月", "Moon"]


def test_long_sentences_are_cut_between_characters(parsers: Parsers) -> None:
    answer = parsers("answer", "403", PLAIN, body("throttled\n" + "あ" * 1000 + "\nx\n"))
    assert answer is not None
    assert answer.splitlines()[2] == "あ" * 170


@pytest.mark.parametrize(
    ("status", "media_type", "sent"),
    [
        ("200", "text/html", "<html>"),
        ("403", "text/html", "enrolment_refused\nx\ny\n"),
        ("200", PLAIN, "enrolment_refused\nx\ny\n"),
        ("200", f"{PKCS7}x", "AAAA"),
        ("200", PKCS7, ""),
        ("200", PKCS7, "<html>"),
        ("202", PKCS7, "AAAA"),
        ("403", PLAIN, ""),
        ("403", PLAIN, "Forbidden by your company\n"),
        ("403", PLAIN, "code\nbell \x07\nx\n"),
        ("302", PLAIN, "enrolment_refused\nx\ny\n"),
        ("200", "", "AAAA"),
    ],
)
def test_whatever_else_comes_is_nobodys_answer(parsers: Parsers, status: str, media_type: str, sent: str) -> None:
    assert parsers("answer", status, media_type, body(sent)) == f"{SOMETHING_ELSE} 0 0\n\n\n\n"


def test_sentences_that_are_no_utf_8_are_nobodys_answer(parsers: Parsers) -> None:
    for sentence in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe3\x81"):
        sent = (b"throttled\n" + sentence + b"\nx\n").hex()
        assert parsers("answer", "429", PLAIN, sent) == f"{SOMETHING_ELSE} 0 0\n\n\n\n"


def test_credentials_are_those_of_rfc_7617(parsers: Parsers) -> None:
    sent = parsers("authorization", "利用者", CODE, "a:b ひみつ")
    assert sent == f"Basic {base64.b64encode(f'利用者:{CODE}:a:b ひみつ'.encode()).decode()}\n"
    assert parsers("authorization", "", "", "pass") == f"Basic {base64.b64encode(b':pass').decode()}\n"
    assert parsers("authorization", "ta:ro", CODE, "x") is None
    assert parsers("authorization", "taro", CODE, "x\n") is None
    assert parsers("authorization", "taro", CODE, "x" * 5000) is None


# --- fuzzing ----------------------------------------------------------------------------------------------------


@pytest.mark.needs("libfuzzer")
def test_nothing_that_is_read_from_elsewhere_harms_the_app(
    tmp_path: Path, certificates: list[x509.Certificate]
) -> None:
    fuzzer = tmp_path / "fuzz"
    source = HERE / "portable" / "fuzz.c"
    built = ["clang", *STRICT, *SANITISERS, "-fsanitize=fuzzer", "-O2", "-o", str(fuzzer), str(source), *SOURCES]
    subprocess.run(built, check=True, timeout=60)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    bag = bag_of(certificates)
    seeds = [
        b"\0" + base64.encodebytes(bag),
        b"\1enrolment_refused\n\xe3\x81\x82\nEnglish\n",
        b"\2" + bag,
        b"\2" + certificates[0].public_bytes(Encoding.DER),
        b"\3QUJDRA==",
        b"\4" + CODE.encode(),
        b"\4C:\\issuing-app(ib.example.co.jp_8443) (1).exe",
        b"\4https://ib.example.co.jp:8443/",
    ]
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = ["-runs=400000", "-max_total_time=6", "-max_len=8192", "-timeout=5", "-rss_limit_mb=1024", "-seed=1"]
    done = subprocess.run(
        [fuzzer, *limits, f"-artifact_prefix={tmp_path}/", str(corpus)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
