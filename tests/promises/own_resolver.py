"""Run this Python with a resolver of its own: ``own_resolver.py RESOLV_CONF WORD…``.

In a mount namespace of its own ``/etc/resolv.conf`` is that file; nobody else sees it. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def must(status: int) -> None:
        if status != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    must(libc.unshare(_CLONE_NEWNS))
    must(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    must(libc.mount(sys.argv[1].encode(), os.path.realpath("/etc/resolv.conf").encode(), None, _MS_BIND, None))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
