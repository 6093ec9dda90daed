"""Reading Action Information from files: DICOM (PS3.10, or a bare data set), the DICOM JSON Model (PS3.18 Annex F), typed JSON.

Typed JSON is a `ProcedureLogRequest` or a `SubstanceAdministrationRequest` of `plscp.scu.requests`, told by its `entries`
or its `administration`; or, to look at, a published record (contract section 4), told by its `type`, whose entry is taken as a device would
send it. It is not sent again: its request's Timezone Offset is not in it, and without an Observation UID it would be logged twice.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydicom import dcmread
from pydicom.dataset import Dataset

from plscp.content.reader import EXPLICIT_LITTLE
from plscp.errors import CommandError
from plscp.records.values import ADMINISTERED
from plscp.scu import first_line
from plscp.scu.encoding import Encoded, encode, of_file
from plscp.scu.requests import ProcedureLogRequest, SubstanceAdministrationRequest

TYPED: Final[dict[str, type[ProcedureLogRequest | SubstanceAdministrationRequest]]] = {
    "entries": ProcedureLogRequest,
    "administration": SubstanceAdministrationRequest,
}
_NOT_IN_ACTION_INFORMATION = ("SOPClassUID", "SOPInstanceUID")


def encoded(path: Path) -> Encoded:
    """The data set of a file as bytes: those of a DICOM file as they stand there, faults and all.

    Raises:
        CommandError: one line, exit status 2: the file cannot be read, or is neither DICOM nor JSON.
    """
    raw, made = _load(path, records=True)
    if made is not None:
        try:
            return Encoded(encode(made), EXPLICIT_LITTLE)
        except Exception as error:  # pydicom raises whatever the wrong value leads to
            raise CommandError(f"{path}: a value cannot be encoded: {first_line(error)}", 2) from error
    found = of_file(raw)
    if found is None:
        raise CommandError(f"{path}: not a DICOM data set", 2)
    return found


def read(path: Path) -> Dataset:
    """The data set of a file, DICOM with or without preamble or JSON, ready to be sent; CommandError: it cannot be read.

    It has no file meta information, group lengths, SOP Class UID and SOP Instance UID, which Action Information shall not
    hold (PS3.4 5.4.2.3).
    """
    _, made = _load(path)
    if made is None:
        made = _dicom(path)
    for name in _NOT_IN_ACTION_INFORMATION:
        if name in made:
            delattr(made, name)
    if "ContentSequence" not in made and "SubstanceAdministrationDateTime" not in made:
        raise CommandError(f"{path}: neither a log (Content Sequence) nor an administration (its DateTime) is in it", 2)
    return made


def _load(path: Path, *, records: bool = False) -> tuple[bytes, Dataset | None]:
    """The bytes of a file, and the data set where they are JSON: of an array, its one object."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", 2) from error
    return raw, _json(path, raw, records=records) if raw.lstrip()[:1] in {b"{", b"["} else None


def _json(path: Path, raw: bytes, *, records: bool) -> Dataset:
    try:
        found: Any = json.loads(raw)
        if isinstance(found, list):
            if len(found) != 1:
                raise CommandError(f"{path}: {len(found)} data sets, where one request holds one", 2)
            found = found[0]
        if not isinstance(found, dict):
            raise CommandError(f"{path}: a data set is a JSON object, not {json.dumps(found)[:20]}", 2)
        if "type" in found:
            if not records:
                raise CommandError(f"{path}: a published record is not sent again; plscp explain draws it", 2)
            found = _as_sent(path, found)
        for name, request in TYPED.items():
            if name in found:
                return _typed(path, request, found)
        made: Dataset = Dataset.from_json(found)
    except CommandError:
        raise
    except Exception as error:  # pydicom raises whatever the wrong place leads to
        raise CommandError(f"{path}: not in the DICOM JSON Model: {first_line(error)}", 2) from error
    return made


def _as_sent(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The request in typed form that would bring a record's entry to where it stands."""
    entry, patient, study = (record.get(name) for name in ("entry", "patient", "study"))
    if not (isinstance(entry, dict) and isinstance(patient, dict)):
        raise CommandError(f"{path}: a record without an entry: {str(record['type'])[:100]}", 2)
    made = {"patient_id": patient.get("id", "")}
    if entry.get("kind") == ADMINISTERED:
        return made | {"issuer_of_patient_id": patient.get("issuer", ""), "administration": entry}
    if isinstance(study, dict):
        made |= {name: study.get(name, "") for name in ("study_instance_uid", "study_id")}
    return made | {"context": record.get("context") or {}, "entries": [entry]}


def _typed(path: Path, request: type[ProcedureLogRequest | SubstanceAdministrationRequest], found: Any) -> Dataset:
    try:
        made = request.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise CommandError(f"{path}: {place}: {first['msg'][:1].lower()}{first['msg'][1:]}", 2) from error
    for place in _unknown(found, made):
        raise CommandError(f"{path}: {place}: no such member", 2)
    try:
        return made.dataset(check=False)
    except (ValueError, TypeError) as error:  # pydicom holds no such value
        raise CommandError(f"{path}: {first_line(error)}", 2) from error


def _unknown(found: Any, made: Any, place: str = "") -> Iterator[str]:
    """Members that the typed form does not have: it passes over them, but who writes one meant another."""
    if isinstance(found, dict) and isinstance(made, BaseModel):
        for name, value in found.items():
            where = f"{place}.{name}".lstrip(".")
            if name not in type(made).model_fields:
                yield where
            else:
                yield from _unknown(value, getattr(made, name), where)
    elif isinstance(found, list) and isinstance(made, Sequence):
        for number, (one, its) in enumerate(zip(found, made, strict=False)):
            yield from _unknown(one, its, f"{place}.{number}")


def _dicom(path: Path) -> Dataset:
    try:
        made = Dataset(dcmread(path, force=True))
        for _ in made.iterall():  # now, so that a broken element is an error of the file and not of the sending
            pass
    except Exception as error:  # pydicom raises whatever the wrong byte leads to
        raise CommandError(f"{path}: not a DICOM data set: {first_line(error)}", 2) from error
    return made
