"""The composition root: the only place that knows every room. It builds and wires, and decides nothing.

::

    serve ─▶ generation (what was validated) ─▶ master  ─▶ gateway × N   wire + trust + signin
                                                      ├──▶ portal        web + signin
                                                      ├──▶ clerk         trust.feed
                                                      └──▶ signer        issuance.signer: holds the CA keys
"""

from __future__ import annotations

from mtls_gateway.app.serve import serve

__all__ = ["serve"]
