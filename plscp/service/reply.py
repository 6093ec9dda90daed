"""What a device is answered: the status with what may stand beside it (contract section 2), and the Action Reply of Table P.2-4."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from pydicom.charset import convert_encodings, encode_string

from plscp.content.charset import character_set as known_character_set
from plscp.dicom.answer import Status
from plscp.errors import MissingAttribute, Refused, StoreBusy, StoreError, StoreFull
from plscp.findings import Finding
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING

ERROR_IDS: Final = {"store-unavailable": 1, "store-broken": 2, "answer-deadline": 3, "internal": 4, "store-error": 5}
"""Error ID (0000,0903) of 0110H, by the error's label."""
INTERNAL: Final = 0x0110


def refusing(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Those that refuse; where none says so, all."""
    return [finding for finding in findings if finding.refuse] or findings


def comment(findings: Sequence[Finding]) -> str:
    """Error Comment of a refusal: its first refusing finding, with how many more there are."""
    why = refusing(findings)
    return why[0].comment(len(why) - 1) if why else ""


def failure(refused: Refused) -> Status:
    """The status of a refused request."""
    status = Status(refused.status)
    if refused.info.comment:
        status.comment = comment(refused.findings)
    if refused.status == INTERNAL:
        status.error_id = ERROR_IDS["internal"]
    if isinstance(refused, MissingAttribute):
        status.attributes = refused.tags
    return status


def not_recorded(sop_class: str, error: StoreError | None = None) -> Status:
    """Step 10's failure; `error`: the store's, or None: the answer deadline has passed."""
    if isinstance(error, StoreFull | StoreBusy):
        return Status(0x0213)
    label = "answer-deadline" if error is None else error.label
    administration = sop_class == SUBSTANCE_ADMINISTRATION_LOGGING
    status = Status(0xC111 if administration else 0x0110)
    if not administration:
        status.error_id = ERROR_IDS.get(label, ERROR_IDS["store-error"])
    status.comment = f"not recorded, please send again: {label}"
    return status


_UTF_8: Final = "ISO_IR 192"


def _encoded(text: str, character_set: str) -> tuple[str, bytes]:
    """(Specific Character Set to name, bytes) for a text: the request's set where it fits, else UTF-8; none for ASCII."""
    if text.isascii():
        return "", text.encode("ascii")
    declared = known_character_set(character_set.encode("ascii", "replace"))
    if declared.known and character_set not in {"", _UTF_8}:
        try:
            raw: bytes = encode_string(text, convert_encodings(character_set.split("\\")))
        except (LookupError, UnicodeError, ValueError, Warning):
            raw = b""  # a set that pydicom cannot write: UTF-8 is always right
        if declared.decode(raw, "LO") == text:
            return character_set, raw
    return _UTF_8, text.encode("utf-8")


class ActionReply(NamedTuple):
    """The study and patient under which the events stand (PS3.4 P.2.2.5); character sets are joined by backslash."""

    study_instance_uid: str
    patient_id: str
    character_set: str = ""

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """The encoded elements in tag order, not deflated."""
        return _reply(self, implicit=implicit, little=little)


@lru_cache(maxsize=256)
def _reply(reply: ActionReply, *, implicit: bool, little: bool) -> bytes:
    """An encoded reply; a device gets the same one all day."""
    term, patient = _encoded(reply.patient_id, reply.character_set)
    order: Literal["little", "big"] = "little" if little else "big"
    out = b""
    for group, element, vr, value in (
        (0x0008, 0x0005, b"CS", term.encode("ascii")),
        (0x0010, 0x0020, b"LO", patient),
        (0x0020, 0x000D, b"UI", reply.study_instance_uid.encode("ascii")),
    ):
        if value or vr != b"CS":  # a character set is named only where there is need
            padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
            size = len(padded).to_bytes(4, order) if implicit else vr + len(padded).to_bytes(2, order)
            out += group.to_bytes(2, order) + element.to_bytes(2, order) + size + padded
    return out
