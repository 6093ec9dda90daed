"""Two files as feeds, the registry file and the operators' file, which says who may add to the Medication Administration Record.

Each is read at start, when it changes and on SIGHUP; only differences to what it said before are changes.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from plscp.errors import Conflict, InvalidBody, PlscpError
from plscp.files import read_toml
from plscp.logs import log
from plscp.matching.bodies import Body, RegistryFileBody, cautions
from plscp.matching.changes import UNSAID, end_study, plan_admission, plan_operator, plan_patient, plan_study, take_out
from plscp.matching.model import Policy
from plscp.matching.operators import Code
from plscp.matching.plan import Plan
from plscp.matching.registry import Issuers, Registry
from plscp.service.keeper import RegistryKeeper
from plscp.store.port import RegistryRecord

Entry = dict[str, Any]
_OPERATORS: Final = "operators"
_SECTIONS: Final = tuple(RegistryFileBody.model_fields)
_IDENTITY: Final = frozenset({"study_instance_uid", "id", "issuer"})
_EMPTIED: Final = frozenset({"location", "study_id", "accession_number"})
_refused: Final[set[Path]] = set()
"""Files that could not be used when they were read last."""


class Planned(NamedTuple):
    """What a file changes. Its lines name rows by their number: no patient's name or ID is in them.

    Attributes:
        records: the last one keeps the file's content, so that a restart knows what is a difference.
        refused: one line for each row that cannot be taken; where there is one, `records` is empty.
        warnings: one line for each change that is legal and probably not meant.
    """

    records: list[RegistryRecord]
    refused: list[str]
    warnings: list[str]


PlanContent = Callable[[Registry, Mapping[str, Any] | None, Mapping[str, Any], Policy, datetime], Planned]


# --- what a new content changes --------------------------------------------------------------------------------------------


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
    before = _indexed(previous if previous is not None else registry.file, policy, registry.issuers)
    after = _indexed(current, policy, registry.issuers)
    changed = [row for row in _in_order(before, after) if row.old != row.new]
    refused, warnings = plan_rows(plan, [(row.label, partial(_plan_row, plan, row)) for row in changed])
    if refused:
        return Planned([], refused, warnings)
    listed = {section: list(after[section].values()) for section in _SECTIONS if after[section]}
    if listed != registry.file:
        plan.add({"what": "file.read", "content": listed}, None, "", "")
    return Planned(plan.records, [], warnings)


def plan_rows(plan: Plan, rows: Iterable[tuple[str, Callable[[], Body | None]]]) -> tuple[list[str], list[str]]:
    """Plan one row after the other; one that cannot be taken is taken back, and those after it are judged without it.

    Args:
        rows: what each is called, and what plans it and returns its body, if it has one.

    Returns:
        Lines about rows that cannot be taken, and warnings about the others.
    """
    refused: list[str] = []
    warnings: list[str] = []
    for label, plan_row in rows:
        count = len(plan.records)
        try:
            body = plan_row()
        except (Conflict, InvalidBody) as error:
            plan.take_back(count)
            refused.append(f"{label}: {error}")
            continue
        warnings += [f"{label}: {line}" for line in (cautions(body, plan.view) if body is not None else ())]
    return refused, warnings


def tables(content: Mapping[str, Any], section: str, file: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a section. Raises InvalidBody: it is no list of tables; `file` is what the line calls it."""
    rows = content.get(section, [])
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidBody(f"{file}: {section} is not a list of tables")
    return rows


def plain(value: Any) -> Any:
    """A value as JSON has it: TOML's dates become text."""
    return json.loads(json.dumps(value, default=lambda moment: moment.isoformat()))


def _indexed(content: Mapping[str, Any], policy: Policy, issuers: Issuers) -> dict[str, dict[str, Entry]]:
    for name in content:
        if name not in _SECTIONS:
            raise InvalidBody(f"registry file: {name!r} is none of {', '.join(_SECTIONS)}")
    indexed: dict[str, dict[str, Entry]] = {}
    for section in _SECTIONS:
        of_section = indexed[section] = {}
        for number, entry in enumerate(tables(content, section, "registry file"), 1):
            key = _key(section, entry, policy, issuers) or f"number {number}"
            of_section[key if key not in of_section else f"{key} (number {number})"] = plain(entry)
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

    def place(row: _Row) -> tuple[int, bool]:
        status = row.new.get("status") if row.new is not None else "closed"
        begins = not isinstance(status, str) or status not in {"closed", "cancelled"}  # a faulty one is refused later
        return _SECTIONS.index(row.section), row.section == "studies" and begins

    return sorted(rows, key=place)


def _plan_row(plan: Plan, row: _Row) -> Body | None:
    """Plan what one row says; returns what the planner was told, or None where it is no longer listed."""
    if row.new is None:
        known = plan.view.study(row.key) if row.section == "studies" else None
        if known is not None and known.status == "open":
            end_study(plan, row.key, "closed")
        return None
    said = row.new
    if row.old is not None:  # what differs; a member taken out is emptied
        emptied = {name: None for name in row.old if name not in row.new and name in _EMPTIED}
        differs = {name: it for name, it in row.new.items() if name in _IDENTITY or row.old.get(name) != it}
        said = differs | emptied
    if row.section == "studies":
        return plan_study(plan, said)
    return plan_patient(plan, said, anew=row.old is None) if row.section == "patients" else plan_admission(plan, said)


# --- the operators' file ---------------------------------------------------------------------------------------------------


def apply_operators(
    registry: Registry, previous: Mapping[str, Any] | None, current: Mapping[str, Any], policy: Policy, now: datetime
) -> Planned:
    """Plan what a new content of the operators' file changes; as `apply_file`.

    A row says all that holds of its operator; an operator who is no longer listed is taken out. What has not changed in the file
    changes nothing, whatever HTTP and HL7 have said since.
    """
    plan = Plan(registry, policy, now)
    said = {_OPERATORS: registry.operators.file} if previous is None else previous
    before, after = _by_code(said), _by_code(current)
    changed = [
        (f"{_OPERATORS} {number}", partial(plan_operator, plan, UNSAID | row, "file"))
        for number, (code, row) in enumerate(after.items(), 1)
        if row != before.get(code)
    ]
    refused, warnings = plan_rows(plan, changed)
    if refused:
        return Planned([], refused, warnings)
    for code in before:
        if code not in after:
            take_out(plan, *code, "file")
    rows = list(after.values())
    if rows != list(registry.operators.file):
        plan.add({"what": "operator.file", "content": rows}, None, "", "")
    return Planned(plan.records, [], warnings)


def _by_code(content: Mapping[str, Any]) -> dict[Code, Entry]:
    """The rows by their codes; of those that share one, or have none, each has a key of its own and is refused by what it is."""
    for name in content:
        if name != _OPERATORS:
            raise InvalidBody(f"operators' file: {name!r} is not {_OPERATORS}")
    indexed: dict[Code, Entry] = {}
    for number, row in enumerate(tables(content, _OPERATORS, "operators' file"), 1):
        value, scheme = (str(row.get(name, "")).strip(" ") for name in ("value", "scheme"))
        if (value, scheme) in indexed:
            raise InvalidBody(
                f"operators' file: {_OPERATORS} {number}: the code stands in a row before: one row says all of it"
            )
        indexed[value, scheme] = plain(row)
    return indexed


# --- reading -----------------------------------------------------------------------------------------------------------------


def content(path: Path) -> Mapping[str, Any]:
    """The file as nested tables. Raises InvalidBody: it cannot be read, or is not TOML in UTF-8."""
    try:
        return read_toml(path)
    except ValueError as error:
        raise InvalidBody(str(error)) from None


def check(path: Path, registry: Registry, policy: Policy, plan_content: PlanContent = apply_file) -> Planned:
    """What a server that knows nothing yet would say to the file; the registry is an empty one, with the locations."""
    try:
        return plan_content(registry, {}, content(path), policy, datetime.now(UTC))
    except InvalidBody as error:
        return Planned([], [str(error)], [])


async def read(path: Path, keeper: RegistryKeeper, plan_content: PlanContent = apply_file) -> int:
    """Take what the file says: all of it, or nothing.

    A file that cannot be used changes nothing, so that a slip of the pen does not stop a server during a case. Each row that is
    refused, or probably not meant as it stands, is one line in the log.

    Returns:
        How many lines were logged as refused.
    """
    planned = Planned([], [], [])
    positions: list[int] = []
    try:
        said = await asyncio.to_thread(content, path)

        def plan(registry: Registry) -> list[RegistryRecord]:
            nonlocal planned
            planned = plan_content(registry, None, said, keeper.policy, datetime.now(UTC))
            return planned.records

        positions = await keeper.change(plan, "file")
    except PlscpError as error:
        planned = Planned([], [str(error)], [])
    if planned.refused:
        _refused.add(path)
    elif path in _refused:
        _refused.discard(path)
        log.info("registry-file-recovered", file=str(path))
    for line in planned.refused:
        log.error("registry-file-refused", file=str(path), why=line)
    for line in planned.warnings:
        log.warning("registry-warning", file=str(path), why=line)
    if positions:
        log.info("registry-changed", source="file", position=positions[-1])
    return len(planned.refused)
