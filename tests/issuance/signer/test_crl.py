from __future__ import annotations

import tracemalloc
from itertools import islice

from cryptography import x509

from mtls_gateway.issuance.orders import RevokedEntry
from mtls_gateway.issuance.signer.crl import CrlDraft, CrlHead, CrlLimits

from .world import NOW, World


def test_a_large_crl_is_drafted_in_the_memory_of_a_small_one(world: World) -> None:
    world.begin()
    desk = world.desk()
    count, at_once = 200_000, 2_000
    entries = (RevokedEntry((1 << 150) + 7 * place, NOW - place % 5_000, "superseded") for place in range(count))
    head = CrlHead("issuing-1", 1, int(NOW), int(NOW) + 60)
    draft = CrlDraft(head, desk.active, CrlLimits(300, 3_600, count), world.folder)
    try:
        tracemalloc.start()
        while some := list(islice(entries, at_once)):
            draft.add(some)
        signature = desk.sign_crl(head, desk.active, draft.digest())
        length = sum(len(piece) for piece in draft.finished(signature))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert draft.entries == count
        assert length > 40 * count
        assert peak < 4_000_000
        crl = x509.load_der_x509_crl(b"".join(draft.finished(signature)))
        assert len(crl) == count
        assert crl[count - 1].serial_number == (1 << 150) + 7 * (count - 1)
        assert crl.is_signature_valid(desk.active.superior.public_key)
    finally:
        draft.close()
        desk.close()
    assert [path.name for path in world.folder.iterdir() if path.is_file() and "secret" not in path.name] == []
