"""`plscp` under a clock that a test sets: it stands at the time that a file says, for all that is asked what time it is.

What runs out in seconds, such as deadlines, goes by the monotonic clock, which goes on. The relay is a process of its own and has
the machine's clock: nothing of it depends on the time.
"""

import importlib
import mmap
import os
import pkgutil
import struct
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

import plscp

CLOCK: Final = "PLSCP_TEST_CLOCK"
"""The environment's name of the file: microseconds since the epoch, eight bytes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROOMS: Final = ("app", "config", "dicom", "feeds", "matching", "records", "service", "store", "web")
_clock: mmap.mmap


def now_us() -> int:
    """What the clock shows."""
    return int(struct.unpack("<q", _clock[:8])[0])


class _Moved(type):
    """`datetime` as it is, but for `now`."""

    def __call__(cls, *given: Any, **named: Any) -> datetime:
        return datetime(*given, **named)  # noqa: DTZ001  # as it was asked for

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)

    def __getattr__(cls, name: str) -> Any:
        return getattr(datetime, name)


class MovedDatetime(metaclass=_Moved):
    """What the program's modules call datetime."""

    @staticmethod
    def now(tz: tzinfo | None = None) -> datetime:
        """The time that the file says."""
        return (_EPOCH + timedelta(microseconds=now_us())).astimezone(tz)


class _MovedTime:
    """The module `time`, but for the clocks that show the time of day."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        """Seconds since the epoch."""
        return now_us() / 1e6

    @staticmethod
    def time_ns() -> int:
        """Nanoseconds since the epoch."""
        return now_us() * 1000


def _modules() -> list[Any]:
    names = [
        each.name
        for each in pkgutil.walk_packages(plscp.__path__, "plscp.")
        if each.name.split(".")[1] in _ROOMS and not each.name.endswith("__main__")
    ]
    return [importlib.import_module(name) for name in names]


def main() -> int:
    """`plscp` with the arguments of this process."""
    global _clock  # noqa: PLW0603  # one process, one clock
    with Path(os.environ[CLOCK]).open("rb") as file:
        _clock = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    for module in _modules():
        if getattr(module, "datetime", None) is datetime:
            module.datetime = MovedDatetime
        if getattr(module, "time", None) is time:
            module.time = _MovedTime()
    from plscp.cli import main as command  # noqa: PLC0415  # after the clocks

    return int(command() or 0)


if __name__ == "__main__":
    sys.exit(main())
