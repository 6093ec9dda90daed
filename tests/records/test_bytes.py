"""The bytes of records: what they are, and that they mean what they always did."""

from pathlib import Path

import pytest

from tests.records.story import lines

NOW = Path(__file__).parent / "golden" / "now.jsonl"


@pytest.fixture(scope="module")
def written() -> list[bytes]:
    """One of every record, as this version writes it."""
    return lines()


def test_the_bytes_of_every_record_are_known(written: list[bytes]) -> None:
    """Spacing, order of members, how numbers and times are spelled: a change is seen, said (decision 0040) and written down anew."""
    assert written == NOW.read_bytes().splitlines()
