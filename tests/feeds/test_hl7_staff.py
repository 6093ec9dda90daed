"""The staff master file (MFN^M02): what its records say of operators, and how MFK^M02 answers."""

from pathlib import Path

import pytest
from hl7.client import MLLPClient

from plscp.errors import BrokenMessage, InvalidBody
from plscp.feeds.hl7_message import Hl7Message, read
from plscp.feeds.hl7_staff import NO_SCHEME, acknowledged, plan_of
from plscp.matching import changes
from plscp.matching.plan import Plan
from tests.matching.world import NOON, World
from tests.serving import Serving, until

SCHEMES = {"L": "L", "HOSP": "L", "2.16.840.1.113883.4.6": "NPI"}
MSH = r"MSH|^~\&|STAFF|HOSP|PLSCP|LAB|20240514120000+0000||MFN^M02^MFN_M02|C1|P|2.5"


def message(*segments: str, event: str = "UPD", level: str = "AL") -> Hl7Message:
    """A message of these segments after MSH and MFI."""
    return read("\r".join([MSH, f"MFI|STF^Staff||{event}|||{level}", *segments]).encode(), "utf-8")


def record(
    event: str, staff_id: str = "N1^^^HOSP", *, effective: str = "", flag: str = "", since: str = "", until: str = ""
) -> list[str]:
    """One record: MFE and STF."""
    mfe = f"MFE|{event}|R1|{effective}|N1^Nurse^L|CWE"
    return [mfe, f"STF|N1^Nurse^L|{staff_id}|Doe^Jane||||{flag}|||||{since}|{until}".rstrip("|")]


def take(world: World, *segments: str, event: str = "UPD") -> list[str]:
    """Take a message; returns the notes."""
    plan = Plan(world.registry, world.policy, world.now)
    steps = plan_of(message(*segments, event=event), SCHEMES, zone="Europe/Berlin", arrival=world.now)
    notes = [note for step in steps if (note := step(plan))]
    world.take(plan.records)
    return notes


def held(world: World, value: str = "N1", scheme: str = "L") -> tuple[bool, str, str]:
    """Whether an operator is active, and the validity."""
    known = world.registry.operators.known(value, scheme)
    assert known is not None
    assert known.said_by == "hl7"
    return known.active, *(
        "" if moment is None else f"{moment:%m-%dT%H:%M}" for moment in (known.valid_from, known.valid_until)
    )  # type: ignore[return-value]


EVENTS = [
    # what is said first, then; what holds
    ((), record("MAD"), (True, "", "")),
    ((), record("MAD", flag="I"), (False, "", "")),
    ((), record("MAD", since="202405130800", until="20240601"), (True, "05-13T08:00", "06-01T00:00")),
    ((), record("MAD", effective="20240515060000+0000"), (True, "05-15T06:00", "")),
    ((), record("MAD", effective="20240513"), (True, "", "")),
    (record("MAD", until="20240601"), record("MUP"), (True, "", "06-01T00:00")),
    (record("MAD", until="20240601"), record("MUP", until='""'), (True, "", "")),
    (record("MAD", until="20240601"), record("MAD"), (True, "", "")),
    (record("MAD"), record("MUP", flag="I"), (False, "", "")),
    (record("MAD"), record("MDC"), (False, "", "")),
    (record("MAD"), record("MDL"), (False, "", "")),
    (record("MAD"), record("MDC", effective="20240514150000+0000"), (True, "", "05-14T15:00")),
    (record("MDL"), record("MUP"), (False, "", "")),
    (record("MDL"), record("MAC"), (True, "", "")),
]


@pytest.mark.parametrize(("first", "then", "holds"), EVENTS)
def test_events(first: list[str], then: list[str], holds: tuple[bool, str, str]) -> None:
    """Added, updated, deactivated, deleted, activated again; what takes effect later is a validity period."""
    world = World()
    for segments in (first, then):
        if segments:
            assert take(world, *segments) == []
    assert held(world) == holds
    position = world.registry.position
    take(world, *then)
    assert world.registry.position == position


def test_each_identifier_is_a_code_under_the_scheme_that_devices_send() -> None:
    """By [operators] schemes, else the authority as it is; one too long for a scheme is none; without STF-2 the key counts."""
    world = World()
    assert (
        take(world, *record("MAD", "N1^^^HOSP~77^^^&2.16.840.1.113883.4.6&ISO~5^^^&1.2.840.99999.1.2.3&ISO~X^^^SITE"))
        == []
    )
    assert [(each.value, each.scheme) for each in world.registry.operators.all()] == [
        ("N1", "L"),
        ("77", "NPI"),
        ("X", "SITE"),
    ]
    assert take(world, *record("MDL", "")) == []
    assert not held(world)[0]
    assert take(world, "MFE|MAC|R1||N1^Nurse^L|CWE") == []
    assert held(world)[0]
    assert take(world, *record("MAD", "5^^^&1.2.840.99999.1.2.3&ISO")) == [NO_SCHEME]


def test_locations_come_from_organization_units_that_are_labs() -> None:
    """ORG-2 by any name of [locations]; none of them: everywhere."""
    world = World()
    take(world, *record("MAD"), "ORG|1|CATH^LAB1", "ORG|2|Lab 2", "ORG|3|Ward 7")
    known = world.registry.operators.known("N1", "L")
    assert known is not None
    assert known.locations == ("Lab 2",)
    take(world, *record("MUP"), "ORG|1|Ward 7")
    known = world.registry.operators.known("N1", "L")
    assert known is not None
    assert known.locations == ()


def test_a_whole_file_takes_out_whom_it_does_not_name() -> None:
    """Of its schemes, and of those whom HL7 named."""
    world = World()
    take(world, *record("MAD", "N1^^^HOSP"), *record("MAD", "N2^^^HOSP"), *record("MAD", "X^^^SITE"))
    world.plan(changes.put_operator, {"value": "N9", "scheme": "L"})
    take(world, *record("MAD", "N2^^^HOSP"), event="REP")
    assert [each.value for each in world.registry.operators.all() if not each.active] == ["N1"]


BROKEN = [
    (["STF|N1"], "segment STF before the first MFE"),
    ([], "segment MFE is missing"),
    (["MFE|MXX|R1||N1^N^L"], "the record-level event code is none of table 0180"),
    (["MFE|MAD|R1"], "a member of staff has no identifier"),
    (record("MAD", flag="X"), "the active flag is neither A nor I"),
    (record("MAD", effective="soon"), "not a date and time"),
    (record("MAD", since="20240231"), "not a date and time"),
    (["MFE|MAD|R1||N\ufffd^N^L"], "an identifier does not decode"),
]


@pytest.mark.parametrize(("segments", "why"), BROKEN)
def test_what_cannot_be_taken(segments: list[str], why: str) -> None:
    """Nothing of the message is; the answer says so for each record."""
    with pytest.raises(BrokenMessage, match=why):
        plan_of(message(*segments), SCHEMES, zone="UTC", arrival=NOON)


def test_what_cannot_be_planned() -> None:
    """A file-level event that is not known, and a validity that ends before it begins."""
    with pytest.raises(BrokenMessage, match="neither UPD nor REP"):
        plan_of(message(*record("MAD"), event="X"), SCHEMES, zone="UTC", arrival=NOON)
    with pytest.raises(InvalidBody, match="valid_until lies before valid_from"):
        take(World(), *record("MAD", since="20240601", until="20240501"))


@pytest.mark.parametrize(
    ("level", "error", "count"),
    [
        ("AL", False, 2),
        ("AL", True, 2),
        ("", False, 2),
        ("NE", True, 0),
        ("ER", False, 0),
        ("ER", True, 2),
        ("SU", False, 2),
        ("SU", True, 0),
    ],
)
def test_the_answer(level: str, error: bool, count: int) -> None:
    """MFI as it was sent, and of each record whether it was posted, as far as the response level asks."""
    taken = message(*record("MAD"), *record("MDL"), level=level)
    first, *others = acknowledged(taken, BrokenMessage("x", 101) if error else None)
    assert first == f"MFI|STF^Staff||UPD|||{level}".rstrip("|")
    flag = "U" if error else "S"
    assert others == [f"MFA|{event}|R1||{flag}|N1^Nurse^L|CWE" for event in ("MAD", "MDL")][:count]
    assert acknowledged(read(MSH.encode(), "utf-8")) == []


SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[feeds.hl7]
port = 0
[operators]
policy = "list"
[operators.schemes]
L = ["HOSP"]
"""


def test_a_staff_message_over_mllp(tmp_path: Path) -> None:
    """Taken, it is answered with MFK^M02 once the operators are known; refused, each record is said not to be posted, and nothing is."""
    with Serving(tmp_path, SETTINGS) as server:
        address = until(
            lambda: next((line for line in server.lines if line.startswith("hl7 ")), ""), "the listener"
        ).split()[-1]
        host, port = address.rsplit(":", 1)
        segments = [*record("MAD"), "MFE|MAD|R2||N2^M\u00fcller^L|CWE", "STF|N2^M\u00fcller^L|N2^^^HOSP"]
        with MLLPClient(host, int(port)) as client:

            def sent(*more: str) -> list[str]:
                text = "\r".join([MSH, "MFI|STF^Staff||UPD|||AL", *segments, *more]) + "\r"
                answer: bytes = client.send(b"\x0b" + text.encode() + b"\x1c\r")
                return answer.decode().strip("\x0b\x1c\r").split("\r")

            msh, msa, mfi, *records = sent()
            assert (msh.split("|")[8], msa[:9], mfi) == ("MFK^M02^MFK_M01", "MSA|AA|C1", "MFI|STF^Staff||UPD|||AL")
            assert records == ["MFA|MAD|R1||S|N1^Nurse^L|CWE", "MFA|MAD|R2||S|N2^M\u00fcller^L|CWE"]
            found = server.get("/api/v1/operators")["operators"]
            assert [(each["value"], each["scheme"], each["said_by"]) for each in found] == [
                ("N1", "L", "hl7"),
                ("N2", "L", "hl7"),
            ]
            _, msa, err, mfi, *records = sent("MFE|MXX|R3||N3^X^L|CWE")
            assert (msa[:9], err.split("|")[2:4]) == ("MSA|AE|C1", ["MFE^3^1^1", "103^Table value not found^HL70357"])
            assert [each.split("|")[4] for each in records] == ["U", "U", "U"]
            assert len(server.get("/api/v1/operators")["operators"]) == 2
            [event] = [
                each
                for each in server.get("/api/v1/events", kind="registry", limit=10)["events"]
                if each["position"] == 1
            ]
            assert (event["source"], event["message"]) == ("hl7", "STAFF|HOSP|C1")
        assert server.stop() == 0
