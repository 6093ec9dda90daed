"""One server per store: an exclusive lock on a file beside the database."""

import fcntl
import os
from pathlib import Path

from plscp.errors import StoreNotOpened
from plscp.store.private import FILE_MODE, private_file


class LockFile:
    """Held from `take` until `release` or the end of the process, however it ends.

    The file stays: taking away a locked file would let two processes lock two different files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock without waiting.

        Raises:
            StoreNotOpened: another process has it.
            OSError: the folder cannot be written.
        """
        private_file(self._path)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f" (process {holder})" if holder else ""
            raise StoreNotOpened(f"another server{who} has the store open: {self._path} is locked") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
