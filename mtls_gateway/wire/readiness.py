"""Which sockets can be read or written: an epoll of the worker's own, one descriptor in the loop's.

The loop's own readers cost eight system calls and two objects for each connection, most of them to make sure of what
is known here: that a socket is non-blocking, new, and about to be closed. Here it is one system call, and between
requests a connection costs an entry in a dictionary. The figures are in ``docs/performance.md``.

A call may come for nothing: for a socket that was closed a moment ago and whose number the next one has by now. So
whoever is called tries, and takes "not yet" for an answer.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

#: Sockets whose turn comes before the loop gets its own.
_AT_ONCE = 256
_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT
#: An end or an error is found out by whoever reads or writes.
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

_Call = Callable[[], object]


class Readiness:
    """See the module."""

    __slots__ = ("_epoll", "_loop", "_readers", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._readers: dict[int, _Call] = {}
        self._writers: dict[int, _Call] = {}
        loop.add_reader(self._epoll.fileno(), self._turn)

    def close(self) -> None:
        """Call nobody any more."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._readers.clear()
        self._writers.clear()

    def add_reader(self, descriptor: int, call: _Call) -> None:
        """Make ``call`` whenever there is something to read, or an end; in place of the call before."""
        if descriptor not in self._readers:
            self._watch(descriptor, _READ, descriptor in self._writers)
        self._readers[descriptor] = call

    def remove_reader(self, descriptor: int) -> None:
        """Not any more."""
        if self._readers.pop(descriptor, None) is not None:
            self._unwatch(descriptor, _WRITE, descriptor in self._writers)

    def add_writer(self, descriptor: int, call: _Call) -> None:
        """Make ``call`` whenever the socket takes something, in place of the call before."""
        if descriptor not in self._writers:
            self._watch(descriptor, _WRITE, descriptor in self._readers)
        self._writers[descriptor] = call

    def remove_writer(self, descriptor: int) -> None:
        """Not any more."""
        if self._writers.pop(descriptor, None) is not None:
            self._unwatch(descriptor, _READ, descriptor in self._readers)

    def forget(self, descriptor: int) -> None:
        """It is closed in the same step, which takes it out of the epoll as well."""
        self._readers.pop(descriptor, None)
        self._writers.pop(descriptor, None)

    def _watch(self, descriptor: int, what: int, is_known: bool) -> None:
        if is_known:
            self._epoll.modify(descriptor, _READ | _WRITE)
        else:
            self._epoll.register(descriptor, what)

    def _unwatch(self, descriptor: int, rest: int, is_known: bool) -> None:
        if is_known:
            self._epoll.modify(descriptor, rest)
        else:
            self._epoll.unregister(descriptor)

    def _turn(self) -> None:
        readers, writers = self._readers, self._writers
        for descriptor, events in self._epoll.poll(0, _AT_ONCE):
            try:
                if events & _READABLE:
                    call = readers.get(descriptor)
                    if call is not None:
                        call()
                if events & _WRITABLE:
                    call = writers.get(descriptor)
                    if call is not None:
                        call()
            except Exception as error:
                # One connection's trouble is not to spare the others.
                self._loop.call_exception_handler({"message": "a connection's call failed", "exception": error})
