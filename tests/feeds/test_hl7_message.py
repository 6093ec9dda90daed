"""HL7 messages: encoding characters, character sets, escape sequences, times, answers; and what an independent parser says of them."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import hl7apy.core
import hl7apy.parser
import pytest
from hl7apy.validation import Validator
from hypothesis import given
from hypothesis import strategies as st

from plscp.errors import BrokenMessage, Conflict, InvalidBody
from plscp.feeds.hl7_answers import answers
from plscp.feeds.hl7_message import header_of, moment, read
from tests.feeds.hl7 import NOW, Hospital, message, pid, pv1


def name_of(data: bytes, codec: str = "utf-8") -> str:
    """PID-5.1 of a message."""
    return read(data, codec).required("PID").text(5)


# --- encoding characters ---


def test_encoding_characters_are_those_of_the_message() -> None:
    """MSH-1 and MSH-2 may name others; a truncation character is a fifth one; those left out are the usual ones."""
    data = b"MSH#*!?%#ADT#C#####ADT*A08#1#P#2.5\rPID#1##P1***HOSP*MR!77***NAT##Muster%X*Maria?S?a\r"
    pid_ = read(data, "utf-8").required("PID")
    assert [(one.id, one.authority) for one in pid_.identifiers(3)] == [("P1", "HOSP"), ("77", "NAT")]
    assert (pid_.text(5, 1, 1), pid_.text(5, 1, 2), pid_.text(5, 2)) == ("Muster", "X", "Maria*a")
    assert name_of(b"MSH|^~\\&#|A|||||||1|P|2.7\rPID|1||P1||Muster^X\r") == "Muster"
    assert name_of(b"MSH|^~|A|||||||1|P|2.5\rPID|1||P1||Mus\\T\\ter^X\r") == "Mus&ter"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"PID|1||P1\r",
        b"MSH",
        b"MSH|^~\\&",
        b"MSH|^^\\&|A|B\rPID|1\r",
        b"MSH|^~\\&\rPID|1||P1\r",
        b"MSHA^~\\&A\rPID|1\r",
        b"MSH|ab|A\rPID|1\r",
        b"MSH||A|B|C|D\rPID|1\r",
        message("ADT^A08", pid("P1"), f18="UNICODE UTF-16"),
        message("ADT^A08", pid("P1"), f18="KLINGON"),
    ],
)
def test_what_is_no_message_is_rejected(data: bytes) -> None:
    """AR: no header, encoding characters that cannot be, a character set that is not read."""
    with pytest.raises(BrokenMessage) as caught:
        read(data, "utf-8")
    assert caught.value.rejected


@pytest.mark.parametrize("more", ["pid|1||P1", "X", "Some text", "MSH|^~\\&|A", "PIDX|1"])
def test_a_line_that_is_no_segment_is_an_error(more: str) -> None:
    """A CR within a field would cut a person in two without a word."""
    with pytest.raises(BrokenMessage):
        read(message("ADT^A08", pid("P1"), more), "utf-8")


@pytest.mark.parametrize("header", [{}, {"f18": "KLINGON"}])
def test_of_what_does_not_concern_us_the_header_alone_has_to_be_in_order(header: dict[str, str]) -> None:
    """A report that was cut into lines, or in another character set, is not refused: its sender's queue would stand."""
    found = read(message("ORU^R01", pid("P1"), "OBX|1|TX|a", "second line", **header), "utf-8")
    assert (found.kind, found.header.text(10), len(found)) == ("ORU^R01", "M1", 1)


def test_ends_of_lines() -> None:
    """CR; CR LF and LF are understood, and a last one that is missing."""
    data = message("ADT^A08", pid("P1", "Muster"), pv1("W3"))
    for each in (data, data.replace(b"\r", b"\r\n"), data.replace(b"\r", b"\n"), data.rstrip(b"\r"), b"\r\n" + data):
        assert read(each, "utf-8").required("PV1").text(3) == "W3"


# --- character sets ---


@pytest.mark.parametrize(
    ("named", "codec", "name"),
    [
        ("", "utf-8", "Müller"),
        ("UNICODE UTF-8", "utf-8", "Σωκράτης"),
        ("8859/1", "latin-1", "Müller"),
        ("8859/2", "iso8859-2", "Dvořák"),
        ("8859/5", "iso8859-5", "Иванов"),
        ("8859/7", "iso8859-7", "Σωκράτης"),
        ("8859/15", "iso8859-15", "Œuvre"),
        ("~ISO IR87", "iso2022_jp", "山田"),
        ("ISO IR14~ISO IR87", "iso2022_jp", "山田"),
        ("GB 18030-2000", "gb18030", "王小东"),
        ("KS X 1001", "euc_kr", "김희중"),
    ],
)
def test_character_sets(named: str, codec: str, name: str) -> None:
    """MSH-18 says which; several of Japanese go together."""
    header = {"f18": named} if named else {}
    assert name_of(message("ADT^A08", pid("P1", name), codec=codec, **header)) == name


def test_the_default_character_set_and_what_does_not_decode() -> None:
    """A message that names none is read by the setting; a name that does not decode shows it, an ID that does not is an error."""
    data = message("ADT^A08", pid("P1", "Müller"), codec="latin-1")
    assert name_of(data, "latin-1") == "Müller"
    assert name_of(data) == "M\ufffdller"
    segment = read(message("ADT^A08", pid("Pä1"), codec="latin-1"), "utf-8").required("PID")
    with pytest.raises(BrokenMessage):
        segment.identifiers(3)


# --- escape sequences ---


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("a\\F\\b", "a|b"),
        ("a\\S\\b\\T\\c\\R\\d\\E\\e", "a^b&c~d\\e"),
        ("a\\X41\\b", "aAb"),
        ("a\\H\\b\\N\\", "ab"),
        ("a\\.br\\b", "a b"),
        ("a\\Zxx\\b", "ab"),
        ("a\\b", "a\\b"),
        ("\\", "\\"),
        ("a\\XE4\\b", "ab"),
    ],
)
def test_escape_sequences(sent: str, meant: str) -> None:
    """Encoding characters, ASCII as hexadecimal, highlighting; others are left out of a text."""
    assert name_of(message("ADT^A08", pid("P1", sent))) == meant


@pytest.mark.parametrize("sent", ["P\\XE4\\1", "P\\Zxx\\1", "P\\1", "P\\C2842\\1", "P\\M2842\\1"])
def test_an_identifier_has_no_escape_sequence_that_is_not_known(sent: str) -> None:
    """What is left out of an ID would spell another one."""
    with pytest.raises(BrokenMessage):
        read(message("ADT^A08", pid(sent)), "utf-8").required("PID").identifiers(3)


# --- times ---


@pytest.mark.parametrize(
    ("text", "header", "meant"),
    [
        ("20240514120000+0200", "", datetime(2024, 5, 14, 10, tzinfo=UTC)),
        ("20240514120000.1234-0500", "", datetime(2024, 5, 14, 17, 0, 0, 123400, UTC)),
        ("202405141200", "20240514+0500", datetime(2024, 5, 14, 7, tzinfo=UTC)),
        ("202405141200", "20240514", datetime(2024, 5, 14, 10, tzinfo=UTC)),
        ("2024", "", datetime(2023, 12, 31, 23, tzinfo=UTC)),
        ("", "", None),
        ('""', "", None),
    ],
)
def test_times(text: str, header: str, meant: datetime | None) -> None:
    """Their own offset, else that of MSH-7, else the zone of the feed; with the precision that was sent."""
    found = read(message("ORM^O01", f"OBR|{text}", f7=header), "utf-8")
    assert moment(found, found.required("OBR"), 1, zone="Europe/Berlin", arrival=NOW) == meant


@pytest.mark.parametrize(
    "text", ["14.05.2024", "20241301", "2024-05-14", "20240514250000", "now", "20240514120000+9900"]
)
def test_what_is_no_time(text: str) -> None:
    """It is refused where it stands."""
    found = read(message("ORM^O01", f"OBR|{text}"), "utf-8")
    with pytest.raises(BrokenMessage) as caught:
        moment(found, found.required("OBR"), 1, zone="UTC", arrival=NOW)
    assert caught.value.place == ("OBR", 1, 1, 1, 1)


# --- answers ---


def said(answer: str) -> Any:
    """An answer as hl7apy reads it, strictly."""
    parsed = hl7apy.parser.parse_message(answer, find_groups=False)
    assert Validator.validate(parsed)
    return parsed


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6"])
def test_an_independent_parser_finds_answers_valid(version: str) -> None:
    """AA, and AE and AR with ERR, of each version: with the control id, to who sent it."""
    data = message("ADT^A08", pid("P1"), control_id="C\\F\\7", f12=version)
    broken = BrokenMessage("the birth date | is ^ none", 102, ("PID", 1, 7, 1))
    for error, code in ((None, "AA"), (broken, "AE"), (BrokenMessage("no", 100, ("MSH", 1), rejected=True), "AR")):
        [answer] = answers(header_of(data), NOW, error)
        parsed = said(answer)
        assert parsed.msa.msa_1.value == code
        assert parsed.msa.msa_2.to_er7() == "C\\F\\7"
        assert (parsed.msh.msh_5.to_er7(), parsed.msh.msh_6.to_er7(), parsed.msh.msh_3.to_er7()) == (
            "ADT",
            "CLINIC",
            "PLSCP",
        )
        assert parsed.msh.msh_12.to_er7() == version
        assert ("ERR" in answer) == (error is not None)
        if error is not None and version >= "2.5":
            assert parsed.err.err_3.err_3_1.value == str(error.code)
            assert parsed.err.err_2.to_er7() == "^".join(map(str, error.place))


def test_an_answer_of_old_has_no_message_structure() -> None:
    """MSH-9 has two components before v2.3.1; ERR has the place and the code in one field before v2.5."""
    header = header_of(message("ADT^A08", pid("P1"), f12="2.3"))
    [answer] = answers(header, NOW, BrokenMessage("no", 102, ("PID", 1, 7, 1)))
    assert "|ACK^A08|" in answer
    assert answer.split("\r")[2] == "ERR|PID^1^7^102&Data type error&HL70357"


def test_answers_in_the_messages_own_encoding_characters() -> None:
    """What we say of our own is escaped in them."""
    [answer] = answers(header_of(b"MSH#*!?%#A#B#C#D###ADT*A08#7#P#2.5\r"), NOW, BrokenMessage("a#b*c", 102, ("PID", 1)))
    msh, msa, err, _ = answer.split("\r")
    assert msh.startswith("MSH#*!?%#C#D#A#B#")
    assert msa == "MSA#AE#7#a?F?b?S?c"
    assert err.startswith("ERR##PID*1#102*Data type error*HL70357#E")


@pytest.mark.parametrize(
    ("accept", "application", "good", "bad"),
    [
        ("", "", ["AA"], ["AE"]),
        ("AL", "", ["CA"], ["CE"]),
        ("AL", "NE", ["CA"], ["CE"]),
        ("NE", "AL", ["AA"], ["AE"]),
        ("AL", "AL", ["CA", "AA"], ["CE", "AE"]),
        ("NE", "NE", [], []),
        ("ER", "SU", ["AA"], ["CE"]),
        ("SU", "ER", ["CA"], ["AE"]),
    ],
)
def test_enhanced_mode(accept: str, application: str, good: list[str], bad: list[str]) -> None:
    """MSH-15 asks for the commit's acknowledgement, MSH-16 for the application's."""
    header = header_of(message("ADT^A08", pid("P1"), f15=accept, f16=application))
    for error, codes in ((None, good), (BrokenMessage("x", 102), bad)):
        assert [answer.split("MSA|")[1][:2] for answer in answers(header, NOW, error)] == codes


def test_the_answer_to_what_is_no_message() -> None:
    """AR to nobody in particular."""
    [answer] = answers(header_of(b"GET / HTTP/1.1"), NOW, BrokenMessage("no", 100, ("MSH", 1), rejected=True))
    assert answer.split("\r")[1].startswith("MSA|AR|")


# --- an independent writer, and chance ---


def test_what_another_library_writes_reads_as_it_was_meant() -> None:
    """hl7apy builds ADT^A01; identifiers, authority, name, birth date and visit come out the same."""
    built = hl7apy.core.Message("ADT_A01", version="2.5")
    built.msh.msh_9, built.msh.msh_10 = "ADT^A01^ADT_A01", "77"
    built.evn.evn_1, built.evn.evn_2 = "A01", "20240514"
    built.pid.pid_3.cx_1, built.pid.pid_3.cx_4.hd_1, built.pid.pid_3.cx_5 = "P 1", "HOSP", "MR"
    built.pid.pid_5.xpn_1.fn_1, built.pid.pid_5.xpn_2, built.pid.pid_5.xpn_5 = "O'Muster", "Maria", "Dr"
    built.pid.pid_7, built.pid.pid_8 = "19600102", "F"
    built.pv1.pv1_2, built.pv1.pv1_3.pl_1, built.pv1.pv1_3.pl_2 = "I", "W3", "12"
    built.pv1.pv1_19.cx_1, built.pv1.pv1_19.cx_4.hd_1 = "V1", "HOSP"
    hospital = Hospital()
    hospital.hear(built.to_er7().encode())
    [patient] = hospital.registry.patients()
    assert (patient.current, patient.name, patient.birth_date) == (("P 1", "HOSP"), "O'Muster^Maria^^Dr", "19600102")
    [admission] = hospital.registry.admissions()
    assert (admission.id, admission.issuer, admission.location) == ("V1", "HOSP", "W3^12")


_PART = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cc", "Cs", "Zs"]), max_size=8
)


@given(_PART, _PART, _PART)
def test_both_parsers_read_the_same_identifiers(patient: str, authority: str, name: str) -> None:
    """Whatever is in the fields, encoding characters too: what we read hl7apy reads as well."""
    escaped = [_escaped(part) for part in (patient, authority, name)]
    data = message("ADT^A28", pid(f"{escaped[0]}^^^{escaped[1]}", escaped[2]))
    theirs = hl7apy.parser.parse_segment(data.decode().split("\r")[1])
    ours = read(data, "utf-8").required("PID")
    assert ours.text(3) == patient.strip(" ") or patient == '""'
    assert ours.raw(3).rstrip("^") == theirs.pid_3.to_er7()
    assert ours.text(5) == name.strip(" ") or name == '""'
    if ours.identifiers(3):
        assert ours.identifiers(3)[0].authority == ("" if authority == '""' else authority)


def _escaped(text: str) -> str:
    letters = {"\\": "E", "|": "F", "^": "S", "&": "T", "~": "R"}
    return "".join(f"\\{letters[each]}\\" if each in letters else each for each in text)


_SEGMENTS = st.lists(
    st.tuples(st.sampled_from(["PID", "PV1", "MRG", "ORC", "OBR", "ZDS", "IPC", "TQ1", "AIL", "EVN", "OBX", "PID", ""]), st.text('|^~\\&"PX19.0\r\n\xe4 ', max_size=40)),
    max_size=6,
)  # fmt: skip


@given(
    st.sampled_from(
        ["ADT^A01", "ADT^A40", "ADT^A45", "ADT^A17", "ADT^A24", "ADT^A37", "ADT^A47", "ORM^O01", "OMI^O23", "", "X"]
    ),
    _SEGMENTS,
    st.text("|^~\\&#", max_size=6),
)
def test_no_message_makes_anything_but_a_clear_error(kind: str, segments: list[tuple[str, str]], encoding: str) -> None:
    """Of any segments in any order with any separators in them: taken, ignored, or refused by one of the known errors."""
    lines = [f"{name}|{rest}" for name, rest in segments]
    data = message(kind, *lines)
    if encoding:
        data = data.replace(b"|^~\\&", encoding.encode(), 1)
    hospital = Hospital()
    for _ in range(2):
        with contextlib.suppress(BrokenMessage, Conflict, InvalidBody):
            hospital.hear(data)


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "ascii", "iso2022_jp", "gb18030"]))
def test_no_bytes_make_anything_but_a_clear_error(data: bytes, codec: str) -> None:
    """Neither alone, nor behind a header; and each can be answered."""
    for each in (data, message("ADT^A08") + data, b"MSH" + data):
        with contextlib.suppress(BrokenMessage):
            read(each, codec)
        for one in (None, BrokenMessage("x", 102)):
            assert all(answer.startswith("MSH") for answer in answers(header_of(each), NOW, one))
