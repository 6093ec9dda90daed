"""Time (contract section 3, P.2.5.2): text as sent, precision, offset and UTC."""

from datetime import UTC, datetime, timedelta

import pytest

from plscp.matching.times import instant, zone

SUMMER = datetime(2024, 7, 1, 12, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFSETS = [
    # text, (0008,0201), device, server, UTC, basis
    ("20240514103000+0530", "+0100", "America/New_York", "Europe/Berlin", "2024-05-14T05:00:00", "own"),
    ("20240514103000", "+0100", "America/New_York", "Europe/Berlin", "2024-05-14T09:30:00", "request"),
    ("20240514103000", "", "America/New_York", "Europe/Berlin", "2024-05-14T14:30:00", "device"),
    ("20240514103000", "", None, "Europe/Berlin", "2024-05-14T08:30:00", "server"),
    ("20240514103000", "", None, "+02:00", "2024-05-14T08:30:00", "server"),
    ("20240114103000", "", None, "Europe/Berlin", "2024-01-14T09:30:00", "server"),
    ("20240514103000.25-1200", "", None, "UTC", "2024-05-14T22:30:00.25", "own"),
    ("20240514103000.123456+1400", "", None, "UTC", "2024-05-13T20:30:00.123456", "own"),
    ("20240514103000 ", " +0000 ", None, "UTC", "2024-05-14T10:30:00", "request"),
    ("20240630235960+0000", "", None, "UTC", "2024-07-01T00:00:00", "own"),
]


@pytest.mark.parametrize("row", OFFSETS)
def test_offset_chain(row: tuple[str, str, str | None, str, str, str]) -> None:
    """Offset: its own, else the request's, else the device's zone, else the server's; and which one is said."""
    text, request_offset, device, server, expected, basis = row
    found = instant(text, request_offset=request_offset, device_zone=device, server_zone=server, arrival=SUMMER)
    assert (found.text, found.earliest, found.basis) == (text, utc(expected), basis)
    assert found.latest == found.earliest


PRECISIONS = [
    ("20240514103000", "2024-05-14T10:30:00", "2024-05-14T10:30:00"),
    ("202405141030", "2024-05-14T10:30:00", "2024-05-14T10:30:59.999999"),
    ("2024051410", "2024-05-14T10:00:00", "2024-05-14T10:59:59.999999"),
    ("20240514", "2024-05-14T00:00:00", "2024-05-14T23:59:59.999999"),
    ("202402", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999999"),
    ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
    ("202412+0000", "2024-12-01T00:00:00", "2024-12-31T23:59:59.999999"),
]


@pytest.mark.parametrize(("text", "earliest", "latest"), PRECISIONS)
def test_precision(text: str, earliest: str, latest: str) -> None:
    """A DT without seconds is its whole minute, one without minutes its whole hour, and so on."""
    found = instant(text, request_offset="", device_zone=None, server_zone="UTC", arrival=SUMMER)
    assert (found.earliest, found.latest) == (utc(earliest), utc(latest))


CHANGES_OF_CLOCK = [
    # Berlin: 2024-10-27 03:00 CEST becomes 02:00 CET (01:00 UTC); 2024-03-31 02:00 CET becomes 03:00 CEST (01:00 UTC).
    ("20241027023000", "2024-10-27T00:31:00", "2024-10-27T00:30:00"),  # before the second reading: the first
    ("20241027023000", "2024-10-27T01:29:59", "2024-10-27T00:30:00"),
    ("20241027023000", "2024-10-27T01:30:00", "2024-10-27T01:30:00"),  # not after arrival: the second
    ("20241027023000", "2024-10-28T12:00:00", "2024-10-27T01:30:00"),
    ("20241027023000", "2024-10-26T12:00:00", "2024-10-27T00:30:00"),  # both after arrival: the nearest
    ("20241027015959", "2024-10-28T12:00:00", "2024-10-26T23:59:59"),  # not repeated
    ("20241027030000", "2024-10-28T12:00:00", "2024-10-27T02:00:00"),
    ("20240331023000", "2024-03-31T01:31:00", "2024-03-31T01:30:00"),  # the clock was not yet set forward
    ("20240331023000", "2024-03-31T00:45:00", "2024-03-31T00:30:00"),  # it was set too early
    ("20240331030000", "2024-03-31T12:00:00", "2024-03-31T01:00:00"),
]


@pytest.mark.parametrize(("text", "arrival", "expected"), CHANGES_OF_CLOCK)
def test_repeated_and_missing_hours(text: str, arrival: str, expected: str) -> None:
    """In a repeated hour, or one that does not exist, the reading nearest to arrival and not after it wins."""
    found = instant(text, request_offset="", device_zone=None, server_zone="Europe/Berlin", arrival=utc(arrival))
    assert found.earliest == utc(expected)


def test_an_offset_settles_a_repeated_hour() -> None:
    """A DT with its own offset has one reading, whatever the arrival."""
    found = instant(
        "20241027023000+0100", request_offset="", device_zone=None, server_zone="Europe/Berlin", arrival=SUMMER
    )
    assert found.earliest == utc("2024-10-27T01:30:00")


BAD = [
    ("", "", "UTC"),
    ("2024-05-14", "", "UTC"),
    ("202405141", "", "UTC"),
    ("20241301", "", "UTC"),
    ("20240230", "", "UTC"),
    ("2024051424", "", "UTC"),
    ("20240514103061", "", "UTC"),
    ("20240514103000.", "", "UTC"),
    ("20240514103000.1234567", "", "UTC"),
    ("20240514103000+1500", "", "UTC"),
    ("20240514103000+0175", "", "UTC"),
    ("20240514103000", "abc", "UTC"),
    ("20240514103000", "", "Europe/Nowhere"),
    ("20240514103000", "", "../etc/passwd"),
    ("\u0662\u0660\u0662\u0664", "", "UTC"),
    ("00000101", "", "UTC"),
    ("00010101000000+1400", "", "UTC"),
    ("99991231235960-1200", "", "UTC"),
    ("20240514103000\x00", "", "UTC"),
]


@pytest.mark.parametrize(("text", "request_offset", "server"), BAD)
def test_what_is_no_time_is_said_in_one_line(text: str, request_offset: str, server: str) -> None:
    """ValueError with one printable line that does not repeat what was sent."""
    with pytest.raises(ValueError) as raised:
        instant(text, request_offset=request_offset, device_zone=None, server_zone=server, arrival=SUMMER)
    line = str(raised.value)
    assert line
    assert line.isprintable()
    assert not text or text not in line


def test_the_last_year_has_an_end() -> None:
    """Year 9999 to the year does not overflow into an exception of another kind."""
    with pytest.raises(ValueError):
        instant("9999", request_offset="", device_zone=None, server_zone="UTC", arrival=SUMMER)


def test_zones_are_looked_up_once() -> None:
    """The same name gives the same zone object."""
    assert zone("Europe/Berlin") is zone("Europe/Berlin")
    assert zone("+0130").utcoffset(None) == timedelta(minutes=90)
