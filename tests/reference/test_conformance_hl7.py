"""The HL7 conformance statement says what the program does."""

import re
from pathlib import Path

from plscp.feeds.hl7_persons import EVENTS
from plscp.reference.conformance_hl7 import MEANT, statement_hl7


def test_every_trigger_event_is_stated_and_no_other() -> None:
    """Each that is read has its line, and each line is of one that is read."""
    assert MEANT.keys() == EVENTS
    text = statement_hl7()
    assert set(re.findall(r"^\| ADT\^(A\d\d) \|", text, re.MULTILINE)) == EVENTS
    assert "{{" not in text


def test_it_is_not_stale() -> None:
    """docs/conformance-hl7.md is what the command prints."""
    stored = Path(__file__).parents[2] / "docs" / "conformance-hl7.md"
    assert stored.read_text("utf-8") == statement_hl7()
