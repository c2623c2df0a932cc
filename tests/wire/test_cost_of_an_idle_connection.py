"""What a connection that rests keeps of Python's memory: counted, so that a busy machine counts as a quiet one does.

OpenSSL's own part is ten times as much, and not ours to choose; see ``docs/performance.md``. Whoever makes connections
keep more must say so there, whoever makes them keep less lowers the limit.
"""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import mtls_gateway
from tests.wire.conftest import Gateway, OpenGateway
from tests.wire.scripted import answering, ok

_OURS = str(Path(mtls_gateway.__file__).parent / "*")
#: A set or a dictionary that grows with the connections does so in leaps.
_SLACK = 1.15
_CONNECTIONS = 40


async def rest(gateway: Gateway) -> int:
    """Have so many more connections that made a request and rest; octets that the gateway's code has allocated."""
    for _ in range(_CONNECTIONS):
        client = await gateway.connect()
        assert (await client.ask()).status == 200
    gc.collect()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, _OURS)])
    return sum(trace.size for trace in ours.traces)


async def test_a_connection_that_rests_keeps_little(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(answering(ok(b"hello")))
    tracemalloc.start()
    try:
        few = await rest(gateway)
        kept = (await rest(gateway) - few) / _CONNECTIONS
    finally:
        tracemalloc.stop()
    assert 0 < kept <= 1_382 * _SLACK, f"{kept:.0f} octets where 1,382 were seen: see docs/performance.md"
