"""A disk of 400 MB of its own, which can be filled: a tmpfs. Only root may mount one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE = 400 * 2**20
NEARLY_FULL = 100 * 10**6
"""Bytes that are free then: less than 200 MB is told of."""


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"

    def make_room(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def leave(self, free_bytes: int) -> None:
        """Fill it but for so many bytes, whoever else writes to it meanwhile."""
        self.make_room()
        descriptor = os.open(self.ballast, os.O_WRONLY | os.O_CREAT)
        try:
            while (more := shutil.disk_usage(self.folder).free - free_bytes) > 0:
                with suppress(OSError):  # there was less by then
                    os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, more)
        finally:
            os.close(descriptor)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk | None]:
    """Mount one at a folder. None: this process may not."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
