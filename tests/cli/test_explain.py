"""`plscp explain`: what a server would say to a request, drawn where it is wrong."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from rich.console import Console

from plscp.cli.explaining import explained
from plscp.cli.tree import draw
from plscp.scu.encoding import SYNTAXES, Encoded, encode
from plscp.scu.files import encoded, read
from plscp.scu.pci_case import pci_case
from tests.cli.conftest import Run
from tests.templates import build
from tests.templates.trees import LINE, entry, item_for
from tests.web.fake import Running, item

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"


def incomplete(second: int) -> Dataset:
    """An intervention without its attempt identifier (TID 3108 row 4), another item in its place."""
    made = entry("intervention")
    made.children = [made.children[0], item_for(LINE["3108", "5"])]
    made.observation_datetime = build.when(second)
    from plscp.content.writing import dataset  # noqa: PLC0415

    return dataset(made)


def faulty() -> Dataset:
    """A log of four entries, the third of which lacks a row."""
    return build.log(build.note(1), build.drug(2), incomplete(3), build.note(4))


def part_10(made: Dataset, syntax: str) -> bytes:
    """A DICOM file with preamble and file meta information."""
    padded = syntax.encode() + b"\0" * (len(syntax) % 2)
    head = b"\x02\0\x10\0UI" + len(padded).to_bytes(2, "little") + padded
    length = b"\x02\0\0\0UL\x04\0" + len(head).to_bytes(4, "little")
    return bytes(128) + b"DICM" + length + head + build.encode(made, syntax)


FILES = {
    **{f"Part 10 in {syntax}": part_10(build.log(build.drug()), syntax) for syntax in build.SYNTAXES},
    "bare, explicit": build.encode(build.log(build.drug())),
    "bare, implicit": build.encode(build.log(build.drug()), build.IMPLICIT),
    "DICOM JSON": build.log(build.drug()).to_json().encode(),
    "DICOM JSON in an array": json.dumps([build.log(build.drug()).to_json_dict()]).encode(),
    "an administration": build.encode(build.administration()),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_right_is_accepted(run: Run, tmp_path: Path, name: str) -> None:
    """Exit status 0 for every kind of file, and nothing on standard error."""
    (tmp_path / "it").write_bytes(FILES[name])
    ran = run("explain", "it")
    assert (ran.status, ran.err) == (0, "")
    assert "0000 success\n0 refuse it, 0 are noted" in ran.out
    assert ("Substance Administration" if "administration" in name else "TID3106 r1 drug_administered") in ran.out


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.json")), ids=lambda path: path.stem)
def test_a_published_record_is_drawn_as_it_would_be_sent(run: Run, path: Path) -> None:
    """Each of the examples: its entry by the way back to content items; a record without an entry is one line."""
    entry = json.loads(path.read_text("utf-8")).get("entry")
    ran = run("explain", str(path))
    if entry is None:
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert "a record without an entry" in ran.err
        return
    assert (ran.status, ran.err) == (0, "")
    assert "0000 success\n0 refuse it, 0 are noted" in ran.out
    assert f" {entry['kind']}]" in ran.out or "observation_datetime" not in entry or entry["kind"] == "untyped"


def test_each_item_has_its_row_and_each_finding_its_place(run: Run, tmp_path: Path) -> None:
    """What is missing stands where it should, with how it should look; what no row describes is said to have none."""
    (tmp_path / "log.dcm").write_bytes(build.encode(faulty()))
    ran = run("explain", "log.dcm")
    assert ran.status == 1
    lines = ran.out.splitlines()
    at = next(n for n, line in enumerate(lines) if "refused:" in line)
    assert lines[at - 1].endswith("[TID3108 r2]")
    assert lines[at].endswith("refused: TID3108 r4 missing 121154")
    assert lines[at + 1].endswith(
        'the row: HAS PROPERTIES TEXT EV (121154, DCM, "Intervention attempt identifier"), 1 M'
    )
    assert "6.2 HAS PROPERTIES CODE" in lines[at + 2]
    assert any(line.endswith("= 1.2.826.0.1.3680043.9.1  [no row]") for line in lines)
    assert lines[-2] == "C102 does-not-match-template: TID3108 r4 missing 121154 at 6.2"
    assert lines[-1] == "1 refuse it, 0 are noted"


def test_json_says_the_same(run: Run, tmp_path: Path) -> None:
    """Status, comment, findings with the row as it should look, and the tree."""
    (tmp_path / "log.json").write_text(faulty().to_json())
    ran = run("explain", "log.json", "--json")
    made = json.loads(ran.out)
    assert (ran.status, made["accepted"], made["status"]) == (1, False, "C102")
    (finding,) = made["findings"]
    assert (finding["path"], finding["template"], finding["row"]) == ("6.2", "TID3108", "4")
    assert "121154" in finding["expected"]
    third = made["tree"]["children"][5]
    assert (third["path"], third["template"], third["row"], third["kind"]) == ("6", "TID3108", "1", "intervention")


# (what, data set, options, status, what must be shown)
REFUSED: list[tuple[str, Dataset, list[str], str, str]] = [
    ("strict", build.log(build.note(1), build.note(1)), ["--strict"], "C102", "refused: A.35.7.3 entry at the same"),
    ("attribute", build.log(build.note(), PatientID=None), ["--strict"], "0120", "(0010,0020) PatientID absent"),
    ("invalid", build.log(build.note(), StudyInstanceUID="x"), [], "0115", "refused: not one valid value of UI"),
    ("no value", build.administration(ProductName=""), [], "0121", "refused: attribute has no value"),
    ("other class", build.log(build.note()), ["--sop-class", "substance"], "0120", "(0044,0010)"),
    ("no entry", build.log(), [], "C102", "refused: A.35.7.3 a log without an entry"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_is_wrong_has_the_status_that_it_would_get(
    run: Run, tmp_path: Path, row: tuple[str, Dataset, list[str], str, str]
) -> None:
    """Exit status 1, the status with its name, and the finding."""
    _, made, options, status, shown = row
    (tmp_path / "it.dcm").write_bytes(build.encode(made))
    ran = run("explain", "it.dcm", *options)
    assert (ran.status, ran.err) == (1, "")
    assert f"\n{status} " in ran.out
    assert shown in ran.out


def test_what_does_not_decode_is_refused_with_its_place(run: Run, tmp_path: Path) -> None:
    """There is no tree to draw, but status and path are told."""
    (tmp_path / "cut.dcm").write_bytes(build.encode(build.log(build.drug()))[:-20])
    ran = run("explain", "cut.dcm")
    assert ran.status == 1
    assert "0115 invalid-argument-value, without a comment: " in ran.out


UNREADABLE = [
    ("missing", None, "No such file"),
    ("picture", b"\x89PNG\r\n\x1a\n" + bytes(64), "not a DICOM data set"),
    ("empty", b"", "not a DICOM data set"),
    ("text", b"hello, world: not at all", "not a DICOM data set"),
    ("broken file meta", bytes(128) + b"DICM\x02\0\x10\0??", "not a DICOM data set"),
    ("json", b'{"no": 1}', "not in the DICOM JSON Model"),
    ("half json", b'{"00100020": ', "not in the DICOM JSON Model"),
    ("image", build.encode(build.dataset(PatientID="1", Rows=2)), "neither a log"),
]


@pytest.mark.parametrize(("name", "content", "said"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
def test_what_cannot_be_read_is_one_line_and_2(
    run: Run, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """Nothing on standard output."""
    if content is not None:
        (tmp_path / "it").write_bytes(content)
    ran = run("explain", "it")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), name
    assert said in ran.err


def drawn(made: Dataset, *, height: int = 24, fold: bool = True) -> str:
    """What a terminal shows."""
    explanation = explained(Encoded(build.encode(made), build.EXPLICIT), None, strict=False)
    assert explanation is not None
    out = Console(file=io.StringIO(), width=120, height=height, force_terminal=True, highlight=False)
    draw(out, explanation, "x.dcm", fold=fold)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_one_screen_shows_the_fault_of_a_long_log() -> None:
    """On a terminal entries without a finding are one line; what refuses is red, rows are green."""
    made = build.log(*map(build.note, range(1, 31)), incomplete(31), *map(build.note, range(32, 59)))
    text = drawn(made)
    assert len(text.splitlines()) <= 24
    assert "4 to 33: 30 entries without a finding" in text
    assert "\x1b[1;31mrefused: " in text
    assert "\x1b[32m  [TID3108 r1 intervention]" in text
    assert len(drawn(made, fold=False).splitlines()) > 60


def test_text_of_a_device_is_no_control_sequence() -> None:
    """Nor markup."""
    text = drawn(build.log(build.note(1, "\x1b[2J [bold]x[/bold]")), fold=False)
    assert "\x1b[2J" not in text
    assert "[bold]x[/bold]" in text


@pytest.mark.parametrize("name", ["INJECT1", "HEMO1", "XRAY1", "TABLET1"])
def test_the_simulated_case_is_explained_as_it_is_answered(name: str) -> None:
    """What the case's author wrote to be refused as C102 is, and nothing else is (matching is not looked at)."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    found: list[tuple[str, Any, bool]] = []
    for request in pci_case():
        if request.device == name:
            made = explained(Encoded(build.encode(request.dataset(now)), build.EXPLICIT), None, strict=False)
            assert made is not None
            found.append((request.label, made.sop_class == request.sop_class, made.status.code == 0xC102))
            assert (made.status.code == 0xC102) == (request.expect == 0xC102), request.label
    assert all(same for _, same, _ in found)


# --- out of the quarantine ----------------------------------------------------------------------------------------------------


def kept(server: Running, raw: bytes, **more: Any) -> None:
    """A refused request with these bytes, in the quarantine in place of what is there."""
    given: dict[str, Any] = {"raw": raw, "raw_length": len(raw), "transfer_syntax": build.EXPLICIT} | more
    server.server.store.items[:] = [item(**given)]


def test_what_refused_is_parted_from_what_was_only_noted(call: Run, server: Running) -> None:
    """Under headings of their own; as JSON by the member `refuse`."""
    [outcome] = item().outcomes
    noted = {"code": "time-basis", "reason": "later than its arrival: entry 1"}
    findings = [noted, *outcome["data"]["findings"]]
    kept(server, b"", outcomes=({**outcome, "data": {**outcome["data"], "findings": findings}},))
    lines = [line.strip() for line in call("quarantine", "show", "0101").out.splitlines()]
    assert (
        lines.index("refused by: 2")
        < lines.index("noted: 1")
        < lines.index("time-basis: later than its arrival: entry 1")
    )
    found = json.loads(call("quarantine", "show", "0101", "--json").out)
    assert [bool(each.get("refuse")) for each in found["outcomes"][0]["data"]["findings"]] == [False, True, True]


def test_a_refused_request_is_drawn_with_what_the_server_found(call: Run, server: Running) -> None:
    """As a file is, but its findings and its answer are those of the refusal, whatever else is right or wrong in it."""
    kept(server, build.encode(build.log(build.note(1), incomplete(2))))
    ran = call("quarantine", "explain", "0101")
    assert ran.status == 0
    assert "0101010101010101 of HEMO1: Procedural Event" in ran.out
    assert "refused: TID3106 r4 missing 121154" in ran.out
    assert "2 refuse it, 0 are noted" in ran.out
    found = json.loads(call("quarantine", "explain", "0101", "--json").out)
    assert (found["status"], len(found["findings"]), bool(found["tree"]["children"])) == ("C102", 2, True)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_refused_request_becomes_a_file_that_is_read_again(
    call: Run, run: Run, server: Running, tmp_path: Path, syntax: str
) -> None:
    """The very bytes, in a DICOM file that nobody else can read and that goes over no other."""
    raw = encode(faulty(), syntax)
    kept(server, raw, transfer_syntax=syntax)
    assert call("quarantine", "export", "0101").status == 0
    file = tmp_path / "0101010101010101.dcm"
    assert encoded(file) == Encoded(raw, syntax)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read(file).ContentSequence == faulty().ContentSequence
    assert run("explain", file.name).status == 1
    again = call("quarantine", "export", "0101")
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert "File exists" in again.err
    assert json.loads(call("quarantine", "export", "0101", "other.dcm", "--json").out)["file"] == "other.dcm"


@pytest.mark.parametrize("command", ["explain", "export"])
@pytest.mark.parametrize(
    ("raw", "said"), [(b"", "deleted since: only their digest is kept"), (b"\x08\x00", "7 bytes, 2 kept")]
)
def test_what_is_not_kept_is_neither_drawn_nor_written(  # noqa: PLR0917  # fixtures and a row
    call: Run, server: Running, tmp_path: Path, command: str, raw: bytes, said: str
) -> None:
    """One line says how much of it is left."""
    kept(server, raw, raw_length=7)
    ran = call("quarantine", command, "0101")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert said in ran.err
    assert not any(tmp_path.iterdir())
