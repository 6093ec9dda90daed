"""The registry file: only the differences to its previous content are changes (contract section 6)."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple

from plscp.errors import Conflict, InvalidBody
from plscp.matching.bodies import Body, cautions
from plscp.matching.changes import Plan, end_study, plan_admission, plan_patient, plan_study
from plscp.matching.model import Policy
from plscp.matching.registry import Issuers, Registry
from plscp.store.port import RegistryRecord

Entry = dict[str, Any]
_SECTIONS: Final = ("patients", "admissions", "studies")


class Planned(NamedTuple):
    """What a registry file changes. Its lines name rows by their number: no patient's name or ID is in them."""

    records: list[RegistryRecord]  # the last one keeps the file's content, so that a restart knows what is a difference
    refused: list[str]  # one line for each row that cannot be taken; where there is one, `records` is empty
    warnings: list[str]  # one line for each change that is legal and probably not meant


def apply_file(
    registry: Registry, previous: Mapping[str, Any] | None, current: Mapping[str, Any], policy: Policy, now: datetime
) -> Planned:
    """Plan what a new content of the registry file changes.

    All of it, or nothing where one row cannot be taken. A new entry is said in full; of a changed one only the members that
    differ; an open study that is no longer listed is closed; a patient or admission no longer listed stays known.

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
    warnings: list[str] = []
    for row in _in_order(before, after):
        if row.old == row.new:
            continue
        count = len(plan.records)
        try:
            body = _plan_row(plan, row)
        except (Conflict, InvalidBody) as error:
            plan.take_back(count)  # the rows after it are judged without it
            refused.append(f"{row.label}: {error}")
            continue
        warnings += [f"{row.label}: {line}" for line in (cautions(body, plan.view) if body is not None else ())]
    if refused:
        return Planned([], refused, warnings)
    content = {section: list(after[section].values()) for section in _SECTIONS if after[section]}
    if content != registry.file:
        plan.add({"what": "file.read", "content": content}, None, "", "")
    return Planned(plan.records, [], warnings)


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


class _Row(NamedTuple):
    """One entry of the file, before and now."""

    section: str
    key: str
    number: int
    old: Entry | None
    new: Entry | None

    @property
    def label(self) -> str:
        """Where it stands: patients and admissions only by their number."""
        number = f" {self.number}" if self.number else ""
        named = (self.new or self.old or {}).get("study_instance_uid")
        return f"{self.section}{number}{f' ({named})' if self.section == 'studies' and named else ''}"


def _in_order(before: dict[str, dict[str, Entry]], after: dict[str, dict[str, Entry]]) -> list[_Row]:
    """Every entry with its old and new form; studies that end come before those that begin."""
    rows = [
        _Row(section, key, number if key in after[section] else 0, before[section].get(key), after[section].get(key))
        for section in _SECTIONS
        for number, key in enumerate(dict.fromkeys((*after[section], *before[section])), 1)
    ]
    return sorted(rows, key=lambda row: (_SECTIONS.index(row.section), row.section == "studies" and not _ends(row.new)))


def _ends(new: Entry | None) -> bool:
    return new is None or new.get("status") in {"closed", "cancelled"}


def _differences(identity: Sequence[str], old: Entry | None, new: Entry) -> Entry:
    """What a planner is told: everything of a new entry, else what differs; a member taken out is emptied."""
    if old is None:
        return new
    said = {name: value for name, value in new.items() if name in identity or old.get(name) != value}
    emptied = {name: None for name in old if name not in new and name in {"location", "study_id", "accession_number"}}
    return said | emptied


def _plan_row(plan: Plan, row: _Row) -> Body | None:
    """Plan what one row says; returns what the planner was told, or None where it is no longer listed."""
    if row.new is None:
        known = plan.view.study(row.key) if row.section == "studies" else None
        if known is not None and known.status == "open":
            end_study(plan, row.key, "closed")
        return None
    if row.section == "studies":
        return plan_study(plan, _differences(("study_instance_uid",), row.old, row.new))
    said = _differences(("id", "issuer"), row.old, row.new)
    return plan_patient(plan, said, anew=row.old is None) if row.section == "patients" else plan_admission(plan, said)
