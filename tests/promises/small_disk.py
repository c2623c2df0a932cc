"""A disk of a test's own, of a few megabytes: it can be filled, and it can fail as real ones do."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE = 1 << 20


class SmallDisk:
    """An ext4 file system in a file. Without a journal: what is in doubt after a failure is fsck's to say."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        self._image = directory / "disk.img"
        self.folder = directory / "disk"
        self.folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-e", "remount-ro", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.folder))

    def unmount(self) -> None:
        _run("umount", str(self.folder))

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self) -> None:
        """Take every block that is left."""
        with self._filler.open("ab", buffering=0) as file:
            for piece in (_PIECE, 4096, 512):
                with contextlib.suppress(OSError):
                    while file.write(bytes(piece)):
                        pass

    def free(self) -> None:
        self._filler.unlink()

    def fail(self) -> None:
        """What the kernel does when it reads nonsense: from now on nothing can be written."""
        device = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", str(self.folder)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """Nobody may be using it."""
        self.unmount()
        # 1: errors were corrected.
        subprocess.run(["e2fsck", "-p", "-f", str(self._image)], check=False, capture_output=True)
        self.mount()
        probe = self.folder / "probe"
        probe.touch()
        probe.unlink()


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(directory, megabytes)
    try:
        yield disk
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            disk.unmount()


def _run(*words: str) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PATH": path})
