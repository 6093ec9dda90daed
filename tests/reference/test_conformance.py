"""The conformance statement: complete, and each of its tables says what the server does."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from plscp.cli import main
from plscp.config import load
from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import InvalidArgument, MissingAttribute, MissingAttributeValue
from plscp.reference import conformance
from plscp.reference.conformance import MEANT, VALUES, statement, template
from plscp.scu.encoding import encode
from plscp.scu.requests import SubstanceAdministrationRequest, code, moment
from plscp.statuses import STATUSES, STEP_STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.substance import SubstanceAdministered, read_administration


def test_every_gap_of_the_prose_is_filled_and_every_value_is_used() -> None:
    """Neither a table without a place nor a place without a table."""
    assert set(re.findall(r"\{\{(\w+)\}\}", template())) == set(VALUES)
    assert "{{" not in statement()


def test_every_status_is_explained() -> None:
    """What a device can be told is in the table, with what it should do."""
    assert set(MEANT) == set(STATUSES)
    part = statement().split("### 4.7 Statuses")[1].split("### ")[0]
    assert re.findall(r"^\| ([0-9A-F]{4}) \|", part, re.MULTILINE) == [f"{status:04X}" for status in STATUSES]


def test_every_status_of_a_procedure_step_is_explained() -> None:
    """What a modality can be told is in the table."""
    part = statement().split("### 4.9 ")[1].split("\n## ")[0]
    assert re.findall(r"^\| ([0-9A-F]{4}) \|", part, re.MULTILINE) == [f"{status:04X}" for status in STEP_STATUSES]


def test_the_reasons_are_in_the_order_of_the_alphabet() -> None:
    """A reason is found by looking, without a search."""
    part = statement().split("### 4.8 ")[1].split("\n### ")[0]
    rows = [
        re.sub("&[lg]t;", "", row.split(" | ")[0].removeprefix("| ")).casefold()
        for row in part.splitlines()
        if row.startswith("| ") and " | what to mend" not in row and not row.startswith("| ---")
    ]
    assert len(rows) > 100
    assert rows == sorted(rows)


def test_it_can_be_that_of_one_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --config the numbers are those in force; without, an environment changes nothing."""
    (tmp_path / "plscp.toml").write_text('[dicom]\nae_title = "CATHLOG"\nmax_associations = 77\n')
    assert main(["conformance", "--config", str(tmp_path / "plscp.toml")], {}) == 0
    assert "AE specification of CATHLOG" in (out := capsys.readouterr().out)
    assert "| Associations at the same time | 77; " in out
    assert main(["conformance"], {}) == 0
    assert capsys.readouterr().out == statement()
    assert statement(load(tmp_path / "plscp.toml", {})) == out


def administration() -> Dataset:
    """One with every attribute that must have a value."""
    given = SubstanceAdministered(
        patient_name="Doe^J",
        product_names=["Heparin"],
        administered=moment(datetime(2026, 3, 1, 9, tzinfo=UTC)),
        operators=[code("N1001", "L", "Nurse 1001")],
    )
    return SubstanceAdministrationRequest(patient_id="4711", administration=given).dataset()


def answer(given: Dataset, *, strict: bool) -> int:
    """The status of steps 5 to 7."""
    decoded = decode(
        encode(given, "1.2.840.10008.1.2.1"),
        "1.2.840.10008.1.2.1",
        calling_ae="PUMP1",
        sop_class=SUBSTANCE_ADMINISTRATION_LOGGING,
        bounds=Bounds(),
    )
    try:
        read_administration(decoded, strict=strict)
    except (MissingAttribute, MissingAttributeValue, InvalidArgument) as refused:
        return refused.status
    return 0x0000


@pytest.mark.parametrize("tag", conformance._TYPES, ids=keyword_for_tag)
def test_the_table_of_attributes_is_what_is_answered(tag: int) -> None:
    """Each attribute of Table P.3-2 left out, with its pair where it has one, is answered as its row says."""
    kind, said = conformance._TYPES[tag]
    pairs = [("PatientID", "AdmissionID"), ("ProductName", "ProductPackageIdentifier")]
    for strict in (False, True):
        given = administration()
        for name in next((pair for pair in pairs if keyword_for_tag(tag) in pair), (keyword_for_tag(tag),)):
            if name in given:
                del given[name]
        status = answer(given, strict=strict)
        if kind in {"1", "1C"}:
            assert status == 0x0120
            assert "0120" in said
        elif "strict 0120" in said:
            assert status == (0x0120 if strict else 0x0000)
        else:
            assert status == 0x0000
