"""What commands print: tables that fit a terminal, values on a page."""

import pytest

from plscp.cli import output


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
