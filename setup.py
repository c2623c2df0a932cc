"""What pyproject.toml cannot say: where MTLS_GATEWAY_COMPILE=1, the path of a request is compiled to C.

Why, how, and what is different then: docs/compiled.md. Nothing is compiled for an editable installation: a compiled
module would hide the changes that are made to its source.
"""

import os
import sys

from setuptools import setup

#: What a request or a handshake goes through, and what those modules ask of others on the way.
COMPILED = (
    "clock",
    "signin.cookie_names",
    "signin.gate",
    "signin.guard",
    "signin.knowledge",
    "signin.seal",
    "signin.session",
    "signin.visitor",
    "trust.verdict",
    "wire.admission",
    "wire.answer",
    "wire.backend",
    "wire.balanced",
    "wire.body",
    "wire.conversation",
    "wire.deadlines",
    "wire.download",
    "wire.exchange",
    "wire.fields",
    "wire.frontend",
    "wire.gate",
    "wire.handshake",
    "wire.head",
    "wire.head_end",
    "wire.health",
    "wire.hello",
    "wire.linger",
    "wire.listener",
    "wire.live",
    "wire.loop_stream",
    "wire.phase",
    "wire.plain_transport",
    "wire.pool",
    "wire.proxy_header",
    "wire.readiness",
    "wire.refusal",
    "wire.rewrite",
    "wire.seldom",
    "wire.sites",
    "wire.socket_transport",
    "wire.stream",
    "wire.tally",
    "wire.tls_connection",
    "wire.transport",
    "wire.tunnel",
    "wire.upload",
    "wire.worker",
)

modules = []
# setup() runs several times for one wheel, and only one of them builds anything.
if os.environ.get("MTLS_GATEWAY_COMPILE") == "1" and "bdist_wheel" in sys.argv:
    from mypyc.build import mypycify

    paths = [f"mtls_gateway/{name.replace('.', '/')}.py" for name in COMPILED]
    modules = mypycify(["--no-incremental", *paths], opt_level="2", debug_level="0")

setup(ext_modules=modules)
