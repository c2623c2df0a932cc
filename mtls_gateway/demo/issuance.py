"""The demo issues certificates too: its issuing CA's key is the signer's, and one user has a letter with a code.

Kept apart from the rest of the material, because only who starts the whole demo needs it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.material import Material
from mtls_gateway.issuance.code import KEY_PURPOSE, digest, new_code, read_code
from mtls_gateway.issuance.letter import Letter, LetterSettings
from mtls_gateway.issuance.letter_printer import LetterPrinter
from mtls_gateway.model import CodeState
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store

#: Two operators, as every application needs.
_RECEIVES: Final = ("demo-receiver", 1)
_APPROVES: Final = ("demo-approver", 2)
_DAY: Final = 86_400.0


def issue_here(material: Material, clock: Clock) -> None:
    """Turn issuing on, and see to it that :data:`cast.APPLICANT` has a letter whose code is good, or a certificate.

    Raises:
        GatewayError: the store or the configuration cannot be used.
    """
    with material.configuration.open("a", encoding="utf-8") as file:
        file.write(
            f"""
# Certificates are issued here. The CA's key lies open in a file: good for a demo only, see docs/signer.md.
[issuance]
organisation = "Demo Shinkumi"

[[signer.issuers]]
name = "demo-issuing"
active = true
certificate = "ca/issuing.cert.pem"
chain = ["ca/root.cert.pem"]
crl_url = "https://{cast.PUBLIC_HOST}/gateway/crl/demo-issuing.crl"
key = {{ kind = "pem", file = "ca/issuing.key.pem", unencrypted = true }}
"""
        )
    asyncio.run(_write_letter(material, read_configuration(material.configuration), clock))


async def _write_letter(material: Material, configuration: Configuration, clock: Clock) -> None:
    user = cast.user(cast.APPLICANT)
    store = await open_rows(configuration, clock)
    try:
        codes = await store.codes.all(user_id=user.user_id)
        if material.enrolment_code.exists() and codes and codes[0].state in (CodeState.OPEN, CodeState.USED):
            return
        number = await store.applications.receive_start(user.company_id, actor=_RECEIVES[0], account=_RECEIVES[1])
        await store.applications.approve(number, actor=_APPROVES[0], account=_APPROVES[1])
        await _print(material, configuration, store, clock)
    finally:
        await store.close()


async def _print(material: Material, configuration: Configuration, store: Store, clock: Clock) -> None:
    issuance = configuration.issuance
    (due,) = await store.codes.due_letters(user_id=cast.APPLICANT)
    if issuance is None:
        raise RuntimeError("issuing was just turned on")
    now = clock.now()
    expires = now + issuance.codes.days * _DAY
    code = new_code()
    letter = Letter(due.company_name, due.user_name or due.user_id, due.user_id, code, expires, now)
    pdf = LetterPrinter(LetterSettings.of(configuration, issuance)).pdf([letter])
    read = read_code(code)
    key = derive(load_instance_secret(configuration.instance_secret), KEY_PURPOSE)
    material.letter.write_bytes(pdf)
    material.enrolment_code.write_text(code)
    printed = PrintedCode(due.code_id, read.locator, digest(read, key), expires)
    await store.codes.printed([printed], actor=_APPROVES[0])
