"""The minutes of a ceremony: what was made, by whom, and where it is to be kept; to be printed and signed by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtls_gateway import __version__
from mtls_gateway.issuance.signer.profile import encoded
from mtls_gateway.issuance.validity import JST
from mtls_gateway.model import print_serial

_RULE = "=" * 78
_THIN = "-" * 78


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who met, where and what for."""

    title_ja: str
    title_en: str
    place: str
    #: At least two, so that nobody is alone with a key.
    participants: tuple[str, ...]
    #: POSIX seconds.
    at: float


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """A CA certificate that the minutes speak of, and where its key is."""

    title_ja: str
    title_en: str
    certificate: x509.Certificate
    key_ja: str
    key_en: str


def write_minutes(
    occasion: Occasion, certificates: Sequence[MadeCertificate], crl_number: int, files: Sequence[Path]
) -> str:
    """The text, Japanese and then English, each on a page of its own."""
    japanese = _page(
        _JA,
        occasion.title_ja,
        occasion,
        [(one.title_ja, one.certificate, one.key_ja) for one in certificates],
        crl_number,
        files,
    )
    english = _page(
        _EN,
        occasion.title_en,
        occasion,
        [(one.title_en, one.certificate, one.key_en) for one in certificates],
        crl_number,
        files,
    )
    return f"{japanese}\f\n{english}"


@dataclass(frozen=True, slots=True)
class _Words:
    heading: str
    date: str
    place: str
    participants: str
    software: str
    steps_heading: str
    steps: tuple[str, ...]
    made: str
    subject: str
    issuer: str
    serial: str
    valid: str
    key: str
    kept: str
    fingerprint: str
    key_fingerprint: str
    crl: str
    files: str
    custody_heading: str
    custody: tuple[str, ...]
    remarks: str
    signatures: str
    statement: str
    signature: str


_JA = _Words(
    heading="認証局鍵生成式 議事録",
    date="日時",
    place="場所",
    participants="出席者",
    software="使用したソフトウェア",
    steps_heading="手順（確認のうえ□にチェックを入れてください）",
    steps=(
        "使用する端末がネットワークに接続されていないことを確認した。",
        "端末の日時が正しいことを確認した。",
        "ソフトウェアの版が上記のとおりであることを確認した。",
        "パスフレーズは、それぞれ定められた者のみが入力し、他の者は画面および手元を見なかった。",
        "下記の証明書のフィンガープリントを読み上げ、端末の表示と一致することを確認した。",
        "ルート認証局の秘密鍵を記録媒体に書き出し、封緘した。端末に残っていないことを確認した。",
        "発行認証局の秘密鍵を、署名プロセスを動かす機器にのみ引き渡した。",
    ),
    made="作成したもの",
    subject="名称",
    issuer="発行者",
    serial="シリアル番号",
    valid="有効期間",
    key="鍵の種類",
    kept="秘密鍵の所在",
    fingerprint="証明書のフィンガープリント（SHA-256）",
    key_fingerprint="公開鍵のフィンガープリント（SHA-256）",
    crl="ルート認証局の証明書失効リストの番号",
    files="ファイル（SHA-256）",
    custody_heading="保管",
    custody=(
        "ルート認証局の秘密鍵の媒体　封緘番号：",
        "　　保管場所および保管責任者：",
        "ルート認証局のパスフレーズ　封緘番号：",
        "　　保管場所および保管責任者：",
        "発行認証局のパスフレーズまたは暗証番号　封緘番号：",
        "　　保管場所および保管責任者：",
    ),
    remarks="特記事項",
    signatures="署名",
    statement="上記のとおり実施したことを確認します。",
    signature="署名",
)
_EN = _Words(
    heading="Minutes of a key ceremony",
    date="Date",
    place="Place",
    participants="Present",
    software="Software",
    steps_heading="Steps (tick each when it has been confirmed)",
    steps=(
        "The machine is not connected to any network.",
        "Its date and time are right.",
        "The software is of the version above.",
        "Each passphrase was typed by its keeper only; nobody else saw screen or keyboard.",
        "The fingerprints below were read aloud and are those that the machine shows.",
        "The root's key was written to a medium and sealed; nothing of it was left on the machine.",
        "The issuing CA's key was handed over to the signer's machine only.",
    ),
    made="What was made",
    subject="Name",
    issuer="Issuer",
    serial="Serial number",
    valid="Valid",
    key="Key",
    kept="Private key kept",
    fingerprint="Fingerprint of the certificate (SHA-256)",
    key_fingerprint="Fingerprint of the public key (SHA-256)",
    crl="Number of the root's CRL",
    files="Files (SHA-256)",
    custody_heading="Custody",
    custody=(
        "Medium with the root's key, seal number:",
        "    kept where and by whom:",
        "Passphrase of the root's key, seal number:",
        "    kept where and by whom:",
        "Passphrase or PIN of the issuing key, seal number:",
        "    kept where and by whom:",
    ),
    remarks="Remarks",
    signatures="Signatures",
    statement="We confirm that it was done as written above.",
    signature="Signature",
)


def _page(
    words: _Words,
    title: str,
    occasion: Occasion,
    certificates: Sequence[tuple[str, x509.Certificate, str]],
    crl_number: int,
    files: Sequence[Path],
) -> str:
    lines = [
        _RULE,
        f"{words.heading}: {title}",
        _RULE,
        "",
        f"{words.date}: {_moment(occasion.at)}",
        f"{words.place}: {occasion.place}",
        f"{words.software}: mtls-gateway {__version__}",
        f"{words.participants}:",
        *(f"  - {person}" for person in occasion.participants),
        "",
        words.steps_heading,
        _THIN,
        *(f"  □ {number}. {step}" for number, step in enumerate(words.steps, 1)),
        "",
        words.made,
        _THIN,
    ]
    for name, certificate, kept in certificates:
        lines += [f"[{name}]", *_facts(words, certificate, kept), ""]
    lines += [f"{words.crl}: {crl_number}", "", words.files, _THIN]
    for path in files:
        lines += [f"  {path.name}", f"    {hashlib.sha256(path.read_bytes()).hexdigest()}"]
    lines += ["", words.custody_heading, _THIN]
    for line in words.custody:
        lines += [f"  {line}", f"    {'_' * 60}"]
    lines += ["", words.remarks, _THIN, *[f"    {'_' * 70}"] * 3, "", words.signatures, _THIN, words.statement, ""]
    for person in occasion.participants:
        lines += [f"  {person}", "", f"    {words.date}: {'_' * 20}  {words.signature}: {'_' * 36}", ""]
    return "\n".join(lines) + "\n"


def _facts(words: _Words, certificate: x509.Certificate, kept: str) -> list[str]:
    first = certificate.not_valid_before_utc.timestamp()
    last = certificate.not_valid_after_utc.timestamp()
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise TypeError("a CA has no such key")
    kind = f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else f"ECDSA {key.curve.name}"
    return [
        f"  {words.subject}: {certificate.subject.rfc4514_string()}",
        f"  {words.issuer}: {certificate.issuer.rfc4514_string()}",
        f"  {words.serial}: {print_serial(certificate.serial_number)}",
        f"  {words.valid}: {_moment(first)} – {_moment(last)}",
        f"  {words.key}: {kind}",
        f"  {words.kept}: {kept}",
        f"  {words.fingerprint}:",
        *_grouped(certificate.fingerprint(hashes.SHA256())),
        f"  {words.key_fingerprint}:",
        *_grouped(hashlib.sha256(encoded(key)).digest()),
    ]


def _grouped(digest: bytes) -> list[str]:
    """Two lines that two people can read to each other."""
    printed = digest.hex().upper()
    pairs = [printed[place : place + 4] for place in range(0, len(printed), 4)]
    return ["    " + " ".join(pairs[:8]), "    " + " ".join(pairs[8:])]


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, JST):%Y-%m-%d %H:%M:%S} JST"
