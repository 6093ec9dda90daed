"""What values of the default repertoire look like (PS3.5 6.2)."""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

_TIME: Final = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_OFFSET: Final = r"(?:[+](?:0\d[0-5]\d|1[0-3][0-5]\d|1400)|-(?:0\d[0-5]\d|1[01][0-5]\d|1200))"
_YEAR: Final = r"(?!0000)\d{4}"  # the calendar has no year 0: after 1 BC comes 1
_DT: Final = re.compile(rf"({_YEAR}(?:{_MONTH}(?:{_DAY}(?:{_TIME})?)?)?)({_OFFSET})?", re.ASCII)
_DA: Final = re.compile(rf"{_YEAR}{_MONTH}{_DAY}", re.ASCII)
_TM: Final = re.compile(_TIME, re.ASCII)
_UI: Final = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)
_DS: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_IS_OFFSET: Final = re.compile(_OFFSET, re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_YEAR_1: Final = datetime(1, 1, 1, tzinfo=UTC)
_UNFORMATTED: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _day_exists(text: str) -> bool:
    return int(text[6:8]) <= monthrange(int(text[:4]), int(text[4:6]))[1]


def is_dt(text: str) -> bool:
    """Whether it is a DT: YYYYMMDDHHMMSS.FFFFFF&ZZXX, cut off at any component."""
    return _DT.fullmatch(text) is not None and (text[6:8] <= "28" or _day_exists(text))


def is_da(text: str) -> bool:
    """Whether it is a DA: YYYYMMDD."""
    return _DA.fullmatch(text) is not None and _day_exists(text)


def is_tm(text: str) -> bool:
    """Whether it is a TM: HHMMSS.FFFFFF, cut off at any component."""
    return _TM.fullmatch(text) is not None


def is_ui(text: str) -> bool:
    """Whether it is a UID: components without leading zeros, 64 characters at most (PS3.5 9.1)."""
    return len(text) <= 64 and _UI.fullmatch(text) is not None


def is_ds(text: str) -> bool:
    """Whether it is one decimal string, without padding."""
    return len(text) <= 16 and _DS.fullmatch(text) is not None


def is_offset(text: str) -> bool:
    """Whether it is an offset from UTC: +HHMM or -HHMM, -1200 to +1400."""
    return _IS_OFFSET.fullmatch(text) is not None


def is_line(text: str, most: int) -> bool:
    """Whether it is one value of SH or LO: no control characters, no backslash, so many characters at most."""
    return len(text) <= most and "\\" not in text and (text.isprintable() or _CONTROL.search(text) is None)


def is_unformatted(text: str) -> bool:
    """Whether a Text Value has no control characters but those that end lines (PS3.3 Table C.17-5)."""
    return text.isprintable() or _UNFORMATTED.search(text) is None


def is_pn(text: str) -> bool:
    """Whether it is one person's name: up to three groups of five components, 64 characters each (PS3.5 6.2.1)."""
    if text.isprintable() and "\\" not in text and len(text) <= 64 and text.count("^") <= 4 and text.count("=") <= 2:
        return True
    groups = text.split("=")
    return len(groups) <= 3 and all(is_line(group, 64) and group.count("^") <= 4 for group in groups)


def begins_with_digits(text: str, count: int) -> bool:
    """Whether a valid DT is as precise as that: to the minute with 12 digits, to the second with 14."""
    return len(text) >= count and text[:count].isdigit()


def order(first: str, second: str, offset: str) -> int | None:
    """How two valid DTs with minutes lie: -1 when the first is earlier, 1 when it is later, 0 when equal, None if unclear.

    Args:
        offset: Timezone Offset From UTC (0008,0201), which holds for a DT without one, or empty.
    """
    if len(first) != len(second) or first[-5:] != second[-5:]:
        one, other = _instant(first, offset), _instant(second, offset)
        if one[1] != other[1]:
            return None  # one has an offset, the other only the device's unknown zone
        return (one[0] > other[0]) - (one[0] < other[0])
    return (first > second) - (first < second)


def _instant(text: str, offset: str) -> tuple[timedelta, bool]:
    """The time since year 1, which may lie beyond the calendar's ends; and whether it is in UTC."""
    found = _DT.fullmatch(text)
    assert found is not None
    clock, own = found.groups()
    zone = own or offset
    whole = datetime(*(int(clock[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12))), tzinfo=UTC)  # type: ignore[misc,arg-type]
    moment = whole - _YEAR_1 + timedelta(microseconds=round(float(clock[12:] or 0) * 1_000_000))
    if not zone:
        return moment, False
    shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return (moment - shift if zone[0] == "+" else moment + shift), True
