"""The bytes of records: what they are, and that they mean what they always did (decision 0040)."""

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from plscp.matching import comments
from plscp.records.parts import utc, value
from plscp.records.values import ADAPTERS, RECORDS, read
from tests.records.story import lines
from tests.relay.judging import judge

GOLDEN = Path(__file__).parent / "golden"
BEFORE = (GOLDEN / "before.jsonl").read_bytes().splitlines()
"""As they were put together by hand, without `type`."""
NOW = (GOLDEN / "now.jsonl").read_bytes().splitlines()
"""Made anew by `python -m tests.records.story tests/records/golden/now.jsonl`."""


def type_of(line: bytes) -> str:
    """As the value itself says it."""
    return str(json.loads(line)["type"])


def of_correction(line: bytes) -> bool:
    """Whether a record moves an entry, or proposes that by hand: nothing did when records were put together by hand."""
    return b'"correction":{' in line or b'"because":"a \\"slip\\""' in line


def as_before(line: bytes) -> bytes:
    """A Patient ID that names nobody was called another patient's then."""
    return line.replace(comments.UNKNOWN_AT_LOCATION.encode(), comments.PATIENT_CONTRADICTS.encode())


OLDER = [(type_of(line), as_before(line)) for line in NOW if not of_correction(line)]
PUBLISHED = [(number, type_of(line)) for number, line in enumerate(NOW) if type_of(line) in RECORDS]


@pytest.fixture(scope="module")
def written() -> list[bytes]:
    """One of every record, as this version writes it."""
    return lines()


def test_the_bytes_of_every_record_are_known(written: list[bytes]) -> None:
    """Spacing, order of members, how numbers and times are spelled: a change is seen, and written down anew."""
    assert written == NOW


def test_they_mean_what_they_meant_before() -> None:
    """But for their type, which each carries now, the message of a feed, from which none of these came, and what the clock was worth."""
    for before, (_, now) in zip(BEFORE, OLDER, strict=True):
        meant = json.loads(now)
        assert meant.pop("type") == type_of(now)
        assert meant.pop("message", "") == ""
        (meant.get("match") or {}).pop("clock", None)
        assert meant == json.loads(before)


def test_every_published_one_is_what_its_schema_says() -> None:
    """The value alone says what it is; those stored by hand-made code get their type when they are read."""
    assert {kind for _, kind in PUBLISHED} == {*RECORDS}
    for number, kind in PUBLISHED:
        assert judge(kind, NOW[number]).type == kind
        assert read(type_of(NOW[number]), NOW[number]) == judge(kind, NOW[number])
    for before, (kind, line) in zip(BEFORE, OLDER, strict=True):
        if kind not in RECORDS:
            continue
        now = judge(kind, line)
        if getattr(now, "match", None) is not None:
            now = now.model_copy(update={"match": now.match.model_copy(update={"clock": None})})
        assert judge(kind, value(kind, before[:-1], b"", b"")) == now
    assert ADAPTERS[type_of(NOW[-1])].validate_json(NOW[-1]).store


def test_an_hour_that_comes_twice_is_two_hours_in_utc() -> None:
    """Python holds the two readings of such a time for equal: what is remembered of one must not be said of the other."""
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert (utc(first), utc(first.replace(fold=1))) == ("2024-10-27T00:30:00.000Z", "2024-10-27T01:30:00.000Z")
