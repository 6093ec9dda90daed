"""Step 6 of contract section 2: attributes of Tables P.2-2 and P.3-2 are present, valued and valid (PS3.4 5.4.2.1)."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from plscp.content.elements import Elements, items_of, shown, tag_text, text_of, undecoded
from plscp.content.items import TIMEZONE_OFFSET
from plscp.content.reader import Decoded
from plscp.content.syntax import is_dt, is_line, is_offset, is_pn, is_ui
from plscp.errors import InvalidArgument, MissingAttribute, MissingAttributeValue
from plscp.findings import Finding
from plscp.templates.request import Identifiers

PATIENT_ID, STUDY_INSTANCE_UID, STUDY_ID = 0x00100020, 0x0020000D, 0x00200010
SYNCHRONIZATION_FRAME_OF_REFERENCE_UID, PERFORMED_LOCATION = 0x00200200, 0x00400243
INSTANCE: Final = (0x00080016, 0x00080018)
"""SOP Class UID and SOP Instance UID: not to be sent (PS3.4 5.4.2.3)."""


class Attribute(NamedTuple):
    """A text attribute of a table of Annex P.

    Attributes:
        valid: what one value must look like.
        identifier: it names a patient, study, admission, place or operator: what does not decode is refused.
    """

    tag: int
    vr: str
    valid: Callable[[str], bool]
    identifier: bool = True


def _is_long(text: str, most: int) -> bool:
    return len(text) <= most and all(c.isprintable() or c in "\r\n\f\t\\" for c in text)


is_sh: Final = partial(is_line, most=16)
is_lo: Final = partial(is_line, most=64)


PROCEDURAL: Final = (
    Attribute(PATIENT_ID, "LO", is_lo),
    Attribute(STUDY_INSTANCE_UID, "UI", is_ui),
    Attribute(STUDY_ID, "SH", is_sh),
    Attribute(SYNCHRONIZATION_FRAME_OF_REFERENCE_UID, "UI", is_ui),
    Attribute(PERFORMED_LOCATION, "SH", is_sh),
)
"""The named attributes of Table P.2-2, all of Type 2."""

PATIENT_NAME, ISSUER_OF_PATIENT_ID, ISSUER_QUALIFIERS = 0x00100010, 0x00100021, 0x00100024
UNIVERSAL_ENTITY_ID: Final = 0x00400032
ADMISSION_ID, ISSUER_OF_ADMISSION_ID = 0x00380010, 0x00380011
PACKAGE_IDENTIFIER, PRODUCT_NAME, PRODUCT_DESCRIPTION = 0x00440001, 0x00440008, 0x00440009
ADMINISTRATION_DATETIME, ADMINISTRATION_NOTES, ADMINISTRATION_DEVICE_ID = 0x00440010, 0x00440011, 0x00440012

SUBSTANCE: Final = (
    Attribute(PATIENT_ID, "LO", is_lo),
    Attribute(ISSUER_OF_PATIENT_ID, "LO", is_lo),
    Attribute(PATIENT_NAME, "PN", is_pn, identifier=False),
    Attribute(ADMISSION_ID, "LO", is_lo),
    Attribute(ISSUER_OF_ADMISSION_ID, "LO", is_lo),
    Attribute(PACKAGE_IDENTIFIER, "ST", partial(_is_long, most=1024), identifier=False),
    Attribute(PRODUCT_NAME, "LO", lambda text: all(map(is_lo, text.split("\\"))), identifier=False),
    Attribute(PRODUCT_DESCRIPTION, "LT", partial(_is_long, most=10240), identifier=False),
    Attribute(ADMINISTRATION_DATETIME, "DT", is_dt),
    Attribute(ADMINISTRATION_NOTES, "LO", is_lo, identifier=False),
    Attribute(ADMINISTRATION_DEVICE_ID, "LO", is_lo, identifier=False),
)
"""The text attributes of Table P.3-2."""


class AttributeChecker:
    """What is wrong with the attributes of one request; the worst decides the status, all of it is told.

    Attributes:
        known: whether its character set is known.
        offset: Timezone Offset From UTC (0008,0201), or empty.
        absent: mandatory attributes that are not there (0120H).
        empty: attributes that must have a value and have none (0121H).
        findings: what does not refuse.
    """

    def __init__(self, decoded: Decoded, *, strict: bool) -> None:
        self.elements: Elements = decoded.root.elements
        self.known = decoded.character_set.known
        self.strict = strict
        self.absent: list[int] = []
        self.empty: list[int] = []
        self.findings: list[Finding] = []
        self._invalid: list[Finding] = []
        # What holds for both SOP Classes:
        for note in decoded.notes:
            (self._invalid if strict else self.findings).append(note._replace(refuse=strict))
        if not self.known:
            self.note("character-set-unknown", "unknown or contradicting terms", 0x00080005)
        for tag in INSTANCE:
            if tag in self.elements:
                self.note("unexpected-attribute", "not to be sent in Action Information", tag)
        self.offset = text_of(self.elements, TIMEZONE_OFFSET)
        if self.offset and not is_offset(self.offset):
            self.invalid("invalid-value", "not an offset +HHMM or -HHMM", TIMEZONE_OFFSET)

    def invalid(self, code: str, reason: str, tag: int) -> None:
        """A value that breaks VR, VM or characters (0115H)."""
        self._invalid.append(Finding(code, reason, tag_text(tag), refuse=True))

    def note(self, code: str, reason: str, tag: int) -> None:
        """What is never refused."""
        self.findings.append(Finding(code, reason, tag_text(tag)))

    def undecodable(self, tag: int) -> None:
        """Text outside identifiers that does not decode."""
        (self.invalid if self.strict else self.note)("text-undecodable", "does not decode by its character set", tag)

    def type_2(self, *tags: int) -> None:
        """Type 2 attributes: they may be empty; absent, only a lenient profile lets them pass."""
        for tag in tags:
            if tag not in self.elements and self.strict:
                self.absent.append(tag)
            elif tag not in self.elements:
                self.note("attribute-absent", "Type 2 attribute is absent", tag)

    def end(self) -> None:
        """Raises MissingAttribute, MissingAttributeValue or InvalidArgument, in this order, where the request is to be refused."""
        absent = [Finding("attribute-absent", "attribute is absent", tag_text(t), refuse=True) for t in self.absent]
        empty = [Finding("attribute-empty", "attribute has no value", tag_text(t), refuse=True) for t in self.empty]
        everything = [*absent, *empty, *self._invalid, *self.findings]
        if absent:
            raise MissingAttribute(self.absent, everything)
        if empty:
            raise MissingAttributeValue(self.empty, everything)
        if self._invalid:
            raise InvalidArgument(everything)

    def text(self, attribute: Attribute, elements: Elements | None = None) -> str:
        """A text attribute of the data set, or of an item, without padding; empty where it is absent, empty or not valid."""
        element = (self.elements if elements is None else elements).get(attribute.tag)
        if element is None:
            return ""
        if element.vr != attribute.vr or isinstance(element.value, list):
            self.invalid("wrong-vr", f"VR must be {attribute.vr}", attribute.tag)
            return ""
        text = shown(element).strip(" ")
        # ASCII needs no character set: only a strict profile minds that nobody knows the one that was named.
        unknown = self.strict and attribute.vr in {"LO", "SH", "UT"} and not self.known
        if undecoded(element) or (attribute.identifier and text and unknown):
            if attribute.identifier:
                self.invalid("identifier-undecodable", "does not decode by its character set", attribute.tag)
                return ""
            self.undecodable(attribute.tag)
        elif text and not attribute.valid(text):
            self.invalid("invalid-value", f"not one valid value of {attribute.vr}", attribute.tag)
        return text

    def issuer_universal_entity_id(self) -> str:
        """Universal Entity ID of the item of Issuer of Patient ID Qualifiers Sequence (PS3.3 Table 10-18), empty where none is sent.

        It says whose ID a Patient ID is, so what is wrong with it refuses in both SOP Classes.
        """
        element = self.elements.get(ISSUER_QUALIFIERS)
        if element is not None and element.value and not isinstance(element.value, list):
            self.invalid("wrong-vr", "VR must be SQ", ISSUER_QUALIFIERS)
        items = items_of(element)
        if len(items) > 1:
            self.invalid("issuer-items", "more than one item", ISSUER_QUALIFIERS)
        return self.text(_UNIVERSAL_ENTITY_ID, items[0]) if items else ""


def procedural_attributes(decoded: Decoded, *, strict: bool) -> tuple[Identifiers, str, list[Finding]]:
    """Checks the root's attributes of a Procedural Event: the five of Table P.2-2, and whose the Patient ID is.

    Returns:
        Identifiers, Timezone Offset From UTC (0008,0201) or empty, and findings, which are not to be changed.
    """
    remembered = decoded.remembered
    found: tuple[Identifiers, str, list[Finding]] | None = None if remembered is None else remembered.get(strict)
    if found is None:
        checker = AttributeChecker(decoded, strict=strict)
        checker.type_2(*(attribute.tag for attribute in PROCEDURAL))
        patient, study, number, frame, location, issuer = map(checker.text, (*PROCEDURAL, _ISSUER))
        authority = checker.issuer_universal_entity_id()
        found = (
            Identifiers(study, patient, issuer, number, location, frame, authority),
            checker.offset,
            checker.findings,
        )
        checker.end()
        if remembered is not None:
            remembered[strict] = found
    return found


_ISSUER: Final = Attribute(ISSUER_OF_PATIENT_ID, "LO", is_lo)
_UNIVERSAL_ENTITY_ID: Final = Attribute(UNIVERSAL_ENTITY_ID, "UT", partial(is_line, most=1024))
