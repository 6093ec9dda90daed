"""From a DT as sent to UTC (PS3.5 6.2 DT, PS3.4 P.2.5.2, contract section 3, Time). Times are resolved, never shifted."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from plscp.matching.model import Instant

_DT: Final = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_OFFSETS: Final = (timedelta(hours=-12), timedelta(hours=14))


@lru_cache(maxsize=512)
def _offset(text: str) -> timedelta:
    """An offset such as ``+0100`` (``+01:00`` is understood too); ValueError where it is none, or outside -1200 to +1400."""
    if not re.fullmatch(r"[+-]\d\d:?[0-5]\d", text, re.ASCII):
        raise ValueError("offset from UTC is not of the form +HHMM or -HHMM")
    size = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    offset = -size if text[0] == "-" else size
    if not _OFFSETS[0] <= offset <= _OFFSETS[1]:
        raise ValueError("offset from UTC lies outside -1200 to +1400")
    return offset


@lru_cache(maxsize=512)
def zone(name: str) -> tzinfo:
    """A time zone by its IANA name or as a fixed offset; memoised. Raises ValueError: there is none of that name."""
    if name[:1] in {"+", "-"}:
        return timezone(_offset(name))
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"no time zone is called {name!r}") from None


def _in_zone(wall: datetime, where: tzinfo, latest: datetime) -> tuple[datetime, datetime | None]:
    """UTC of a wall-clock time, and its other reading where there are two; the UTC that `wall` says it is in is not meant.

    In a repeated hour both readings are possible, in an hour that does not exist the clock was either not yet or already set:
    the reading nearest to arrival wins, if it is not after `latest`.
    """
    first = where.utcoffset(wall) or timedelta(0)
    second = where.utcoffset(wall.replace(fold=1)) or timedelta(0)
    if first == second:
        return wall - first, None
    earlier, later = sorted((wall - first, wall - second))
    return (later, earlier) if later <= latest else (earlier, later)


def _end(begin: datetime, parts: tuple[str | None, ...]) -> datetime:
    """The last microsecond of what a DT of that precision, without seconds, names."""
    year, month, *finer = parts
    for part, length in zip(reversed(finer), (_MINUTE, _HOUR, _DAY), strict=True):
        if part is not None:
            return begin + length - _MICROSECOND
    first, of_year = int(year or 0), int(month or 12)
    following = datetime(first + of_year // 12, of_year % 12 + 1, 1, tzinfo=UTC)
    return begin + (following - datetime(first, int(month or 1), 1, tzinfo=UTC)) - _MICROSECOND


def instant(
    text: str,
    *,
    request_offset: str,
    device_zone: str | None,
    server_zone: str,
    arrival: datetime,
    tolerance: timedelta = timedelta(0),
) -> Instant:
    """Resolve a DT to UTC, with the precision that was sent.

    Args:
        request_offset: Timezone Offset From UTC (0008,0201) of the request, or empty.
        device_zone, server_zone: IANA names or offsets; used, in this order, where neither DT nor request has an offset.
        arrival: UTC; decides between the readings of a repeated hour: the nearest to it, and at most `tolerance` after it.
        tolerance: by how much clocks may differ.

    Raises:
        ValueError: with one line that says what is wrong, without the text itself.
    """
    matched = _DT.fullmatch(text.rstrip(" "))
    if matched is None:
        raise ValueError("not a DT: YYYYMMDDHHMMSS.FFFFFF&ZZXX is expected")
    year, month, day, hour, minute, second, fraction, own = matched.groups()
    leap = second == "60"
    try:
        wall = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            59 if leap else int(second or 0),
            int(fraction.ljust(6, "0")) if fraction else 0,
            UTC,
        )
    except ValueError as error:
        raise ValueError(f"not a date and time: {error}") from None
    basis: Literal["own", "request", "device", "server"]
    other: datetime | None = None
    try:
        if own or request_offset:
            basis = "own" if own else "request"
            begin = wall - _offset(own or request_offset.strip(" "))
        else:
            basis = "device" if device_zone else "server"
            begin, other = _in_zone(wall, zone(device_zone or server_zone), arrival + tolerance)
        if leap:
            begin += _SECOND
        if second is not None:
            return Instant(text, begin, begin, basis, None if other is None else (other, other))
        parts = (year, month, day, hour, minute)
        again = None if other is None else (other, _end(other, parts))
        return Instant(text, begin, _end(begin, parts), basis, again)
    except OverflowError:
        raise ValueError("not a date and time: outside the years 1 to 9999") from None
