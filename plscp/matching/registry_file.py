"""The registry file: only the differences to its previous content are changes (contracts section 6)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple

from plscp.errors import Conflict, InvalidBody
from plscp.matching.bodies import AdmissionBody, PatientBody, StudyBody, parse
from plscp.matching.changes import plan_admission, plan_patient
from plscp.matching.issuers import Issuers
from plscp.matching.model import Policy
from plscp.matching.planning import Plan
from plscp.matching.registry import Registry
from plscp.matching.studies import end_study, plan_study
from plscp.store.port import RegistryRecord

Entry = dict[str, Any]
_SECTIONS: Final = ("patients", "admissions", "studies")


class Planned(NamedTuple):
    """What a registry file changes.

    Attributes:
        records: the changes; the last one keeps the file's content, so that a restart knows what is a difference.
        refused: one line for each change that was not taken; it is tried again when the file is next read.
    """

    records: list[RegistryRecord]
    refused: list[str]


def apply_file(
    registry: Registry, previous: Mapping[str, Any] | None, current: Mapping[str, Any], policy: Policy, now: datetime
) -> Planned:
    """Plan what a new content of the registry file changes.

    A new entry is said in full; of a changed one only the members that differ; an open study that is no longer listed is
    closed; a patient or admission no longer listed stays known.

    Args:
        previous: the content before, or None for what the registry last read.
        current: the file as `tomllib` reads it.

    Raises:
        InvalidBody: the file has a section that none has, or one that is no list of tables.
    """
    plan = Plan(registry, policy, now)
    issuers = registry.issuers
    before = _indexed(previous if previous is not None else registry.file, policy, issuers)
    after = _indexed(current, policy, issuers)
    refused: list[str] = []
    kept: dict[str, dict[str, Entry]] = {section: {} for section in _SECTIONS}
    for section, key, old, new in _in_order(before, after):
        if old == new:
            if new is not None:
                kept[section][key] = new
            continue
        count, taken = len(plan.records), new
        try:
            _PLANNERS[section](plan, key, old, new)
        except (Conflict, InvalidBody) as error:
            plan.take_back(count)
            refused.append(f"{section} {key}: {error}")
            taken = old  # what was not taken is still a difference when the file is next read
        if taken is not None:
            kept[section][key] = taken
    content = {section: list(kept[section].values()) for section in _SECTIONS if kept[section]}
    if content != registry.file:
        plan.add({"what": "file.read", "content": content}, None, "", "org.plscp.registry.file.v1", "")
    return Planned(plan.records, refused)


def _plain(value: Any) -> Any:
    """TOML's dates as JSON has them."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def _indexed(content: Mapping[str, Any], policy: Policy, issuers: Issuers) -> dict[str, dict[str, Entry]]:
    for name in content:
        if name not in _SECTIONS:
            raise InvalidBody(f"registry file: {name!r} is none of {', '.join(_SECTIONS)}")
    indexed: dict[str, dict[str, Entry]] = {}
    for section in _SECTIONS:
        entries = content.get(section, [])
        if not isinstance(entries, Sequence) or not all(isinstance(entry, Mapping) for entry in entries):
            raise InvalidBody(f"registry file: {section} is not a list of tables")
        of_section = indexed[section] = {}
        for number, entry in enumerate(entries, 1):
            key = _key(section, entry, policy, issuers) or f"number {number}"
            of_section[key if key not in of_section else f"{key} (number {number})"] = _plain(entry)
    return indexed


def _key(section: str, entry: Mapping[str, Any], policy: Policy, issuers: Issuers) -> str:
    """What tells entries of a section apart."""
    if section == "studies":
        return str(entry.get("study_instance_uid", "")).strip(" ")
    name = str(entry.get("id", "")).strip(" ")
    issuer = str(entry.get("issuer", "")).strip(" ") or (policy.patient_id_issuer if section == "patients" else "")
    return f"{issuers.spell(issuer)}|{name}" if name else ""


def _in_order(
    before: dict[str, dict[str, Entry]], after: dict[str, dict[str, Entry]]
) -> list[tuple[str, str, Entry | None, Entry | None]]:
    """Every entry with its old and new form; studies that end come before those that begin."""
    rows = [
        (section, key, before[section].get(key), after[section].get(key))
        for section in _SECTIONS
        for key in dict.fromkeys((*before[section], *after[section]))
    ]
    return sorted(rows, key=lambda row: (_SECTIONS.index(row[0]), row[0] == "studies" and not _ends(row[3])))


def _ends(new: Entry | None) -> bool:
    return new is None or new.get("status") in {"closed", "cancelled"}


def _differences(identity: Sequence[str], old: Entry | None, new: Entry) -> Entry:
    """What a planner is told: everything of a new entry, else what differs; a member taken out is emptied."""
    if old is None:
        return new
    said = {name: value for name, value in new.items() if name in identity or old.get(name) != value}
    emptied = {name: None for name in old if name not in new and name in {"location", "study_id", "accession_number"}}
    return said | emptied


def _file_patient(plan: Plan, _key: str, old: Entry | None, new: Entry | None) -> None:
    if new is not None:
        plan_patient(plan, parse(PatientBody, _differences(("id", "issuer"), old, new)), anew=old is None)


def _file_admission(plan: Plan, _key: str, old: Entry | None, new: Entry | None) -> None:
    if new is not None:
        plan_admission(plan, parse(AdmissionBody, _differences(("id", "issuer"), old, new)))


def _file_study(plan: Plan, key: str, old: Entry | None, new: Entry | None) -> None:
    if new is not None:
        plan_study(plan, parse(StudyBody, _differences(("study_instance_uid",), old, new)))
        return
    known = plan.view.study(key)
    if known is not None and known.status == "open":
        end_study(plan, key, "closed")


_PLANNERS: Final[dict[str, Callable[[Plan, str, Entry | None, Entry | None], None]]] = {
    "patients": _file_patient,
    "admissions": _file_admission,
    "studies": _file_study,
}
