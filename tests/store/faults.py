"""A disk that fails on demand: an SQLite VFS in Python that lets the n-th write or sync fail, and goes on failing or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import apsw

Fault = Literal["write-error", "torn-write", "sync-error", "full"]
CODES = {
    "write-error": apsw.SQLITE_IOERR_WRITE,
    "torn-write": apsw.SQLITE_IOERR_WRITE,
    "sync-error": apsw.SQLITE_IOERR_FSYNC,
    "full": apsw.SQLITE_FULL,
}


class Disk:
    """Counts what is written and synced, and fails when it is told to.

    Attributes:
        happened: how often the fault has struck.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.left = 0
        self.lasting = False
        self.happened = 0

    def arm(self, fault: Fault, n: int, *, lasting: bool = False) -> None:
        """Let the n-th write or sync from now on fail; lasting: each one after it too, until it is mended."""
        self.fault, self.left, self.lasting, self.happened = fault, n, lasting, 0

    def mend(self) -> None:
        """No more faults."""
        self.fault = None

    def strikes(self, *faults: Fault) -> bool:
        """Whether this operation fails; counts it."""
        if self.fault not in faults:
            return False
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.lasting):
            self.happened += 1
            return True
        return False

    def error(self) -> Exception:
        """What the failing operation raises."""
        assert self.fault is not None
        code = CODES[self.fault]
        error: Any = apsw.FullError() if self.fault == "full" else apsw.IOError()
        error.result, error.extendedresult = code & 0xFF, code
        return error  # type: ignore[no-any-return]


class FaultyFile(apsw.VFSFile):  # type: ignore[misc, valid-type, unused-ignore]
    """A file on a `Disk`."""

    def __init__(self, inherit: str, name: Any, flags: Any, disk: Disk) -> None:
        self._disk = disk
        super().__init__(inherit, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 -- apsw's name
        """Write, or fail with nothing or half of it written."""
        if self._disk.strikes("write-error", "torn-write", "full"):
            if self._disk.fault == "torn-write":
                super().xWrite(data[: len(data) // 2], offset)
            raise self._disk.error()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Sync, or fail."""
        if self._disk.strikes("sync-error"):
            raise self._disk.error()
        super().xSync(flags)


class FaultyVfs(apsw.VFS):  # type: ignore[misc, valid-type, unused-ignore]
    """The system's files on a `Disk`."""

    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: Any) -> FaultyFile:  # noqa: N802
        """Open a file."""
        return FaultyFile("", name, flags, self._disk)


@contextmanager
def faulty_disk(name: str) -> Iterator[Disk]:
    """A disk that SQLite knows as the VFS of this name."""
    disk = Disk()
    vfs = FaultyVfs(name, disk)
    try:
        yield disk
    finally:
        vfs.unregister()
