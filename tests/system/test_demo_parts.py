"""The demo's check of itself: it must be able to fail."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from plscp.cli.demo import Fetching, Lines, Panels, Received, Stations, answer_line, answered, judge, published
from plscp.cli.view import line
from plscp.errors import CommandError
from plscp.records.brief import said
from plscp.scu.pci_case import Played, pci_case
from plscp.scu.sending import Answer

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CASE = pci_case()
PLAYED = [Played(request, Answer(request.expect, "why"), NOW) for request in CASE]


def stored(played: list[Played]) -> list[dict[str, Any]]:
    """What a store would hold of it."""
    values: list[dict[str, Any]] = []
    for one in played:
        sender = {"sender": {"ae_title": one.request.device}}
        if one.answer.performed:
            values += [sender | {"entry": {}, "occurred": {"text": time}} for time in one.times]
        else:
            values.append(sender | {"status": one.answer.code})
    return values


def test_what_arrived_whole_agrees() -> None:
    """Entries by device and DateTime, refusals by device and status."""
    found = answered(PLAYED)
    assert found == published(stored(PLAYED))
    assert found.entries.total() == sum(one.request.count for one in PLAYED if one.answer.performed)


@pytest.mark.parametrize("place", ["stored", "consumed"])
@pytest.mark.parametrize("what", ["lost", "twice", "another time", "another device", "refusal lost"])
def test_anything_that_did_not_arrive_as_it_was_sent_disagrees(place: str, what: str) -> None:
    """In the store or at the consumer."""
    spoiled = stored(PLAYED)
    first = spoiled[0]
    if what == "lost":
        del spoiled[0]
    elif what == "twice":
        spoiled.append(first)
    elif what == "another time":
        spoiled[0] = first | {"occurred": {"text": "20200101"}}
    elif what == "another device":
        spoiled[0] = first | {"sender": {"ae_title": "OTHER"}}
    else:
        spoiled.remove(next(value for value in spoiled if "status" in value))
    good, bad = published(stored(PLAYED)), published(spoiled)
    sent = answered(PLAYED)
    judge(CASE, PLAYED, Stations(sent, good, good), None)
    with pytest.raises(CommandError, match="what was sent, answered, stored and consumed differs"):
        judge(CASE, PLAYED, Stations(sent, bad, good) if place == "stored" else Stations(sent, good, bad), None)


def console(width: int = 160, *, terminal: bool) -> Console:
    """A console that keeps what it prints."""
    return Console(file=io.StringIO(), width=width, height=40, force_terminal=terminal, highlight=False)


def text(out: Console) -> str:
    """What was printed."""
    file = out.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


EVENT = Received("procedure-log[3]@12", {"sender": {"ae_title": "HEMO1"}, "entry": {"kind": "note", "text": "[bold]x"}})


def test_lines_show_both_sides_and_no_markup_of_a_device() -> None:
    """One line each; what a device sent is text."""
    out = console(terminal=False)
    view = Lines(out)
    with view.shown:
        view.answered(PLAYED[0])
        view.received(EVENT)
    answered, received = text(out).splitlines()
    assert answered.startswith("answered  0:00 HEMO1   0000 Patient admitted")
    assert received == "received procedure-log[3]@12 HEMO1   Note, [bold]x"


def test_panels_show_both_sides_at_once() -> None:
    """Two columns with their titles, and how far each device is."""
    out = console(terminal=True)
    view = Panels(out, "a Kafka consumer", CASE, 50)
    with view.shown:
        for one in PLAYED:
            view.answered(one)
        view.received(EVENT)
    last = text(out)
    for part in ("What each device was answered", "What a Kafka consumer received: 1", "19:40 of 20:00", "C102"):
        assert part in last


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_panels_show_is_not_cut(width: int) -> None:
    """The newest is told whole, over several lines where it is long; where two panels have no room beside each other, one is below."""
    out = Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)
    view = Panels(out, "a Kafka consumer", CASE, 50)
    longest = max(PLAYED, key=lambda one: len(answer_line(one)))
    view.answered(longest)
    view.received(
        Received("medication-administration[3]@12", {**EVENT.value, "entry": {"kind": "note", "text": "word " * 30}})
    )
    out.print(view.shown.get_renderable())
    shown = text(out)
    assert "\u2026" not in shown
    assert shown.count("word") == 30
    assert set(answer_line(longest).plain.split()) <= set(shown.replace("\u2502", " ").split())


def test_a_status_that_is_not_success_is_named_with_its_comment() -> None:
    """Success is a code only."""
    warned = replace(PLAYED[0], answer=Answer(0xB101, "another clock"))
    assert "B101 synchronization-frame-of-reference-differs (another clock)" in answer_line(warned).plain
    assert "success" not in answer_line(PLAYED[0]).plain


def test_an_event_names_its_device_and_a_refusal_its_reason() -> None:
    """As the consumer got it."""
    refusal = Received("quarantine[0]@0", {"sender": {"ae_title": "TABLET1"}, "status": "C110", "comment": "not known"})
    assert line(refusal.value, refusal.place).plain == "quarantine[0]@0 TABLET1 refused: not known"


def test_an_entry_is_said_with_what_was_done_with_what_and_how_much() -> None:
    """Units without UCUM's brackets."""
    entry = {
        "kind": "drug_administered",
        "action": {"meaning": "Drug administered"},
        "drug": {"meaning": "Heparin"},
        "dose": {"value": 5000.0, "text": "5000", "unit": {"value": "[iU]"}},
    }
    assert said(entry) == "Drug administered, Heparin, 5000 iU"
    assert said({"kind": "image_acquired"}) == "Image acquired"


def test_fetching_says_how_large_it_is_and_how_far() -> None:
    """Without a terminal: a line at the start and one per quarter; nothing when nothing is fetched."""
    out = console(terminal=False)
    fetching = Fetching(out)
    fetching.stop()
    assert text(out) == ""
    for done in range(0, 43_000_001, 1_000_000):
        fetching(done, 43_000_000)
    fetching.stop()
    lines = text(out).splitlines()
    assert "43 MB" in lines[0]
    assert len(lines) == 5
