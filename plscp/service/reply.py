"""The Action Reply of Table P.2-4, and the answer's forms for our acceptor and for a stock pynetdicom AE."""

from functools import lru_cache
from typing import Final, Literal

from pydicom.charset import convert_encodings, encode_string
from pydicom.dataset import Dataset

from plscp.content.charset import character_set as known_character_set
from plscp.network.answer import Status

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


@lru_cache(maxsize=256)
def _reply(study_instance_uid: str, patient_id: str, character_set: str, *, implicit: bool, little: bool) -> bytes:
    """An encoded reply; a device gets the same one all day."""
    term, patient = _encoded(patient_id, character_set)
    out = b""
    if term:
        out += _element(0x0008, 0x0005, b"CS", term.encode("ascii"), b" ", implicit=implicit, little=little)
    out += _element(0x0010, 0x0020, b"LO", patient, b" ", implicit=implicit, little=little)
    uid = study_instance_uid.encode("ascii")
    return out + _element(0x0020, 0x000D, b"UI", uid, b"\0", implicit=implicit, little=little)


class ActionReply:
    """The study and patient under which the events stand (PS3.4 P.2.2.5).

    Args:
        study_instance_uid, patient_id: both with a value.
        character_set: of the request, values joined by backslash.
    """

    __slots__ = ("character_set", "patient_id", "study_instance_uid")

    def __init__(self, study_instance_uid: str, patient_id: str, character_set: str = "") -> None:
        self.study_instance_uid = study_instance_uid
        self.patient_id = patient_id
        self.character_set = character_set

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """The encoded elements in tag order, not deflated."""
        return _reply(self.study_instance_uid, self.patient_id, self.character_set, implicit=implicit, little=little)

    def dataset(self) -> Dataset:
        """The same as a pydicom data set, for a stock AE."""
        dataset = Dataset()
        term, _ = _encoded(self.patient_id, self.character_set)
        if term:
            dataset.SpecificCharacterSet = term.split("\\") if "\\" in term else term
        dataset.PatientID = self.patient_id
        dataset.StudyInstanceUID = self.study_instance_uid
        return dataset


def _element(group: int, element: int, vr: bytes, value: bytes, pad: bytes, *, implicit: bool, little: bool) -> bytes:
    if len(value) % 2:
        value += pad
    order: Literal["little", "big"] = "little" if little else "big"
    tag = group.to_bytes(2, order) + element.to_bytes(2, order)
    if implicit:
        return tag + len(value).to_bytes(4, order) + value
    return tag + vr + len(value).to_bytes(2, order) + value


def status_dataset(status: Status) -> Dataset | int:
    """A status as a stock pynetdicom AE takes it: an int, or a data set where something stands beside it."""
    if not (status.comment or status.error_id is not None):
        return int(status)
    dataset = Dataset()
    dataset.Status = int(status)
    if status.comment:
        dataset.ErrorComment = status.comment
    if status.error_id is not None:
        dataset.ErrorID = status.error_id
    return dataset
