"""Every row of the tables, against its declaration and against items that fill it rightly and wrongly (PS3.16)."""

import json
from copy import deepcopy
from typing import Any

import pytest

from plscp.content.constraints import ALLOWED, CONTRADICTED
from plscp.content.model import Code, ContentItem, Numeric
from plscp.findings import Finding
from plscp.templates.compiled import declared
from plscp.templates.entries import ENTRY_KINDS
from plscp.templates.log_entries import PROCEDURE_LOG, TITLE, LogContext, ProcedureContext, Qualifiers
from plscp.templates.measurements import (
    Algorithm,
    Equation,
    ImageUsed,
    Measured,
    MeasurementProperties,
    NormalRange,
    Statistics,
    Tracking,
    WaveformUsed,
)
from plscp.templates.observation_context import (
    DeviceObserver,
    Fetus,
    ObservationContext,
    Observer,
    PersonObserver,
    Quotation,
    Specimen,
    StudyContext,
    Subject,
    SubjectDevice,
    SubjectPatient,
)
from plscp.templates.procedure_log import type_entries
from plscp.templates.request import TypedEntry
from plscp.templates.rows import Row
from tests.templates.tables import BESIDE, HEADS, LEFT_OUT, LEVEL, LINES, OF_INCLUDER, PARAMETERS, ROWS, UNJUDGED, Line
from tests.templates.trees import (
    LINE,
    MEASURED,
    QUOTED,
    code,
    context_json,
    device,
    entry,
    entry_json,
    is_nested,
    item_for,
    person,
    root,
)
from tests.templates.trees import named as standing

INCLUDED: dict[str, type[Any]] = {
    "1002": Observer, "1003": PersonObserver, "1004": DeviceObserver, "1007": SubjectPatient, "1009": Specimen,
    "3010": Qualifiers, "3601": ProcedureContext, "300": Measured, "310": MeasurementProperties,
    "311": Statistics, "312": NormalRange, "315": Equation, "320": ImageUsed, "321": WaveformUsed, "1000": Quotation,
    "1001": ObservationContext, "1005": StudyContext, "1006": Subject, "1008": Fetus, "1010": SubjectDevice,
    "4019": Algorithm, "4108": Tracking,
}  # fmt: skip
OWN = [line for line in LINES if line.kind and not line.parent and line.value_type != "INCLUDE"]
ITEMS = [line for line in LINES if line.value_type != "INCLUDE" and line not in OWN]
INCLUDES = [line for line in LINES if line.value_type == "INCLUDE"]


def cells(found: Row) -> tuple[str, ...]:
    """A declared row as the table has it."""

    def shown(cell: Any) -> str:
        return f"{cell.binding} {cell.value} {cell.scheme}" if hasattr(cell, "scheme") else str(cell)

    value = " ".join(map(shown, found.value))
    return (
        found.number, found.relationship, found.value_type, shown(found.concept) if found.concept else "", found.vm,
        found.req, f"UNITS {shown(found.units)}" if found.units else value,
    )  # fmt: skip


def rows_of(model: type[Any]) -> list[Row]:
    """All rows that a class declares, nested ones of its template included."""
    found = []
    for _, declaration, item in declared(model):
        found.append(declaration)
        if not declaration.include and hasattr(item, "model_fields") and getattr(item, "head", None) is None:
            found += [nested for nested in rows_of(item) if nested.role == "item"]
    return found


def model_of(line: Line) -> type[Any]:
    """The class that declares a row."""
    if line.kind:
        return ENTRY_KINDS[line.kind].model
    return LogContext if line.tid == "3001" else INCLUDED[line.tid]


def doubtful(line: Line, *cells: str) -> bool:
    """The row or one of these cells is inference, or the row is included by one that is."""
    return line.tid in QUOTED or line.doubtful(*cells)


def preceding(line: Line) -> list[ContentItem]:
    """What must stand before a row of an inclusion, for it to be alone in nothing."""
    made = []
    if line.tid in {"1005", "1006", "1008", "1010"} or (line.tid, line.row) == ("1000", "2"):
        made.append(item_for(LINE["1000", "1"]))
    if line.tid in {"1008", "1010"}:
        made.append(item_for(LINE["1006", "1"]))
        made[-1].value = code("121026" if line.tid == "1008" else "121192", "DCM")
    needed = {"1008": "4", "1010": "1", "311": "1", "312": "1", "4108": "2"}.get(line.tid, "")
    if (line.tid, line.row) in {("1000", "1"), ("311", "1"), ("312", "1"), ("1010", "1"), ("4019", "1")}:
        needed = "2"
    if line.tid == "4019" and line.row != "1":
        made.append(item_for(LINE["4019", "1"]))
        needed = "2"
    if needed not in {"", line.row} and (line.tid, line.row) != ("1008", "3"):
        made.append(item_for(LINE[line.tid, needed]))
    return made


def host(line: Line) -> tuple[ContentItem, ContentItem, str]:
    """A valid log, the item in it that is the row's parent, and the parent's path with a full stop."""
    if line.kind:
        log, kind = root(entry(line.kind)), line.kind
        parent, path = log.children[2], "3."
        if line.tid == "3105":  # row 8 is for coronary arteries
            parent.children[0].value = code("41801008", "SCT")
        if line.tid == "3100" and line.row in {"6", "7"}:
            parent.children.append(item_for(LINE["3100", "7" if line.row == "6" else "6"]))
        if line.parent and LINE[line.tid, line.parent].nesting:
            above = next((c for c in parent.children if is_row(c, LINE[line.tid, line.parent])), None)
            if above is None:
                above = item_for(LINE[line.tid, line.parent])
                parent.children.append(above)
                parent.children.sort(key=lambda c: place(c, kind))
            return log, above, f"{path}{position(parent, above)}."
        return log, parent, path
    if line.tid in MEASURED | QUOTED:
        log = root(entry("patient_assessment" if line.tid in MEASURED else "note"))
        parent, path = log.children[2], "3."
        if line.tid in MEASURED:
            parent.children = [item_for(LINE["3114", "3"])]
            parent, path = parent.children[0], "3.1."
        if is_nested(line):
            higher = LINE[line.tid, line.parent]
            parent.children = [*preceding(higher), item_for(higher)]
            return log, parent.children[-1], f"{path}{len(parent.children)}."
        parent.children = preceding(line)
        return log, parent, path
    if line.tid == "3010":
        log = root(entry("note"))
        return log, log.children[2], "3."
    if line.tid in {"1007", "1009"}:
        log = root(entry("specimen_obtained"))
        return log, log.children[2], "3."
    if line.tid == "1003" and line.row == "5":
        log = root(observers=[*person(), item_for(LINE["1003", "4"])])
        return log, log.children[2], "3."
    return root(observers=person() if line.tid in {"1002", "1003"} else device()), root(), ""


def place(item: ContentItem, kind: str) -> int:
    """Where an item of an entry stands in its table."""
    lines = [line for line in LINES if line.kind == kind]
    return next((i for i, line in enumerate(lines) if line.nesting == ">" and is_row(item, line)), len(lines))


def position(parent: ContentItem, item: ContentItem) -> int:
    """1-based position, by identity."""
    return next(i for i, child in enumerate(parent.children, 1) if child is item)


def is_row(item: ContentItem, line: Line) -> bool:
    """Whether an item was made for a row."""
    made = item_for(line)
    return (item.concept, item.value_type, item.relationship) == (made.concept, made.value_type, made.relationship)


def put(line: Line, *items: ContentItem) -> tuple[ContentItem, str]:
    """A valid log with the row's items replaced by these; the path of the last of them."""
    log, parent, path = host(line)
    target = log if not path else parent
    target.children[:] = [c for c in target.children if not is_row(c, line)]
    if line.kind:
        before = [c for c in target.children if place(c, line.kind) < place(item_for(line), line.kind)]
        at = len(before) if not line.nesting.startswith(">>") else len(target.children)
    else:
        numbers = [other.row for other in LINES if other.tid == line.tid]
        earlier = numbers[: numbers.index(line.row)]
        at = max(
            (i for i, c in enumerate(target.children, 1) if any(is_row(c, LINE[line.tid, r]) for r in earlier
             if LINE[line.tid, r].value_type != "INCLUDE")), default=0,
        )  # fmt: skip
        if line.tid in {"1003", "1004", "3601"} or (line.tid, line.row) in {("3001", "4"), ("3001", "5")}:
            at = max(at, 1)
        if line.tid in MEASURED | QUOTED and not is_nested(line):
            single = [number for number in numbers if LINE[line.tid, number].value_type != "INCLUDE"]
            at = max(at, sum(not any(is_row(item, LINE[line.tid, r]) for r in single) for item in preceding(line)))
        if (line.tid, line.row) in {("1002", "1"), ("1003", "5")}:
            at = 0
    target.children[at:at] = items
    return log, f"{path}{at + len(items)}"


def checked(log: ContentItem, *, strict: bool = True) -> tuple[list[TypedEntry], dict[str, Any], list[Finding]]:
    """Entries, context and all findings of a log, under a strict profile unless said otherwise."""
    findings: list[Finding] = []
    entries, context = type_entries(log, strict=strict, findings=findings)
    everything = findings + [f for e in entries for f in e.findings if f not in findings]
    return entries, json.loads(b"{" + context_json(context) + b"}")["context"], everything


def named(findings: list[Finding], line: Line) -> list[Finding]:
    """Those that name the row."""
    return [f for f in findings if (f.template, f.row) == (f"TID{line.tid}", line.row)]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_declared_as_the_table_has_it(line: Line) -> None:
    """The class beside the table says the same in every cell."""
    concept = "" if line.concept == "ANY" or line.value_type == "INCLUDE" else line.concept
    relationship = line.relationship or ("CONTAINS" if line in OWN else "")
    wanted = (line.row, relationship, line.value_type, concept, line.vm, line.req, line.value)
    if line in OWN:
        found = [cells(ENTRY_KINDS[line.kind].row.row)]
    else:
        found = [cells(row) for row in rows_of(model_of(line)) if row.role == "item"]
    assert wanted in found


def test_every_row_is_declared_or_left_out_for_a_reason() -> None:
    """271 rows: those in no class are on the list, and what is on the list is in no class."""
    assert len(ROWS) == len(set(ROWS)) == 271
    assert (len(LINES) + len(LEVEL) + len(OF_INCLUDER), len(LEFT_OUT)) == (260, 11)
    assert {(line.tid, line.row) for line in ROWS} >= set(LEFT_OUT)
    for (tid, number), reason in LEFT_OUT.items():
        assert "PS3.3" in reason
        assert number not in {row.number for row in rows_of(INCLUDED[tid])}


def test_nothing_is_declared_that_no_table_has() -> None:
    """Each declaration is a row of a table, or a second one of a row, for a reason."""
    tables = {(line.tid, line.row, line.value_type) for line in LINES}
    models: set[type[Any]] = {LogContext, *INCLUDED.values(), *(kind.model for kind in ENTRY_KINDS.values())}
    found = {(model.head.identifier, row) for model in models for row in rows_of(model) if row.role != "value"}
    once = {(tid, row.number, row.value_type, row.relationship) for tid, row in found}
    assert {place[:3] for place in once} - tables <= BESIDE.keys()
    twice = {(tid, number, kind) for tid, number, kind, rel in once if (tid, number, kind) in BESIDE}
    assert twice == BESIDE.keys()


@pytest.mark.parametrize(("where", "group"), PARAMETERS.items(), ids=str)
def test_parameters_of_an_inclusion_of_measurement(where: tuple[str, str, str], group: str) -> None:
    """$Method and $TargetSite are the value cells of the included rows; without them any value will do."""
    (item,) = {item for _, row, item in declared(ENTRY_KINDS["patient_assessment"].model) if row.number == where[1]}
    (found,) = [row for row in rows_of(item) if row.number == where[2]]
    assert cells(found)[-1] == group
    assert cells(next(row for row in rows_of(Measured) if row.number == where[2]))[-1] == ""


def test_what_includes_a_measurement() -> None:
    """Just the rows of TID 3114 that the table has as inclusions are numbers with the rows of TID 300 below them."""
    found = {
        row.number for _, row, item in declared(ENTRY_KINDS["patient_assessment"].model) if issubclass(item, Measured)
    }
    assert found == {line.row for line in LINES if "by300" in line.remarks}


@pytest.mark.parametrize("line", LEVEL, ids=str)
def test_root_and_templates_at_the_first_level(line: Line) -> None:
    """The title's group is row 1's; each included template is a kind of entry."""
    if line.value_type == "CONTAINER":
        assert f"{TITLE.binding} {TITLE.cid}" == line.concept
    else:
        assert [kind.kind for kind in ENTRY_KINDS.values() if kind.head.identifier == line.concept] != []


CONDITIONAL = [line for line in LINES if line.req in {"MC", "UC"}]


@pytest.mark.parametrize("line", CONDITIONAL, ids=str)
def test_conditions(line: Line) -> None:
    """An MC or UC row has the kind of condition that its table has, judged unless nothing in a request tells it."""
    found = [row.when for row in rows_of(model_of(line)) if row.number == line.row][:1]
    assert [when.kind for when in found if when] == [*line.remarks & {"IF", "IFF", "XOR"}]
    assert [when.judge is None for when in found if when] == [(line.tid, line.row) in UNJUDGED]


@pytest.mark.parametrize("line", INCLUDES, ids=str)
def test_inclusions_name_their_template(line: Line) -> None:
    """An INCLUDE row includes the class of the template that the table names."""
    declaration = next(row for row in rows_of(model_of(line)) if row.number == line.row)
    assert declaration.include is INCLUDED[line.concept]
    assert declaration.verified == line.firm


@pytest.mark.parametrize("head", [h for h in HEADS if h.tid in {line.tid for line in LINES}], ids=lambda head: head.tid)
def test_heads_of_tables(head: Any) -> None:
    """Extensible and ordered are as the table's head says."""
    found = {plan.head for plan in ENTRY_KINDS.values()} | {model.head for model in INCLUDED.values()} | {PROCEDURE_LOG}
    assert {(h.extensible, h.ordered) for h in found if h.identifier == head.tid} == {(head.extensible, head.ordered)}


@pytest.mark.parametrize("line", LINES, ids=str)
def test_what_is_inference_refuses_nothing(line: Line) -> None:
    """A declaration is marked as inferred in just the cells that were not read."""
    rows = (
        [ENTRY_KINDS[line.kind].row.row]
        if line in OWN
        else [r for r in rows_of(model_of(line)) if r.number == line.row]
    )
    if line.tid in {tid for tid, number, _ in BESIDE if number == line.row}:
        del rows[1:]
    for declaration in rows:
        assert declaration.verified == ("?" not in line.remarks)
        for cell in ("concept", "value", "vm", "relationship"):
            assert declaration.rests_on(cell) != line.doubtful(cell)


@pytest.mark.parametrize("line", ITEMS, ids=str)
def test_filled_rightly(line: Line) -> None:
    """An item that fills the row is accepted under a strict profile, and typed: nothing is left over."""
    log, _ = put(line, item_for(line))
    entries, context, findings = checked(log)
    assert findings == []
    assert context["other"] == []
    assert all(e.kind != "untyped" and b'"other"' not in entry_json(e.typed) for e in entries)


@pytest.mark.parametrize("line", OWN, ids=str)
def test_entries_filled_rightly(line: Line) -> None:
    """The smallest valid entry is of the row's kind and template, and nothing is noted."""
    entries, _, findings = checked(root(entry(line.kind)))
    assert (entries[0].kind, entries[0].template) == (line.kind, line.tid)
    assert findings == []


# TID 1007 and 1008 have these in common.
SHARED = {("1008", "2"), ("1008", "3")}
# Any concept, or post-coordination, which is always allowed: nothing to be wrong about. Or another row is so.
TYPED = [
    line
    for line in ITEMS
    if not ("BCID" in line.concept or line.concept == "ANY" or line.relationship == "HAS CONCEPT MOD")
    and not (line.tid in {"300", "311", "312"} and "XOR" in line.remarks)
    and (line.tid, line.row) not in {*SHARED, ("315", "1")}
]


@pytest.mark.parametrize("line", TYPED, ids=str)
def test_wrong_value_type(line: Line) -> None:
    """Another value type for the row's concept is refused, naming the row; only noted where the row is inference."""
    wrong = item_for(line)
    wrong.value_type, wrong.value = ("TEXT", "x") if line.value_type != "TEXT" else ("CODE", Code("X1", "99TEST", "x"))
    if line.tid in {"1007", "3114"}:  # there TEXT is right, too: TID 1007 row 3, TID 3114 row 15
        wrong.value_type, wrong.value = "DATETIME", "20240102"
    wrong.children = []
    log, path = put(line, wrong)
    _, _, findings = checked(log, strict=False)
    found = [f for f in named(findings, line) if f.code == "wrong-value-type"]
    assert [f.path for f in found] == [path]
    assert found[0].refuse != doubtful(line, "concept", "value_type")


@pytest.mark.parametrize("line", [own for own in OWN if own.concept != "ANY" and "BCID" not in own.concept], ids=str)
def test_wrong_value_type_of_entries(line: Line) -> None:
    """So with the entry's own row."""
    wrong = entry(line.kind)
    wrong.value_type, wrong.value, wrong.children = "WAVEFORM", item_for(LINE["3102", "1"]).value, []
    if line.value_type == "WAVEFORM":
        wrong.value_type = "IMAGE"
    _, _, findings = checked(root(wrong), strict=False)
    found = [f for f in findings if f.code == "wrong-value-type"]
    assert [(f.path, f.refuse) for f in found] == [("3", not doubtful(line, "concept"))]
    assert found[0].template in {f"TID{line.tid}", "TID3001", "TID3112", "TID3110"}  # 121123 and 121071 are in several


# The only row of its template: without it there is no inclusion.
ALONE = ("315", "1")


@pytest.mark.parametrize("line", [i for i in ITEMS if i.req == "M" and (i.tid, i.row) != ALONE], ids=str)
def test_missing_mandatory(line: Line) -> None:
    """A missing M row is refused with the place where it should stand; only noted where its concept is inference."""
    if line.tid == "1004":
        log, _ = root(), device()
        del log.children[1]
        path = "2"
    elif line.tid == "1003":
        log, path = root(observers=person()[:1]), "2"
    else:
        log, path = put(line)
    _, _, findings = checked(log, strict=False)
    found = [f for f in named(findings, line) if f.code == "missing-row"]
    assert len(found) == 1
    assert found[0].refuse != doubtful(line, "concept")
    assert found[0].reason == f"missing {line.concept.split()[1] if line.concept[:2] in {'EV', 'DT'} else line.concept}"
    if line.kind and line.nesting == ">":
        host_path, _, at = path.rpartition(".")
        assert found[0].path == f"{host_path}.{int(at) + 1}"


# A second item begins another observer, or is the qualifier of the same concept.
# Or it is one more of the modifiers, or of the images and waveforms, or a patient's.
OTHER_THING_WHEN_TWICE = {"1002", "1003", "1004", "320", "321"}
ONE_MORE = {("300", "3"), ("300", "4"), ("4019", "1b"), ("4019", "4"), *SHARED}
COUNTED = [i for i in ITEMS if i.tid not in OTHER_THING_WHEN_TWICE and (i.tid, i.row) not in ONE_MORE]


@pytest.mark.parametrize("line", COUNTED, ids=str)
def test_multiplicity(line: Line) -> None:
    """A second item is typed where the row is 1-n, else refused or, for inference, noted and kept."""
    first, second = item_for(line), item_for(line)
    log, path = put(line, first, second)
    _, _, findings = checked(log, strict=False)
    found = [f for f in findings if f.code == "too-many"]
    if line.vm == "1-n":
        assert found == []
    else:
        assert [(f.path, f.template, f.row) for f in found] == [(path, f"TID{line.tid}", line.row)]
        assert found[0].refuse != doubtful(line, "concept", "vm")


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in ITEMS + OWN
        if line.value_type == "CODE"
        and standing(line.value)
        and not (
            line in OWN and "121123" in line.concept and line.tid != "3001"
        )  # another value makes it a patient event
    ],
    ids=str,
)
def test_codes_outside_the_value_cell(line: Line) -> None:
    """Another code is noted for context groups and DT, refused for EV."""
    wrong = Code("X1", "99TEST", "ours")
    if line in OWN:
        changed = entry(line.kind)
        changed.value = wrong
        log, path = root(changed), "3"
    else:
        changed = item_for(line)
        changed.value = wrong
        log, path = put(line, changed)
    _, _, findings = checked(log, strict=True)
    found = [f for f in named(findings, line) if f.path == path and f.code in {"outside-context-group", "wrong-value"}]
    assert [f.refuse for f in found] == [line.value.startswith("EV") and not doubtful(line)]


@pytest.mark.parametrize("line", [item for item in ITEMS if item.value.startswith("UNITS")], ids=str)
def test_wrong_units(line: Line) -> None:
    """Another unit than the row's is refused, outside a context group noted; a number without value has no unit."""
    wrong = item_for(line)
    wrong.value = Numeric("1", Code("[ft_i]", "UCUM", "foot"))
    log, path = put(line, wrong)
    _, _, findings = checked(log, strict=False)
    refuses = "EV" in line.value and not doubtful(line)
    assert [(f.path, f.refuse) for f in named(findings, line)] == [(path, refuses)]
    wrong.value = Numeric(None)
    _, _, findings = checked(put(line, wrong)[0])
    assert findings == []


# Any concept; or another row has the concept in this way.
RELATED = [
    item
    for item in ITEMS
    if (item.kind or item.tid in {"310", "311", "312", "3010"})
    and item.relationship != "HAS CONCEPT MOD"
    and "BCID" not in item.concept
    and item.concept != "ANY"
    and (item.tid, item.row) not in {("3100", "2"), ("3112", "2")}
]


@pytest.mark.parametrize("line", RELATED, ids=str)
def test_wrong_relationship(line: Line) -> None:
    """The row's concept under another relationship is refused, as a second way to encode what the template encodes."""
    wrong = item_for(line)
    wrong.relationship = "HAS OBS CONTEXT" if line.relationship != "HAS OBS CONTEXT" else "HAS PROPERTIES"
    log, path = put(line, wrong)
    _, _, findings = checked(log, strict=False)
    found = [f for f in named(findings, line) if f.code == "wrong-relationship"]
    assert [f.path for f in found] == [path]
    assert found[0].refuse == (not doubtful(line, "concept") and "conflict" not in line.remarks)


@pytest.mark.parametrize("line", ITEMS, ids=str)
def test_further_modifiers_are_always_allowed(line: Line) -> None:
    """Any item may carry more HAS CONCEPT MOD children, in non-extensible templates too (PS3.16 6.2.4)."""
    modified = deepcopy(item_for(line))
    modified.children.append(ContentItem("HAS CONCEPT MOD", "CODE", Code("X9", "99TEST", "so"), Code("X1", "99TEST")))
    _, _, findings = checked(put(line, modified)[0])
    assert findings == []


@pytest.mark.parametrize("line", ITEMS, ids=str)
def test_rows_stand_in_a_log_or_contradict_its_table(line: Line) -> None:
    """Each row is allowed by PS3.3 Table A.35.7-2, or marked as one that it forbids, and then only noted."""
    _, parent, _ = host(line)
    triple = (parent.value_type, line.relationship, line.value_type)
    assert triple in ALLOWED or ("conflict" in line.remarks and triple in CONTRADICTED)


@pytest.mark.parametrize("kind", ENTRY_KINDS.values(), ids=lambda kind: kind.kind)
def test_qualifiers_stand_below_every_entry_that_includes_them(kind: Any) -> None:
    """TID 3010 rows 6 to 8 stand below TEXT, CODE and NUM by the table, and below the others against it."""
    if "qualifiers" in kind.model.model_fields:
        triples = {
            (kind.row.row.value_type, row.relationship, row.value_type)
            for row in rows_of(Qualifiers)
            if not row.include
        }
        assert triples <= ALLOWED | CONTRADICTED
