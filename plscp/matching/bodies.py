"""Bodies of the registry file and of HTTP (contract section 6), as Pydantic models.

One line says what is wrong with one, and one what is legal in it and probably not meant.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from plscp.errors import InvalidBody
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry

NO_ISSUER = "the ID has no issuer, so it agrees under any: give one, or set [matching] patient_id_issuer"

_UNFIT = r"[\\\x00-\x1f\x7f]"
_UID = r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+"


@dataclass(frozen=True, eq=False)
class _Checked:
    """A check of text, with what a JSON Schema says of it: an editor sees what the server will say."""

    check: Callable[[str], str]
    spelled: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), **self.spelled}


def _fits(length: int, least: int = 0) -> _Checked:
    def check(text: str) -> str:
        if len(text) < least:
            raise ValueError("must have a value")
        if len(text) > length:
            raise ValueError(f"at most {length} characters")
        if re.search(_UNFIT, text):
            raise ValueError("neither backslash nor control characters")
        return text

    inside, end = rf"[^{_UNFIT[1:]}", rf"[^ {_UNFIT[1:]}"
    pattern = f"({end}({inside}{{0,{length - 2}}}{end})?)"
    return _Checked(check, {"pattern": f"^ *{pattern}{'' if least else '?'} *$"})


def _text(given: object) -> object:
    """None empties; spaces at the ends are padding."""
    if given is None:
        return ""
    return given.strip(" ") if isinstance(given, str) else given


def uid(text: str) -> str:
    """Check a UID. Raises ValueError."""
    if len(text) > 64 or not re.fullmatch(_UID, text):
        raise ValueError("not a UID (PS3.5 9.1)")
    return text


_NO_TIME: Final = "not a time such as 2026-11-26T08:00:00Z"


def _a_time(given: object) -> object:
    """A number would be read as seconds since 1970: nobody means that."""
    if isinstance(given, int | float) or (isinstance(given, str) and not re.match("[0-9]{4}-", given)):
        raise ValueError(_NO_TIME)
    return given


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return moment if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:  # in UTC it lies beyond the calendar
        raise ValueError(_NO_TIME) from None


def _birth_date(given: object) -> object:
    """A date as TOML and ISO 8601 write it becomes the standard's DA."""
    given = _text(given.isoformat() if isinstance(given, date) else given)
    if isinstance(given, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", given, re.ASCII):
        return given.replace("-", "")
    return given


def _da(text: str) -> str:
    if text:
        if not re.fullmatch(r"\d{8}", text, re.ASCII):
            raise ValueError("not a date: YYYYMMDD (PS3.5 6.2, DA)")
        try:
            date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            raise ValueError("no such day: YYYYMMDD (PS3.5 6.2, DA)") from None
    return text


LO = Annotated[str, BeforeValidator(_text), _fits(64)]
SH = Annotated[str, BeforeValidator(_text), _fits(16)]
Remark = Annotated[str, BeforeValidator(_text), _fits(256)]
"""What people say about what they do."""
Named = Annotated[str, BeforeValidator(_text), _fits(64, 1)]
Uid = Annotated[str, BeforeValidator(_text), _Checked(uid, {"pattern": f"^ *{_UID} *$", "maxLength": 64})]
BirthDate = Annotated[
    str, BeforeValidator(_birth_date), _Checked(_da, {"pattern": "^ *([0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})? *$"})
]
Moment = Annotated[AwareDatetime | None, BeforeValidator(_a_time), AfterValidator(_utc)]
Validity = Annotated[datetime | None, BeforeValidator(_a_time), AfterValidator(_utc)]
"""A time that is UTC where it states no offset, as in `[operators] allowed`."""


class Body(BaseModel):
    """What all bodies have in common: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def said(self, name: str) -> bool:
        """Whether the body says anything about a member: one that is absent leaves what is known as it is."""
        return name in self.model_fields_set


class PatientRef(Body):
    """Which patient; without issuer it gets one by the chain of contract section 3."""

    id: LO = ""
    issuer: LO = ""


class NamedRef(PatientRef):
    """Which patient, named for certain."""

    id: Named


class PatientBody(Body):
    """One of ``patients``."""

    id: Named
    issuer: LO = ""
    name: Annotated[str, BeforeValidator(_text), _fits(324)] = ""
    birth_date: BirthDate = ""
    sex: SH = ""
    other_ids: tuple[NamedRef, ...] = ()


class AdmissionBody(Body):
    """One of ``admissions``."""

    id: Named
    issuer: LO = ""
    patient: PatientRef | None = None
    location: LO = ""
    status: Literal["active", "discharged", "cancelled"] = "active"


class StudyBody(Body):
    """One of ``studies``."""

    study_instance_uid: Uid
    study_id: SH = ""
    accession_number: LO = ""
    patient: PatientRef | None = None
    location: LO = ""
    status: Literal["scheduled", "open", "closed", "cancelled"] | None = None
    planned: Moment = None
    opened: Moment = None
    closed: Moment = None


class RegistryFileBody(Body):
    """The registry file: patients, admissions and studies as they are. All of it is taken, or nothing."""

    patients: tuple[PatientBody, ...] = ()
    admissions: tuple[AdmissionBody, ...] = ()
    studies: tuple[StudyBody, ...] = ()

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Of the file, for editors: it says what can be taken as text; what contradicts the registry only a server knows."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cls.model_json_schema()}


class OperatorBody(Body):
    """One of ``operators``: who may add to the Medication Administration Record, where and when."""

    value: Named
    scheme: Annotated[str, BeforeValidator(_text), _fits(16, 1)]
    status: Literal["active", "inactive"] = "active"
    locations: tuple[Named, ...] = ()
    valid_from: Validity = None
    valid_until: Validity = None


class MergeBody(Body):
    """What POST .../merge says: the ID that is merged away."""

    prior: NamedRef


_B = TypeVar("_B", bound=Body)


def parse(model: type[_B], body: Mapping[str, Any]) -> _B:
    """Check a body. Raises InvalidBody: with one line: where, what is wrong, and for an unknown key the nearest known one."""
    try:
        return model.model_validate(dict(body))
    except ValidationError as error:
        # An unknown key first: it is why another one is missing.
        first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        kind = model.__name__.removesuffix("Body").lower()
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] != "extra_forbidden":
            more = f" (+{error.error_count() - 1})" if error.error_count() > 1 else ""
            raise InvalidBody(f"{kind}: {where}: {first['msg'].removeprefix('Value error, ')}{more}") from None
        inside = len(first["loc"]) > 1  # the only bodies inside bodies are those that name a patient
        known = list((PatientRef if inside else model).model_fields)
        nearest = get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
        raise InvalidBody(f"{kind}: unknown key {where}: {hint}") from None


def cautions(body: Body, registry: Registry) -> list[str]:
    """What should be said beside a change that was taken, and is applied: a line each, without the patient's ID or name."""
    match body:
        case StudyBody():
            study = registry.study(body.study_instance_uid)
            named = body.patient is not None and body.patient.id
            whose = study.patient_id if study is not None and named else None
            unknown = unknown_location(body.location, registry)
            return [*([f"location: {unknown}"] if unknown else []), *_issuer("patient", whose)]
        case AdmissionBody():
            admission = registry.admission(body.id, body.issuer)
            return _issuer("patient", admission.patient_id if admission is not None and body.patient else None)
        case PatientBody():
            owner = registry.owner(PatientId(body.id, body.issuer))
            said = {other.id for other in body.other_ids}
            bare = [other for other in (owner.other_ids if owner else ()) if other.id in said and not other.issuer]
            return [*_issuer("issuer", owner.current if owner else None), *_issuer("other_ids", next(iter(bare), None))]
        case OperatorBody():
            unknown_places = (unknown_location(name, registry) for name in body.locations)
            return [f"locations: {line}" for line in unknown_places if line]
    return []


def unknown_location(name: str, registry: Registry) -> str:
    """That no `[locations]` entry lists a name, with the nearest that one lists; empty where one does, or there are none."""
    known = registry.locations
    if not name or not known or known.resolve(name) is not None:
        return ""
    folded = {listed.casefold(): listed for listed in known}
    nearest = get_close_matches(name.strip(" ").casefold(), folded, 1, 0.5)
    hint = f'did you mean "{folded[nearest[0]]}"?' if nearest else f"known are {', '.join(list(known)[:8])}"
    return f'no [locations] entry lists "{name}": a place of its own; {hint}'


def _issuer(where: str, named: PatientId | None) -> list[str]:
    return [f"{where}: {NO_ISSUER}"] if named is not None and not named.issuer else []
