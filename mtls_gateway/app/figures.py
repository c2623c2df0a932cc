"""Figures that survive a full disk, and the processes that counted them.

prometheus_client maps files with holes into each process. Where the disk has no block left for a hole, the kernel
answers the next count with SIGBUS: every worker dies, and so does each that replaces it. So the blocks are
taken when a file is opened; a process that gets none counts in memory, and only its figures are missed.

Each process has files of its own, and the library keeps those of processes that have ended: in a crash loop they
would fill the disk. So the master adds their counters to one file for all of them and removes the rest. Whoever
reads meanwhile sees all of it before or all of it after: never a count twice, never one less.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

_LOG = logging.getLogger(__name__)
#: Octets of one file; a process fills a tenth of it.
_RESERVED = 131_072
#: ``counter_42.db``, ``gauge_livesum_42.db``: the kind of figures and whose.
_FILE: Final = re.compile(r"(?P<kind>counter|histogram|summary|gauge_[a-z]+)_(?P<pid>\d+)\.db")
#: In place of a process in the name of the file that holds the counters of those that have ended.
_ENDED: Final = "ended"


class ReservedFigures(MmapedDict):
    """One file of one process, without holes."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        """As the library's; ``filename`` is left out of the sum when the disk is full."""
        # The file is opened twice: the library's own descriptor is made further down.
        descriptor = None
        if not read_mode:
            try:
                _reserve(filename)
            except OSError as error:
                _LOG.error("%s: %s; figures of process %d are missed", filename, error.strerror, os.getpid())
                descriptor = os.memfd_create("figures")
                os.truncate(descriptor, _RESERVED)
                filename = f"/proc/self/fd/{descriptor}"
        initialise: Any = super().__init__
        initialise(filename, read_mode)
        if descriptor is not None:
            os.close(descriptor)


def _reserve(filename: str) -> None:
    """Make the file with all its blocks; whoever reads never sees one that has not even a beginning."""
    file = Path(filename)
    if file.exists():
        return
    # Two threads never make the same one: the library counts under a lock.
    draft = file.with_suffix(".draft")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _RESERVED)
        if os.geteuid() == 0:
            # The master's: the portal reads them all, as the user that it has become.
            owner = file.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        draft.rename(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def reserve_figures() -> None:
    """Have the library use such files from now on; before anything imports the metrics."""
    values.MmapedDict = ReservedFigures  # type: ignore[attr-defined]  # the library offers no other place


def collect_figures(directory: Path) -> bytes:
    """Every process's figures in the text format, as of one moment; waits while the master adds some up."""
    with _holding(directory, fcntl.LOCK_SH):
        return generate_latest(_registry(directory))


def read_gauge(directory: Path, name: str, label: str) -> dict[str, float]:
    """A gauge of all processes by the values of its ``label``; waits as :func:`collect_figures`."""
    with _holding(directory, fcntl.LOCK_SH):
        families = list(_registry(directory).collect())
    return {
        sample.labels[label]: sample.value
        for family in families
        if family.name == name
        for sample in family.samples
        if label in sample.labels
    }


def _registry(directory: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    # It registers itself; the library leaves it without annotations.
    collect: Callable[[CollectorRegistry, str], object] = MultiProcessCollector
    collect(registry, str(directory))
    return registry


def fold_ended(directory: Path) -> bool:
    """Keep the counters of processes that have ended, once, and forget their gauges.

    Returns False, with nothing done, while somebody reads: call again. Never waits: whoever reads may hang.
    """
    try:
        with _holding(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for file, kind in _of_ended(directory):
                try:
                    if not kind.startswith("gauge"):
                        _add(file, directory / f"{kind}_{_ENDED}.db")
                except Exception as error:
                    # Killed while it wrote: a figure is missed, but all others can be read again.
                    _LOG.error("%s: %s; its figures are missed", file, error)
                file.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _holding(directory: Path, how: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _of_ended(directory: Path) -> Iterator[tuple[Path, str]]:
    """Files of processes that are there no more: workers, and whatever those had started."""
    for file in directory.iterdir():
        found = _FILE.fullmatch(file.name)
        if found and not _lives(int(found["pid"])):
            yield file, found["kind"]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _add(file: Path, total: Path) -> None:
    figures: Any = ReservedFigures(str(total))
    try:
        read: Any = MmapedDict.read_all_values_from_file
        # All of it is read before any of it is added.
        for key, value, timestamp, _ in list(read(str(file))):
            before, _ = figures.read_value(key)
            figures.write_value(key, before + value, timestamp)
    finally:
        figures.close()
