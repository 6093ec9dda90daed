"""Driver errors in the store's own words (contracts section 8); the one place that knows SQLite's."""

import errno
from typing import Final

import apsw

from plscp.errors import StoreBroken, StoreError, StoreFull, StoreUnavailable

_QUOTA: Final = (errno.EDQUOT, errno.ENOSPC)
_UNAVAILABLE: Final = (apsw.BusyError, apsw.LockedError, apsw.NoMemError, apsw.InterruptError)
_BROKEN: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.InternalError,
    apsw.MisuseError,
    apsw.NotFoundError,
    apsw.NoLFSError,
)


def translate(error: BaseException, system_errno: int = 0) -> StoreError | None:
    """What a driver error means, or None where it is no failure of the store but of what it was given.

    Args:
        system_errno: of the failed call, where the driver has it: tells a quota from a broken disk.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, apsw.FullError):
        return StoreFull("the disk is full")
    extended = getattr(error, "extendedresult", 0)
    if extended == apsw.SQLITE_IOERR_WRITE and system_errno in _QUOTA:
        return StoreFull("the disk quota is used up")
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"the store does not answer: {error}")
    if isinstance(error, (*_BROKEN, OSError)):
        return StoreBroken(f"the store cannot be trusted any more: {type(error).__name__}: {error}")
    return None
