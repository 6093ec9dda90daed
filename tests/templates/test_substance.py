"""What comes out of a Substance Administration request (PS3.4 Table P.3-2, PS3.3 C.26.4)."""

from hashlib import sha256
from typing import Annotated, Any

import pytest
from pydantic import Field
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.findings import Finding
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING as SAL
from plscp.templates import substance as declaration
from plscp.templates.request import SubstanceAdministration
from plscp.templates.substance import SubstanceAdministered, read_administration
from tests.templates import build
from tests.templates.build import administration, code, dataset
from tests.templates.trees import entry_json

BAD_ROUTE = Items([code(("1", "L", "By dart"))])


def substance(made: Dataset, *, strict: bool = False, syntax: str = build.EXPLICIT) -> SubstanceAdministration:
    return read_administration(build.decoded(made, syntax, SAL), strict=strict)


@pytest.mark.parametrize("syntax", build.SYNTAXES)
def test_an_administration(syntax: str) -> None:
    """Table P.3-2 in full: identifiers, operators and the typed entry with its NUMERIC parameters."""
    found = substance(administration(TimezoneOffsetFromUTC="+0100"), strict=True, syntax=syntax)
    assert (found.patient_id, found.issuer_of_patient_id, found.patient_name) == ("PAT-1", "HOSP", "Adams^Ann")
    assert (found.admission_id, found.operators, found.timezone_offset) == ("ADM-7", [("4711", "L")], "+0100")
    assert found.findings == []
    typed = SubstanceAdministered.model_validate_json(entry_json(found.entry.typed))
    assert typed.volume is not None
    assert typed.volume.unit is not None
    assert (typed.volume.value, typed.volume.text, typed.volume.unit.value) == (20, "20", "ml")
    assert (typed.administered.text, typed.administered.precision) == ("20261122143005+0100", "second")
    assert typed.route is not None
    assert typed.route.value == "47625008"
    assert (typed.product_names, typed.notes, typed.device_id) == (["Iohexol"], "slowly", "INJ-3")
    assert (found.entry.kind, found.entry.index, found.entry.template) == ("substance_administered", 0, "")
    assert found.entry.content == sha256(build.decoded(administration(TimezoneOffsetFromUTC="+0100"), syntax, SAL)
                                         .root.canonical).digest()  # fmt: skip


def test_nothing_of_an_administration_is_dropped() -> None:
    """Several names, a package, a description, more of an operator, attributes of no table: all are in the entry."""
    who = dataset(PersonIdentificationCodeSequence=Items([code(("1", "L", "Doe^Jane"))]), InstitutionName="Ward")
    made = administration(
        ProductName=["Iohexol", "Omnipaque"],
        ProductPackageIdentifier="(01)0123",
        ProductDescription="vial\r\n50 ml",
        OperatorIdentificationSequence=Items([who]),
        Manufacturer="ACME",
    )
    typed = SubstanceAdministered.model_validate_json(entry_json(substance(made, strict=True).entry.typed))
    assert typed.product_names == ["Iohexol", "Omnipaque"]
    assert (typed.package_identifier, typed.product_description) == ("(01)0123", "vial\r\n50 ml")
    assert [e.tag for e in typed.elements] == ["00080070", "00081072"]


ISSUERS = [
    # Issuer of Admission ID | Issuer of Admission ID Sequence | taken | finding
    ("WARD", None, "WARD", []),
    (None, {"LocalNamespaceEntityID": "WARD"}, "WARD", []),
    (None, {"UniversalEntityID": "1.2.3", "UniversalEntityIDType": "ISO"}, "1.2.3", []),
    ("WARD", {"LocalNamespaceEntityID": "WARD", "UniversalEntityID": "1.2.3"}, "WARD", []),
    ("WARD", {"LocalNamespaceEntityID": "OTHER"}, "WARD", ["issuers-differ"]),
]


@pytest.mark.parametrize(("plain", "sequence", "taken", "findings"), ISSUERS)
def test_both_forms_of_issuer_of_admission_id(plain: Any, sequence: Any, taken: str, findings: list[str]) -> None:
    """The retired attribute of Table P.3-2 and the sequence of C.26.4 are both taken."""
    inner = None if sequence is None else Items([dataset(**sequence)])
    found = substance(administration(IssuerOfAdmissionID=plain, IssuerOfAdmissionIDSequence=inner))
    assert found.issuer_of_admission_id == taken
    assert [f.code for f in found.findings] == findings


def parameter(**values: Any) -> Dataset:
    name = {"ConceptNameCodeSequence": Items([code(("122091", "DCM", "Volume administered"))])}
    unit = {"MeasurementUnitsCodeSequence": Items([code(("ml", "UCUM", "ml"))])}
    return dataset(**{k: v for k, v in {**name, **unit, **values}.items() if v is not None})


def in_measured(value: str) -> dict[str, Any]:
    unit = Items([code(("ml", "UCUM", "ml"))])
    return {"MeasuredValueSequence": Items([dataset(NumericValue=value, MeasurementUnitsCodeSequence=unit)])}


PARAMETERS = [
    # what | item | findings | member it becomes
    ("NUMERIC", parameter(ValueType="NUMERIC", NumericValue="5"), [], "volume"),
    ("NUM", parameter(ValueType="NUM", NumericValue="5"), ["parameter"], "volume"),
    ("NUM as in SR", parameter(ValueType="NUM", MeasurementUnitsCodeSequence=None, **in_measured("5")), ["parameter"],
     "volume"),
    ("no unit", parameter(ValueType="NUMERIC", NumericValue="5", MeasurementUnitsCodeSequence=None), ["parameter"],
     "parameters"),
    ("a unit that is none", parameter(ValueType="NUMERIC", NumericValue="5",
     MeasurementUnitsCodeSequence=Items([code(("cc", "UCUM", "cc"))])), ["invalid-unit"], "volume"),
    ("no number", parameter(ValueType="NUMERIC"), ["parameter"], "parameters"),
    ("two numbers", parameter(ValueType="NUMERIC", NumericValue=["5", "6"]), ["parameter"], "parameters"),
    ("no concept", parameter(ValueType="NUMERIC", NumericValue="5", ConceptNameCodeSequence=None), ["parameter"],
     "parameters"),
    ("no value type", parameter(NumericValue="5"), ["parameter"], "parameters"),
    ("unknown value type", parameter(ValueType="SCOORD"), ["parameter"], "parameters"),
    ("own time", parameter(ValueType="NUMERIC", NumericValue="5", ObservationDateTime="20261122143000"), [], "parameters"),
    ("other concept", parameter(ValueType="TEXT", TextValue="x", MeasurementUnitsCodeSequence=None,
     ConceptNameCodeSequence=Items([code(("1", "L", "Lot"))])), ["outside-context-group"], "parameters"),
    ("code", parameter(ValueType="CODE", ConceptCodeSequence=BAD_ROUTE, MeasurementUnitsCodeSequence=None), [], "parameters"),
    ("image", parameter(ValueType="IMAGE", MeasurementUnitsCodeSequence=None, ReferencedSOPSequence=Items(
        [dataset(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.3")])), [], "parameters"),
    ("image without reference", parameter(ValueType="IMAGE"), ["parameter"], "parameters"),
    ("empty date", parameter(ValueType="DATE", Date=""), ["parameter"], "parameters"),
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("what", "item", "findings", "member"), PARAMETERS, ids=[row[0] for row in PARAMETERS])
def test_parameters_are_never_a_reason_to_refuse(
    what: str, item: Dataset, findings: list[str], member: str, strict: bool
) -> None:
    """What is wrong with a parameter is a finding in both profiles; the item is kept whole."""
    found = substance(administration(SubstanceAdministrationParameterSequence=Items([item])), strict=strict)
    assert [f.code for f in found.findings] == findings, what
    typed = SubstanceAdministered.model_validate_json(entry_json(found.entry.typed))
    if member == "volume":
        assert typed.volume is not None
        assert (typed.volume.text, typed.parameters) == ("5", [])
    else:
        assert len(typed.parameters) == 1
        kept = {e.tag for e in typed.parameters[0].item_elements}
        faulty = bool(findings) and findings != ["outside-context-group"]
        assert (len(kept) >= len(item) - 1) == faulty


def test_a_repeated_parameter() -> None:
    """The first of a kind has its name, further ones are listed."""
    two = [parameter(ValueType="NUMERIC", NumericValue=n) for n in ("5", "6")]
    found = substance(administration(SubstanceAdministrationParameterSequence=Items(two)))
    typed = SubstanceAdministered.model_validate_json(entry_json(found.entry.typed))
    assert typed.volume is not None
    assert typed.parameters[0].quantity is not None
    assert (typed.volume.text, typed.parameters[0].quantity.text) == ("5", "6")


def test_likeness_of_administrations() -> None:
    """Time, product and parameters make two administrations alike; notes do not."""
    one = substance(administration()).entry
    assert (
        substance(administration(SubstanceAdministrationNotes="fast")).entry.near_duplicate_key
        == one.near_duplicate_key
    )
    for other in (
        administration(ProductName="Heparin"),
        administration(SubstanceAdministrationDateTime="20261122143006+0100"),
        administration(SubstanceAdministrationParameterSequence=Items([])),
    ):
        assert substance(other).entry.near_duplicate_key != one.near_duplicate_key


def test_an_administration_that_contradicts_its_class_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the declaration is noted, and every element is kept whole."""

    class Odd(SubstanceAdministered):
        notes: Annotated[str | None, Field(max_length=3)] = None

    monkeypatch.setattr(declaration, "SubstanceAdministered", Odd)
    found = substance(administration(), strict=True)
    assert found.findings == [Finding("not-valid-by-class", "notes not valid by its class", "", "C.26.4")]
    kept = {element.tag for element in found.entry.typed.elements}
    assert {"00440011", "00440019", "00081072"} <= kept
    assert found.entry.typed.administered.text == "20261122143005+0100"
