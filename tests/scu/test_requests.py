"""Requests built from typed entries: what is written is what is read, for every kind of entry and in every transfer syntax."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset

from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.errors import CommandError, DoesNotMatchTemplate, MissingAttribute, MissingAttributeValue
from plscp.scu import requests as r
from plscp.scu.encoding import SYNTAXES, encode
from plscp.scu.files import encoded, read
from plscp.scu.requests import ProcedureLogRequest, SubstanceAdministrationRequest
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.clinical_entries import DrugAdministered, Intervention, InterventionSite
from plscp.templates.log_entries import Note
from plscp.templates.procedure_log import read_log, type_entries
from plscp.templates.substance import SubstanceAdministered, read_administration
from plscp.templates.values import Item, Raw
from tests.templates import build
from tests.templates.strategies import KINDS
from tests.templates.tables import LINES
from tests.templates.trees import context_json, entry, entry_json, entry_line, item_for, parse_entry, root

NOW = datetime(2026, 3, 1, 14, 30, tzinfo=UTC)
CONTEXT = r.device_observer("1.2.3", "Recorder", room=r.text("Lab 1"))


def full(kind: str, *, contradicting: bool = True) -> Any:
    """A typed entry with every row of its table; or of those that PS3.3 Table A.35.7-2 does not contradict."""
    made, own = entry(kind), entry_line(kind)
    there = {(child.relationship, child.concept) for child in made.children}
    for line in LINES:
        if line.kind == kind and line.parent == own.row and line.value_type != "INCLUDE" and line.tid == own.tid:
            item = item_for(line)
            if "conflict" in line.remarks and not contradicting:
                continue
            if (item.relationship, item.concept) not in there and "IFF" not in line.remarks and line.tid != "3001":
                made.children.append(item)
    (typed,), _ = type_entries(root(made), strict=False, findings=[])
    return parse_entry(entry_json(typed.typed))


def decoded(raw: bytes, syntax: str, sop_class: str = PROCEDURAL_EVENT_LOGGING) -> Decoded:
    """After step 5."""
    return decode(raw, syntax, calling_ae="HEMO1", sop_class=sop_class, bounds=Bounds())


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_back_as_it_was_written(kind: str, syntax: str) -> None:
    """From the typed form through bytes to the typed form, under the strict profile; pydicom reads the bytes."""
    given = full(kind)
    request = ProcedureLogRequest(patient_id="P1", context=CONTEXT, entries=[given])
    raw = request.encode(syntax)
    made = read_log(decoded(raw, syntax), strict=True)
    assert parse_entry(entry_json(made.entries[0].typed)) == given
    assert made.identifiers.patient_id == "P1"
    assert json.loads(b"{" + context_json(made.context) + b"}")["context"]["room"] == {"text": "Lab 1"}
    known = build.read(raw, syntax)
    assert known.ContentSequence[-1].RelationshipType == "CONTAINS"
    assert len(known.to_json()) > 0


def drug(**changes: Any) -> DrugAdministered:
    """Said as a vendor would."""
    return DrugAdministered(**{
        "observation_datetime": r.moment(NOW),
        "action": r.code("122083", "DCM"),
        "drug": r.code("372877000", "SCT", "Heparin"),
        "dose": r.quantity("5000", "[iU]"),
        "administered_by": r.person("Doe^Jürgen"),
        **changes,
    })  # fmt: skip


def test_an_entry_is_made_without_saying_what_its_table_says() -> None:
    """Kind, template, and the concept where the table has just one; meanings are those of PS3.16."""
    made = Intervention(
        observation_datetime=r.moment(NOW),
        action=r.code("122303", "DCM"),
        site=InterventionSite(**r.code("10293006", "SCT").model_dump()),
        attempt=r.text("1"),
    )
    assert (made.kind, made.template, made.concept.value) == ("intervention", "3108", "122090")
    assert made.action.meaning == "Angioplasty balloon inflated"
    later = Note(observation_datetime=r.moment(NOW + timedelta(seconds=1)), type=r.code("121172", "DCM"), text="down")
    assert ProcedureLogRequest(context=CONTEXT, entries=[made, later]).findings() == []


def test_what_a_server_would_refuse_is_not_written_unless_wanted() -> None:
    """The error says where and why, as the server's own finding; check=False is for those who test servers."""
    request = ProcedureLogRequest(context=CONTEXT, entries=[drug(observation_datetime=None)])
    with pytest.raises(DoesNotMatchTemplate) as caught:
        request.dataset()
    assert [(f.code, f.path) for f in caught.value.findings if f.refuse] == [("observation-datetime-missing", "5")]
    assert tuple(request.findings()) == caught.value.findings
    assert "ObservationDateTime" not in request.dataset(check=False).ContentSequence[-1]


def test_what_only_a_strict_profile_refuses_is_not_written_either() -> None:
    """A vendor does not know the profile of each lab: here nobody says who reports."""
    refusing = [finding for finding in ProcedureLogRequest(entries=[drug()]).findings() if finding.refuse]
    assert [finding.code for finding in refusing] == ["missing-observer-context"]


def test_a_log_needs_an_entry() -> None:
    """And knows no other member than those that it has."""
    with pytest.raises(ValidationError, match="entries"):
        ProcedureLogRequest(entries=[])
    with pytest.raises(ValidationError, match="pateint_id"):
        ProcedureLogRequest.model_validate({"entries": [drug()], "pateint_id": "1"})


def test_times_have_an_offset_and_text_its_letters() -> None:
    """Everything is written in UTF-8; the offset from UTC goes with the request where it is given."""
    request = ProcedureLogRequest(context=r.person_observer("Doe^Jürgen"), entries=[drug()], timezone_offset="+0100")
    made = read_log(decoded(request.encode(), SYNTAXES[0]), strict=True)
    assert (made.timezone_offset, made.character_set) == ("+0100", "ISO_IR 192")
    assert made.entries[0].observation_datetime == "20260301143000.000000+0000"
    assert "Doe^Jürgen" in context_json(made.context).decode()


def administration(**changes: Any) -> SubstanceAdministered:
    """Said as a vendor would."""
    return SubstanceAdministered(**{
        "administered": r.moment(NOW),
        "product_names": ["Heparin", "Liquemin"],
        "route": r.code("47625008", "SCT"),
        "dose": r.amount("5000", "[iU]"),
        "volume": r.amount(5, "ml"),
        "parameters": [
            Item(value_type="NUMERIC", concept=r.code("1", "99X", "Pressure"), quantity=r.amount("3", "bar")),
            Item(value_type="TEXT", concept=r.code("2", "99X", "Remark"), text="slowly"),
        ],
        "operators": [r.code("N1001", "L", "Doe^Jane")],
        "patient_name": "Adams^Ann",
        "admission_id": "A1",
        "issuer_of_admission_id": "HOSP",
        "notes": "slowly",
        "device_id": "PUMP1",
        "package_identifier": "PKG",
        "elements": [Raw(tag="00081070", vr="PN", text="Doe^Jane")],
        "product_description": "one\r\ntwo",
        **changes,
    })  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_administration_is_read_back_as_it_was_written(syntax: str) -> None:
    """From the typed form through bytes to the typed form."""
    given = administration()
    request = SubstanceAdministrationRequest(patient_id="P1", issuer_of_patient_id="HOSP", administration=given)
    made = read_administration(decoded(request.encode(syntax), syntax, SUBSTANCE_ADMINISTRATION_LOGGING), strict=True)
    assert SubstanceAdministered.model_validate_json(entry_json(made.entry.typed)) == given
    assert (made.patient_id, made.issuer_of_patient_id, made.operators) == ("P1", "HOSP", [("N1001", "L")])


@pytest.mark.parametrize(
    ("changes", "error"), [({"operators": []}, MissingAttributeValue), ({"admission_id": None}, MissingAttribute)]
)
def test_an_administration_that_would_be_refused_is_not_written(
    changes: dict[str, Any], error: type[Exception]
) -> None:
    """By the rules of Table P.3-2."""
    with pytest.raises(error):
        SubstanceAdministrationRequest(administration=administration(**changes)).dataset()


def test_other_transfer_syntaxes_are_not_written() -> None:
    """JPEG is none for Action Information."""
    with pytest.raises(ValueError, match=r"1\.2\.840\.10008\.1\.2\.4\.50 is none of"):
        encode(Dataset(), "1.2.840.10008.1.2.4.50")


LOG = {
    "patient_id": "P1",
    "entries": [
        {
            "kind": "note",
            "observation_datetime": {"text": "20260301143000"},
            "type": {"value": "121172", "scheme": "DCM", "meaning": "Nursing Note"},
            "text": "Balloon up",
        }
    ],
}
DRUG = {"patient_id": "P1", "administration": json.loads(administration().model_dump_json(exclude_unset=True))}


@pytest.mark.parametrize("typed", [LOG, DRUG], ids=["log", "administration"])
def test_a_file_may_hold_a_request_in_typed_form(tmp_path: Path, typed: dict[str, Any]) -> None:
    """Told by its members; for sending as for explaining."""
    path = tmp_path / "it.json"
    path.write_text(json.dumps(typed))
    made = read(path)
    assert made.PatientID == "P1"
    assert encoded(path).raw == encode(made)
    assert ("ContentSequence" in made) == (typed is LOG)


WRONG = [
    ({**LOG, "pateint_id": "x"}, "pateint_id: extra inputs are not permitted"),
    ({"entries": [{**LOG["entries"][0], "txt": "x"}]}, "entries.0.txt: no such member"),  # type: ignore[dict-item]
    ({"entries": [{**LOG["entries"][0], "type": {"value": "1", "schem": "L"}}]}, "entries.0.type.schem: no such"),  # type: ignore[dict-item]
    ({"entries": [{"kind": "nonsense"}]}, "entries.0: "),
    ({"entries": [{"kind": "note"}]}, "entries.0.note.type: field required"),
    ({"entries": []}, "entries: "),
]


@pytest.mark.parametrize(("typed", "said"), WRONG, ids=[row[1] for row in WRONG])
def test_what_is_misspelt_is_said_with_its_place(tmp_path: Path, typed: dict[str, Any], said: str) -> None:
    """One line; nothing that was written is passed over in silence."""
    path = tmp_path / "it.json"
    path.write_text(json.dumps(typed))
    with pytest.raises(CommandError) as caught:
        read(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_readme_says_how(tmp_path: Path) -> None:
    """Its example runs as it stands, and what it dumps is a file of the same request."""
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme.split("## Build a device")[1].split("\n## ")[0], re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # our own text
    made = read_log(decoded(names["raw"], "1.2.840.10008.1.2"), strict=True)
    assert made.entries[0].kind == "drug_administered"
    path = tmp_path / "request.json"
    path.write_text(names["request"].model_dump_json())
    assert read(path) == names["request"].dataset()


def test_a_published_record_is_not_sent_again() -> None:
    """It would be another event: its request's Timezone Offset is not in it, nor need an Observation UID be."""
    path = Path(__file__).parents[2] / "schemas" / "examples" / "org.plscp.procedure-log.entry.v1" / "note.json"
    with pytest.raises(CommandError, match="a published record is not sent again"):
        read(path)
    assert encoded(path).raw
