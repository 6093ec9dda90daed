"""What commands print: tables that fit a terminal, values on a page."""

import pytest

from plscp.cli import output
from plscp.cli.events import data_set


def test_what_is_copied_or_short_is_never_broken_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id stays whole, a time is broken after its date; a column with nothing in it takes no room."""
    monkeypatch.setattr(output, "WIDE", 80)
    headings = ["id", "time", "status", "device", "events", "from", "accepted since"]
    row = (
        "97b88ac705d8a904",
        "2026-11-26 12:28:55",
        "confirmed",
        "INJECT1",
        1,
        "1.2.840.113619.2.55.3 of 4711 (HOSP) and more",
        "",
    )
    output.table(headings, [row], "nothing")
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "accepted since" not in out
    words = out.split()
    for whole in ("97b88ac705d8a904", "2026-11-26", "12:28:55", "confirmed", "INJECT1"):
        assert whole in words, whole


def test_a_page_has_nothing_empty_and_times_to_the_second() -> None:
    """Of whatever depth; what a device wrote stays as it wrote it."""
    value = {
        "patient": {"id": "", "issuer": ""},
        "to": {"study": {"uid": None}, "steps": []},
        "opened": "2026-11-26T12:28:55.123Z",
        "text": "20261126122855.1+0000",
    }
    lines = [*output.described(value)]
    assert [(name, said) for _depth, name, said, _style in lines] == [
        ("opened", output.local("2026-11-26T12:28:55.123Z")),
        ("text", "20261126122855.1+0000"),
    ]


def test_a_refused_data_set_is_drawn_element_by_element() -> None:
    """In either encoding, without a word about values that are none; bytes that are no data set are not drawn."""
    explicit = b"\x10\0\x20\0LO\x04\x004711\x10\0\x30\0DA\x04\0soon"
    implicit = b"\x10\0\x20\0\x04\0\0\x004711"
    assert all("Patient ID" in data_set(raw)[0] and "'4711'" in data_set(raw)[0] for raw in (explicit, implicit))
    assert "cannot be drawn" in data_set(b"\0\xff")[0]
