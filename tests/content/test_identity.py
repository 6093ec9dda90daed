"""Identity: SHA-256 over who sent it, what for and the content (contract section 1)."""

from struct import pack
from typing import Any

import pytest
from pydicom.dataset import Dataset

from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.templates import build


def identity(raw: bytes, syntax: str, ae: str = "HEMO1", sop_class: str = PROCEDURAL_EVENT_LOGGING) -> bytes:
    return decode(raw, syntax, calling_ae=ae, sop_class=sop_class, bounds=Bounds()).identity


def log(words: str = "Balloon up", **changes: Any) -> Dataset:
    return build.log(build.note(1, words), build.drug(2), **changes)


def test_transfer_syntax_and_length_encoding_are_no_content() -> None:
    """The same content in any transfer syntax, with or without lengths, has one identity."""
    found = {
        identity(build.encode(log(), syntax, undefined=undefined), syntax)
        for syntax in build.SYNTAXES
        for undefined in (False, True)
    }
    assert len(found) == 1


def test_the_time_of_a_content_is_as_sent_in_every_transfer_syntax() -> None:
    """The first Observation DateTime, or that of an administration; always the same for one identity."""
    found = {
        decode(
            build.encode(log(), syntax), syntax, calling_ae="A", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=Bounds()
        ).dated
        for syntax in build.SYNTAXES
    }
    (dated,) = found
    assert dated == str(build.note(1, "x").ObservationDateTime)
    administered = Dataset()
    administered.SubstanceAdministrationDateTime = "20261122101500"
    for content, expected in ((administered, "20261122101500"), (Dataset(), "")):
        raw = build.encode(content, build.SYNTAXES[0])
        read = decode(
            raw, build.SYNTAXES[0], calling_ae="A", sop_class=SUBSTANCE_ADMINISTRATION_LOGGING, bounds=Bounds()
        )
        assert read.dated == expected


def test_character_set_is_no_content() -> None:
    """The same text in another character set, declared once or in an item, has one identity."""
    sets = ("ISO_IR 100", "ISO_IR 192", "GB18030", "ISO 2022 IR 100", "ISO_IR 148")
    found = {
        identity(build.encode(log("Größe 3µ", SpecificCharacterSet=name), syntax), syntax)
        for name in sets
        for syntax in build.SYNTAXES
    }
    assert len(found) == 1


def test_a_declared_set_that_is_not_needed_is_no_content() -> None:
    """Specific Character Set itself does not count."""
    plain = identity(build.encode(log(), build.EXPLICIT), build.EXPLICIT)
    named = identity(build.encode(log(SpecificCharacterSet="ISO_IR 192"), build.EXPLICIT), build.EXPLICIT)
    assert plain == named


def test_padding_and_group_lengths_are_no_content() -> None:
    """Trailing padding of text and group lengths do not count."""
    patient = b"\x10\x00\x20\x00" + pack("<I", 4) + b"P123"
    length = b"\x10\x00\x00\x00" + pack("<II", 4, 12)
    padded = b"\x10\x00\x20\x00" + pack("<I", 6) + b"P123  "
    found = {identity(raw, build.IMPLICIT) for raw in (patient, length + patient, padded)}
    assert len(found) == 1


def test_private_elements_are_the_same_in_implicit_and_explicit_vr() -> None:
    """Implicit VR has no VR for a private element; its content is still the same."""
    made = log()
    made.add_new(0x00090010, "LO", "VENDOR")
    made.add_new(0x00091001, "LO", "odd")
    made.add_new(0x00091002, "US", 5)
    assert len({identity(build.encode(made, syntax), syntax) for syntax in build.SYNTAXES}) == 1


CHANGES = {
    "text": lambda: log("Balloon down"),
    "leading space": lambda: log(" Balloon up"),
    "patient": lambda: log(PatientID="PAT-2"),
    "no patient": lambda: log(PatientID=""),
    "patient absent": lambda: log(PatientID=None),
    "number as sent": lambda: build.log(build.note(1), build.drug(2, "50.0")),
    "order of items": lambda: build.log(build.drug(2), build.note(1, "Balloon up")),
    "another entry": lambda: build.log(build.note(1, "Balloon up"), build.drug(2), build.note(3)),
    "time": lambda: build.log(build.note(1, "Balloon up"), build.drug(3)),
    "a further element": lambda: log(Manufacturer="ACME"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_other_content_is_another_identity(what: str) -> None:
    """Whatever differs in content differs in identity."""
    raw = build.encode(CHANGES[what](), build.EXPLICIT)
    assert identity(raw, build.EXPLICIT) != identity(build.encode(log(), build.EXPLICIT), build.EXPLICIT)


def test_sender_and_sop_class_count() -> None:
    """The same bytes from another AE title, or for the other SOP Class, are another content."""
    raw = build.encode(log(), build.EXPLICIT)
    found = {
        identity(raw, build.EXPLICIT),
        identity(raw, build.EXPLICIT, ae="HEMO2"),
        identity(raw, build.EXPLICIT, sop_class=SUBSTANCE_ADMINISTRATION_LOGGING),
    }
    assert len(found) == 3


def test_items_cannot_be_confused_with_their_neighbours() -> None:
    """Moving an element from an item to the next, or a text's end to the next element, is another content."""
    one, two = build.dataset(StudyID="A"), build.dataset(PatientID="B")
    both = build.dataset(PatientID="B", StudyID="A")
    empty = Dataset()
    variants = ([both, empty], [empty, both], [one, two], [two, one], [both])
    found = {
        identity(build.encode(build.dataset(ContentSequence=list(variant)), build.EXPLICIT), build.EXPLICIT)
        for variant in variants
    }
    assert len(found) == len(variants)


def test_what_does_not_decode_enters_as_its_bytes() -> None:
    """Two undecodable texts differ by their bytes, and from the text that the same bytes could spell."""
    head = b"\x10\x00\x20\x00" + pack("<I", 2)
    utf8 = b"\x08\x00\x05\x00" + pack("<I", 10) + b"ISO_IR 192"
    found = {
        identity(raw, build.IMPLICIT) for raw in (head + b"\xc3\xa9", head + b"\xc3\xa8", utf8 + head + b"\xc3\xa9")
    }
    assert len(found) == 3
