"""Bad input: each kind of it has its answer with a path, never an exception, in bounded time and memory (checks 5 to 7)."""

import tracemalloc
from collections.abc import Callable
from random import Random
from struct import pack
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.cli.explaining import as_json, explained
from plscp.content.elements import DICTIONARY, KINDS, LONG
from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import Refused
from plscp.findings import Finding
from plscp.scu.encoding import Encoded
from plscp.service.reply import comment
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.substance import read_administration
from tests.counted import calls
from tests.templates import build
from tests.templates.build import DOSE, EXPLICIT, LOG_NOTE, coded, dataset, drug, encode, item, log, note, num, text

SOME_CALLS: Final = 20_000
"""Calls of functions that any input may take, whatever its size."""
CALLS_PER_BYTE: Final = 2
CALLS_PER_ELEMENT: Final = 500
ROOM: Final = 96 << 20
"""Bytes at the most for any one input of a megabyte."""


def answer(raw: bytes, syntax: str, sop_class: str, *, strict: bool) -> tuple[int, list[Finding]]:
    """Status and findings; nothing but a refusal may be raised."""
    try:
        decoded = decode(raw, syntax, calling_ae="HEMO1", sop_class=sop_class, bounds=Bounds())
        if sop_class == PROCEDURAL_EVENT_LOGGING:
            made = read_log(decoded, strict=strict)
            return 0, [*made.findings, *(f for one in made.entries for f in one.findings)]
        administration = read_administration(decoded, strict=strict)
        return 0, [*administration.findings, *administration.entry.findings]
    except Refused as refused:
        told = comment(refused.findings)
        assert told, "whoever refuses says why"
        assert len(told) <= 64
        assert told.isascii()
        assert told.isprintable()
        assert "\\" not in told
        return refused.status, list(refused.findings)


# --- bytes that no library writes ---


def element(tag: int, vr: str, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian, padded."""
    value += b"\0" * (len(value) % 2)
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (pack("<HI", 0, len(value)) if vr in LONG else pack("<H", len(value) & 0xFFFF)) + value


def items(*contents: bytes) -> bytes:
    """The value of a sequence."""
    return b"".join(b"\xfe\xff\x00\xe0" + pack("<I", len(content)) + content for content in contents)


def nested(depth: int, tag: int = 0x0040A730) -> bytes:
    """Items within items."""
    content = b""
    for _ in range(depth):
        content = element(tag, "SQ", items(content))
    return content


def with_content(content: bytes) -> bytes:
    """A log whose Content Sequence has this value."""
    return encode(log(ContentSequence=None)) + element(0x0040A730, "SQ", content)


def entry(*children: Dataset, **more: Any) -> Dataset:
    """A log with a text entry that has these children; without context, so that the entry is item 1."""
    return log(
        text(LOG_NOTE, "x", *children, rel="CONTAINS", **{"ObservationDateTime": build.when(1), **more}), observers=[]
    )


def charset(term: str | None, **changes: Any) -> bytes:
    """A log in a character set that its bytes are not of."""
    made = log(note(1, "MARK"), PatientID="PAT", **changes)
    raw = encode(made)
    if term is not None:
        raw = element(0x00080005, "CS", term.encode() + b" " * (len(term) % 2)) + raw
    return raw


def no_code(**values: Any) -> Dataset:
    """A CODE item whose code is this."""
    made = coded(("1", "L", "One"), ("2", "L", "Two"))
    made.ConceptCodeSequence = Items([dataset(**values)])
    return made


def number(value: str) -> Dataset:
    """A NUM item."""
    return num(DOSE, value, "mg")


def measured(*values: Dataset) -> Dataset:
    """A NUM item with this Measured Value Sequence."""
    made = number("1")
    made.MeasuredValueSequence = Items(list(values))
    return made


class Row(NamedTuple):
    """What is sent, and what is answered; `strict` where that profile answers another status."""

    what: str
    made: Callable[[], bytes | Dataset]
    status: int
    code: str
    path: str
    strict: int | None = None
    sop_class: str = PROCEDURAL_EVENT_LOGGING


SUBSTANCE = SUBSTANCE_ADMINISTRATION_LOGGING
C102 = 0xC102
TABLE = [
    # --- shape ---
    Row("nested 200 deep", lambda: with_content(nested(200)[12:]), C102, "too-deep", ".".join("1" * 32)),
    Row("nested 200 deep elsewhere", lambda: nested(200, 0x00081199) + encode(log(note())), C102, "too-deep", "(0008,1199)"),
    Row("nested 200 deep, substance", lambda: nested(200, 0x00081199), 0x0115, "too-deep", "(0008,1199)", None, SUBSTANCE),
    Row("100,000 items", lambda: with_content(items(*[b""] * 100_000)), C102, "too-many-elements", "(0040,A730)"),
    Row("100,000 items, substance", lambda: element(0x00440019, "SQ", items(*[b""] * 100_000)), 0x0115, "too-many-elements", "(0044,0019)", None, SUBSTANCE),
    Row("30,000 elements", lambda: b"".join(element(0x00090000 + (n % 0xFF00 + 0x10) + (n // 0xFF00 << 17), "UN", b"") for n in range(30_000)), C102, "too-many-elements", "(0009,4E30)"),
    Row("longer than a megabyte", lambda: encode(log(note(1, "x" * (1 << 20)))), 0x0213, "data-set-too-long", ""),
    Row("a value of 70,000 characters", lambda: log(note(1, "x" * 70_000)), C102, "value-too-long", "4"),
    Row("nothing at all", lambda: b"", C102, "", "", 0x0120),
    Row("nothing at all, substance", lambda: b"", 0x0120, "attribute-absent", "(0044,0010)", None, SUBSTANCE),
    Row("cut off", lambda: encode(log(note()))[:-3], 0x0115, "truncated", "(0040,A730)"),
    Row("a length past the end", lambda: encode(dataset(PatientID="1")) + b"\x40\x00\x30\xa7SQ\0\0\xf0\xff\xff\x7f", 0x0115, "", "(0040,A730)"),
    Row("a sequence without end", lambda: b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff", 0x0115, "", "(0040,A730)"),
    # --- value types and values ---
    Row("a wrong value type", lambda: log(coded(build.DRUG_ADMINISTERED, build.DEXTRAN, item("HAS PROPERTIES", "TEXT", DOSE, TextValue="50"), rel="CONTAINS", ObservationDateTime=build.when(1))), C102, "wrong-value-type", "4.1"),
    Row("an unknown value type", lambda: entry(item("HAS PROPERTIES", "BLOB", DOSE)), C102, "value-type", "1.1"),
    Row("no value type", lambda: entry(item("HAS PROPERTIES", "", DOSE)), C102, "value-type", "1.1"),
    Row("a DS of 10,000 digits", lambda: entry(number("9" * 10_000)), C102, "numeric-value", "1.1"),
    Row("a DS that is no number", lambda: encode(entry(number("5.25"))).replace(b"5.25", b"5 mg"), C102, "numeric-value", "1.1"),
    Row("a DS that is not finite", lambda: entry(number("inf")), C102, "numeric-value", "1.1"),
    Row("a DS past a double", lambda: entry(number("1e999")), 0, "", "", C102),
    Row("a NUM without a value", lambda: entry(measured(dataset(MeasurementUnitsCodeSequence=Items([build.code(("mg", "UCUM", "mg"))])))), C102, "numeric-value", "1.1"),
    Row("a NUM without Measured Value Sequence", lambda: entry(item("HAS PROPERTIES", "NUM", DOSE)), C102, "measured-value-missing", "1.1"),
    Row("a NUM with two values", lambda: entry(measured(*[number("1").MeasuredValueSequence[0]] * 2)), C102, "measured-value-items", "1.1"),
    Row("a NUM without a unit", lambda: entry(measured(dataset(NumericValue="1"))), C102, "code-missing", "1.1"),
    Row("a code without a scheme", lambda: entry(no_code(CodeValue="1", CodeMeaning="One")), C102, "code-scheme", "1.1"),
    Row("a code without a value", lambda: entry(no_code(CodingSchemeDesignator="L", CodeMeaning="One")), C102, "code-value", "1.1"),
    Row("an empty code", lambda: entry(no_code()), C102, "code-value", "1.1"),
    Row("an impossible month", lambda: entry(ObservationDateTime="20261322143000"), C102, "observation-datetime", "1"),
    Row("an impossible day", lambda: entry(ObservationDateTime="20260230143000"), C102, "observation-datetime", "1"),
    Row("an impossible hour", lambda: entry(ObservationDateTime="2026022025"), C102, "observation-datetime", "1"),
    Row("a date of 64 KiB", lambda: entry(ObservationDateTime="2" * 65_000), C102, "observation-datetime", "1"),
    Row("an impossible DATE", lambda: entry(item("HAS ACQ CONTEXT", "DATE", DOSE, Date="20260230")), C102, "value-invalid", "1.1"),
    Row("an impossible day, substance", lambda: build.administration(SubstanceAdministrationDateTime="20260230"), 0x0115, "invalid-value", "(0044,0010)", None, SUBSTANCE),
    # --- character sets ---
    Row("an unknown character set", lambda: charset("ISO_IR 999"), 0, "character-set-unknown", "(0008,0005)", 0x0115),
    Row("an identifier beyond ASCII in an unknown one", lambda: charset("ISO_IR 999").replace(b"PAT ", b"P\xe4T "), 0x0115, "identifier-undecodable", "(0010,0020)"),
    Row("bytes outside the character set", lambda: charset(None).replace(b"MARK", b"M\xe4RK"), 0, "text-undecodable", "4", C102),
    Row("UTF-8 that is none", lambda: charset("ISO_IR 192").replace(b"MARK", b"M\xff\xfeK"), 0, "text-undecodable", "4", C102),
    Row("an escape sequence to nowhere", lambda: charset("ISO 2022 IR 6\\ISO 2022 IR 87").replace(b"MARK", b"\x1b$ZK"), C102, "value-invalid", "4"),
    Row("an identifier outside the character set", lambda: charset(None).replace(b"PAT ", b"P\xe4T "), 0x0115, "identifier-undecodable", "(0010,0020)"),
    Row("a hundred character sets", lambda: charset("\\".join(["ISO 2022 IR 100"] * 100)), 0, "", ""),
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_each_kind_of_bad_input_has_its_answer(row: Row, strict: bool) -> None:
    """Status, finding and path; within a budget of work and memory."""
    made = row.made()
    raw = made if isinstance(made, bytes) else encode(made)
    tracemalloc.start()
    try:
        (status, findings), count = calls(lambda: answer(raw, EXPLICIT, row.sop_class, strict=strict))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = row.strict if strict and row.strict is not None else row.status
    assert f"{status:04X}" == f"{expected:04X}", findings[:3]
    if row.code or row.path:
        found = [(f.code, f.path) for f in findings]
        assert any(code == (row.code or code) and path == row.path for code, path in found), found[:5]
    assert count < SOME_CALLS + CALLS_PER_BYTE * len(raw)
    assert peak < ROOM
    assert len(findings) <= 500


@pytest.mark.parametrize("syntax", build.SYNTAXES)
def test_a_good_request_is_none_of_these(syntax: str) -> None:
    """Whatever is refused above is refused for what is wrong with it."""
    for strict in (False, True):
        status, findings = answer(
            encode(log(note(1), drug(2)), syntax), syntax, PROCEDURAL_EVENT_LOGGING, strict=strict
        )
        assert (status, [f.code for f in findings if f.refuse]) == (0, [])


def test_what_inflates_past_the_bound_is_refused() -> None:
    """What 64 KiB inflate to is never held whole: here 64 MiB."""
    raw = build.deflate(bytes(1 << 26))
    tracemalloc.start()
    try:
        status, findings = answer(raw, build.DEFLATED, PROCEDURAL_EVENT_LOGGING, strict=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (status, findings[0].code) == (0x0213, "data-set-too-long")
    assert peak < 8 << 20


# --- trees of nothing in particular, with a budget of elements ---

TAGS = [
    0x0040A010, 0x0040A040, 0x0040A160, 0x0040A120, 0x0040A121, 0x0040A122, 0x0040A123,
    0x0040A124, 0x0040A032, 0x0040A171, 0x0040A30A, 0x00081150,
    0x00081155, 0x0040A050, 0x00080105, 0x0040DB00, 0x0040DB73, 0x00080100, 0x00080102, 0x00080104,
    0x00080119, 0x00080120, 0x00080005, 0x00080201, 0x00100020, 0x0020000D, 0x00200010, 0x00200200, 0x00400243,
    0x00440010, 0x00440008, 0x00091001, 0x7FE00010,
]  # fmt: skip
VALUES = [
    b"", b" ", b"CODE", b"NUM ", b"TEXT", b"CONTAINER ", b"CONTAINS", b"HAS PROPERTIES", b"HAS OBS CONTEXT ", b"SEPARATE",
    b"DCMR", b"3001", b"121154", b"122083", b"DCM ", b"SCT ", b"1.2.840.10008.5.1.4.1.1.12.1", b"1..2", b"20260230",
    b"20261122143000", b"20261122143000.1+0100 ", b"1e5 ", b"9" * 400, b"ISO_IR 192", b"ISO 2022 IR 87", b"\xff\xfe\xfd\xfc",
    b"\x1b$B", b"a\\b\\c ", b"\0\0\0\0", b"Doe^Jane",
]  # fmt: skip
SEQUENCES = [0x0040A730] * 6 + [0x0040A043, 0x0040A168, 0x0040A300, 0x004008EA, 0x00081199, 0x0040A504, 0x00440019]
VRS = ["CS", "LO", "SH", "UT", "DT", "UI", "DS", "PN", "UN", "SQ", "DA", "US", *KINDS]


PLAUSIBLE = {
    0x0040A010: [b"CONTAINS", b"HAS PROPERTIES", b"HAS OBS CONTEXT ", b"HAS ACQ CONTEXT "],
    0x0040A040: [b"CODE", b"NUM ", b"TEXT", b"PNAME ", b"UIDREF", b"IMAGE ", b"DATETIME"],
}
CONCEPTS = [b"121154", b"122083", b"121123", b"122090", b"121172", b"121005", b"1"]


def anything(random: Random, budget: list[int], depth: int = 0, of: int = 0) -> bytes:
    """Elements until the budget is used or chance ends it; often plausible, now and then twice, out of order or broken."""
    made: dict[int, bytes] = {}
    if of == 0x0040A730 and random.random() < 0.95:
        made = {tag: element(tag, "CS", random.choice(values)) for tag, values in PLAUSIBLE.items()}
    elif of in SEQUENCES and random.random() < 0.8:
        for tag, value in ((0x00080100, random.choice(CONCEPTS)), (0x00080102, b"DCM "), (0x00080104, b"one ")):
            made[tag] = element(tag, "SH", value)
    for _ in range(random.choice([1, 4, 8, 30])):
        if budget[0] <= 0:
            break
        budget[0] -= 1
        if random.random() < 0.5 and depth < 40:
            tag = random.choice(SEQUENCES)
            count = random.choice([0, 1, 1, 3, 20]) if tag == 0x0040A730 else random.choice([1, 1, 1, 1, 0, 2])
            made[tag] = element(tag, "SQ", items(*(anything(random, budget, depth + 1, tag) for _ in range(count))))
        else:
            tag = random.choice(TAGS)
            kinds = [DICTIONARY[tag][0]] if tag in DICTIONARY else VRS
            made[tag] = element(tag, random.choice(kinds if random.random() < 0.99 else VRS), random.choice(VALUES))
    ordered = sorted(made) if random.random() < 0.95 else list(made)
    raw = b"".join(made[tag] for tag in ordered)
    if raw and random.random() < 0.003:
        raw += raw
    if raw and random.random() < 0.003:
        at = random.randrange(len(raw))
        raw = raw[:at] + random.randbytes(2) + raw[at + 2 :]
    return raw


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1 << 32), st.sampled_from([10, 100, 1000, 4000]), st.booleans(),
    st.sampled_from([PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING]),
)  # fmt: skip
def test_any_tree_of_elements_gets_an_answer(seed: int, budget: int, strict: bool, sop_class: str) -> None:
    """Never an exception; work goes with the number of elements; the same answer each time, also when it is explained."""
    random = Random(seed)
    raw = anything(random, [budget])
    if random.random() < 0.8:
        entries = [anything(random, [budget // 4], 1, 0x0040A730) for _ in range(random.choice([1, 2, 4]))]
        raw = with_content(items(*entries))
    first, count = calls(lambda: answer(raw, EXPLICIT, sop_class, strict=strict))
    assert count < SOME_CALLS + CALLS_PER_ELEMENT * budget
    assert answer(raw, EXPLICIT, sop_class, strict=strict) == first
    told = explained(Encoded(raw, EXPLICIT), sop_class, strict=strict)
    assert told is not None
    assert (told.status.code, told.findings) == first
    assert as_json(told)["status"] == f"{first[0]:04X}"
