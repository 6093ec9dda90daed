"""The load *real*: requests as a cath lab sends them, with everything varied that varies there.

Drugs, contrast agents, routes, devices, sites, procedures and what is done are drawn from the context groups of PS3.16;
numbers, names and texts are drawn too. A fixed seed gives every run the same requests.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from pydicom.sr.codedict import Collection

from benchmarks.marks import MARK, dated
from benchmarks.servers import STUDIES
from plscp.content.model import Code, ContentItem, Numeric
from plscp.templates.rows import CONTAINS, HAS_ACQ_CONTEXT, HAS_OBS_CONTEXT, HAS_PROPERTIES
from tests.rawscu import element, uid

REQUESTS: Final = 4096
"""Different requests; each gets times and running numbers of its own whenever it is sent."""
ENTRIES: Final = 5
LONGEST_PAUSE_MS: Final = 2000
"""Between two entries of a request."""
SEED: Final = 3001
_UTF_8: Final = "ISO_IR 192"

Draw = Callable[[Random], ContentItem]


def _members(*groups: int) -> list[Code]:
    """The codes of context groups."""
    return [
        Code(concept.value, concept.scheme_designator, concept.meaning)
        for group in groups
        for concept in Collection(f"CID{group}").concepts.values()
    ]


DRUGS, CONTRAST, ROUTES = _members(10), _members(12), _members(11)
DEVICE_ACTIONS, DEVICES, DEVICE_SITES = _members(3422), _members(3429), _members(3630)
INTERVENTIONS, LESION_SITES, EQUIPMENT = _members(3412), _members(3604), _members(3411)
PROCEDURE_ACTIONS, PROCEDURES, NOTES = _members(3421), _members(3405), _members(3401)
DRUG_GIVEN, CONTRAST_GIVEN = Code("122083", "DCM", "Drug administered"), Code("122086", "DCM", "Contrast administered")
ROUTE = Code("410675002", "SCT", "Route of administration")
MATERIAL = Code("121145", "DCM", "Description of Material")
DOSE, VOLUME = Code("122092", "DCM", "Undiluted dose administered"), Code("122091", "DCM", "Volume administered")
LENGTH, DIAMETER = Code("410668003", "SCT", "Length"), Code("81827009", "SCT", "Diameter")
SITE = Code("363704007", "SCT", "Procedure site")
INTERVENTION = Code("122090", "DCM", "Intervention Action")
ATTEMPT = Code("121154", "DCM", "Intervention attempt identifier")
USES = Code("116682006", "SCT", "Uses Equipment")
ACTION_ITEM = Code("121124", "DCM", "Procedure Action Item ID")
PERFORMING = Code("121094", "DCM", "Performing")
DURATION = Code("121128", "DCM", "Procedure Action Duration")
OBSERVER_NAME = Code("121008", "DCM", "Person Observer Name")
DESCRIPTION = Code("121065", "DCM", "Procedure Description")
NAMES = (
    "Adams^Ruth", "Bergstr\u00f6m^Nils", "Costa^Ines", "Dubois^Ren\u00e9", "Evans^Gwen", "Fischer^Uwe", "Garcia^Luz", "Hansen^J\u00f8rn",
    "Ito^Ken", "Jansen^Piet", "Kowalska^Ewa", "Lopez^Ana", "M\u00fcller^Jutta", "Novak^Petr", "Okafor^Chidi", "Rossi^Pia",
)  # fmt: skip


def text(concept: Code, value: str, *, rel: str = HAS_PROPERTIES) -> ContentItem:
    """A TEXT item."""
    return ContentItem(rel, "TEXT", concept, value)


def coded(concept: Code, value: Code, *children: ContentItem, rel: str = HAS_PROPERTIES) -> ContentItem:
    """A CODE item."""
    return ContentItem(rel, "CODE", concept, value, list(children))


def number(concept: Code, value: str, units: str) -> ContentItem:
    """A NUM item; `units` is a UCUM code."""
    return ContentItem(HAS_PROPERTIES, "NUM", concept, Numeric(value, Code(units, "UCUM", units)))


def person(concept: Code, name: str, *, rel: str = HAS_PROPERTIES) -> ContentItem:
    """A PNAME item."""
    return ContentItem(rel, "PNAME", concept, name)


def _drug(draw: Random) -> ContentItem:
    """TID 3106 for a drug."""
    dose, unit = draw.choice((("%d", "[iU]"), ("%d", "mg"), ("%d.5", "ug"), ("0.%d", "mL")))
    return coded(
        DRUG_GIVEN,
        drug := draw.choice(DRUGS),
        text(MATERIAL, f"{drug.meaning}, vial {MARK}"),
        coded(ROUTE, draw.choice(ROUTES)),
        number(DOSE, dose % draw.randrange(1, 5000), unit),
        rel=CONTAINS,
    )


def _contrast(draw: Random) -> ContentItem:
    """TID 3106 for a contrast agent."""
    return coded(
        CONTRAST_GIVEN,
        draw.choice(CONTRAST),
        text(MATERIAL, f"bottle {MARK}"),
        coded(ROUTE, draw.choice(ROUTES)),
        number(VOLUME, f"{draw.randrange(10, 1500) / 10}", "mL"),
        rel=CONTAINS,
    )


def _device(draw: Random) -> ContentItem:
    """TID 3107."""
    return coded(
        draw.choice(DEVICE_ACTIONS),
        draw.choice(DEVICES),
        text(MATERIAL, f"lot {MARK}, {draw.randrange(4, 9)} F"),
        number(draw.choice((LENGTH, DIAMETER)), f"{draw.randrange(20, 400) / 10}", "mm"),
        coded(SITE, draw.choice(DEVICE_SITES)),
        rel=CONTAINS,
    )


def _intervention(draw: Random) -> ContentItem:
    """TID 3108."""
    return coded(
        INTERVENTION,
        draw.choice(INTERVENTIONS),
        coded(SITE, draw.choice(LESION_SITES)),
        text(ATTEMPT, f"{draw.randrange(1, 9)}/{MARK}"),
        coded(USES, draw.choice(EQUIPMENT)),
        rel=CONTAINS,
    )


def _action(draw: Random) -> ContentItem:
    """TID 3100."""
    return coded(
        draw.choice(PROCEDURE_ACTIONS),
        draw.choice(PROCEDURES),
        text(ACTION_ITEM, f"{draw.randrange(1, 40)}/{MARK}"),
        person(PERFORMING, draw.choice(NAMES)),
        number(DURATION, str(draw.randrange(1, 3600)), "s"),
        rel=CONTAINS,
    )


DRAWN: Final[Sequence[Draw]] = (_drug, _contrast, _device, _intervention, _action)


def entries(draw: Random) -> Iterator[ContentItem]:
    """One entry of each kind, in any order, each later than the one before."""
    age = sum(pauses := [draw.randrange(1, LONGEST_PAUSE_MS) for _ in DRAWN])
    for make, pause in zip(draw.sample(DRAWN, ENTRIES), pauses, strict=True):
        age -= pause
        entry = make(draw)
        entry.observation_datetime = dated(age)
        yield entry


def requests() -> Iterator[bytes]:
    """Action Information of each request in Implicit VR Little Endian, with marks where times and numbers go."""
    draw = Random(SEED)
    rooms = [
        (_before(study, patient), person(OBSERVER_NAME, name, rel=HAS_OBS_CONTEXT), _described(draw))
        for study, patient in STUDIES
        for name in draw.sample(NAMES, 3)
    ]
    for _ in range(REQUESTS):
        before, observer, procedure = draw.choice(rooms)
        yield before + _sequence(0x0040A730, [item(one) for one in (observer, procedure, *entries(draw))])


def _described(draw: Random) -> ContentItem:
    """TID 3601 row 1."""
    return text(DESCRIPTION, draw.choice(PROCEDURES).meaning, rel=HAS_ACQ_CONTEXT)


# --- Implicit VR Little Endian; pydicom would need half a minute for all of them ----------------------------------------


def item(content: ContentItem) -> bytes:
    """A content item that `DRAWN` makes, encoded."""
    assert content.concept is not None
    parts = [
        (0x0040A010, _text(content.relationship)),
        (0x0040A040, _text(content.value_type)),
        (0x0040A032, _text(content.observation_datetime)),
    ]
    made = b"".join(element(tag, value) for tag, value in sorted(parts) if value) + _code(0x0040A043, content.concept)
    value = content.value
    if isinstance(value, Code):
        made += _code(0x0040A168, value)
    elif isinstance(value, Numeric):
        assert value.text is not None
        assert value.units is not None
        measured = _code(0x004008EA, value.units) + element(0x0040A30A, _text(value.text))
        made += _sequence(0x0040A300, [measured])
    else:
        assert isinstance(value, str)
        made += element(0x0040A123 if content.value_type == "PNAME" else 0x0040A160, _text(value))
    if content.children:
        made += _sequence(0x0040A730, [item(child) for child in content.children])
    return made


def _before(study: str, patient: str) -> bytes:
    """Everything before Content Sequence (Table P.2-2)."""
    template = element(0x00080105, _text("DCMR")) + element(0x0040DB00, _text("3001"))
    return b"".join(
        (
            element(0x00080005, _text(_UTF_8)),
            element(0x00100020, _text(patient)),
            element(0x0020000D, uid(study)),
            element(0x00200010, b""),
            element(0x00200200, uid("1.2.840.10008.15.1.1")),
            element(0x00400243, b""),
            element(0x0040A040, _text("CONTAINER")),
            _code(0x0040A043, Code("121120", "DCM", "Cath Lab Procedure Log")),
            element(0x0040A050, _text("SEPARATE")),
            _sequence(0x0040A504, [template]),
        )
    )


def _text(value: str) -> bytes:
    raw = value.encode()
    return raw + b" " * (len(raw) % 2)


def _code(tag: int, code: Code) -> bytes:
    parts = ((0x00080100, code.value), (0x00080102, code.scheme), (0x00080104, code.meaning))
    return _sequence(tag, [b"".join(element(inner, _text(value)) for inner, value in parts)])


def _sequence(tag: int, items: Sequence[bytes]) -> bytes:
    return element(tag, b"".join(element(0xFFFEE000, one) for one in items))
