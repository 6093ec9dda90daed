"""What a server would answer to a request, and why, without one: steps 5 to 7 of the checks, by the server's own code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from plscp.cli.view import concept_text, value_text
from plscp.content.elements import CONTENT_SEQUENCE
from plscp.content.items import VALUE_TYPE
from plscp.content.model import Bounds, ContentItem
from plscp.content.reader import DataSet, Decoded, content_tree, decode
from plscp.errors import Refused
from plscp.findings import Finding
from plscp.scu.encoding import Encoded
from plscp.service.outcomes import comment
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING, StatusInfo
from plscp.templates import action
from plscp.templates.tracing import Place, look, trace, wanted

_CONTENT_SEQUENCE: Final = (b"\x40\x00\x30\xa7", b"\x00\x40\xa7\x30")


@dataclass
class Explained:
    """What became of a request.

    Attributes:
        status: the one that it would get before it is matched to a study or patient.
        comment: what is wrong as an Error Comment (0000,0902); the response has it where the status may have one.
        dataset: what was read; None where it does not decode.
        root: the content tree of a Procedural Event.
        places: the row of each item, by path.
    """

    sop_class: str
    status: StatusInfo = STATUSES[0]
    comment: str = ""
    findings: list[Finding] = field(default_factory=list)
    dataset: DataSet | None = None
    root: ContentItem | None = None
    places: dict[str, Place] = field(default_factory=dict)

    def expected(self, finding: Finding) -> str:
        """How the row that a finding is about should look, or empty."""
        place = wanted(finding, self.places.get(finding.path))
        return look(place) if place is not None else ""


def explained(given: Encoded, sop_class: str | None, *, strict: bool) -> Explained | None:
    """Checks a request as the server does.

    Args:
        given: the encoded data set.
        sop_class: None: told by the content.
        strict: the device's profile.

    Returns:
        None where nothing tells the SOP Class.
    """
    told = sop_class or PROCEDURAL_EVENT_LOGGING
    try:
        decoded = _decoded(given, told)
    except Refused as refused:
        log = any(tag in given.raw for tag in _CONTENT_SEQUENCE)
        return _refused(Explained(sop_class or (told if log else SUBSTANCE_ADMINISTRATION_LOGGING)), refused)
    dataset = decoded.dataset
    if sop_class is None and not {VALUE_TYPE, CONTENT_SEQUENCE} & dataset.root.elements.keys():
        if not any(tag >> 16 == 0x0044 for tag in dataset.root.elements):
            return None
        told = SUBSTANCE_ADMINISTRATION_LOGGING
        decoded = _decoded(given, told)
    made = Explained(told, dataset=dataset)
    if told == SUBSTANCE_ADMINISTRATION_LOGGING:
        return _judged(made, lambda: _administration(decoded, strict=strict))
    made.root = content_tree(dataset, [], strict=strict)
    made.places = trace(made.root)
    return _judged(made, lambda: _log(decoded, strict=strict))


def _decoded(given: Encoded, sop_class: str) -> Decoded:
    return decode(given.raw, given.transfer_syntax, calling_ae="", sop_class=sop_class, bounds=Bounds())


def _log(decoded: Decoded, *, strict: bool) -> list[Finding]:
    made = action.procedural(decoded, strict=strict)
    return [*made.findings, *(finding for entry in made.entries for finding in entry.findings)]


def _administration(decoded: Decoded, *, strict: bool) -> list[Finding]:
    made = action.substance(decoded, strict=strict)
    return [*made.findings, *made.entry.findings]


def _judged(made: Explained, check: Callable[[], list[Finding]]) -> Explained:
    try:
        made.findings = check()
    except Refused as refused:
        return _refused(made, refused)
    return made


def _refused(made: Explained, refused: Refused) -> Explained:
    made.status, made.findings, made.comment = refused.info, list(refused.findings), comment(refused)
    return made


def as_json(made: Explained) -> dict[str, Any]:
    """The explanation for machines: `expected` says how a row should look, `row` which one an item matched."""
    findings = []
    for finding in made.findings:
        expected = made.expected(finding)
        findings.append(finding.as_json() | ({"expected": expected} if expected else {}))
    return {
        "sop_class": made.sop_class,
        "accepted": made.status.performed,
        "status": f"{made.status.code:04X}",
        "name": made.status.name,
        "comment": made.comment,
        "findings": findings,
        "tree": _item(made.root, made.places, "") if made.root is not None else None,
    }


def _item(item: ContentItem, places: dict[str, Place], path: str) -> dict[str, Any]:
    place = places.get(path)
    members = {
        "relationship": item.relationship,
        "value_type": item.value_type,
        "concept": concept_text(item.concept),
        "value": value_text(item.value),
        "observation_datetime": item.observation_datetime,
        "template": place.head.tid if place else "",
        "row": place.row.number if place else "",
        "kind": place.kind if place else "",
        "children": [_item(child, places, f"{path}.{n}".lstrip(".")) for n, child in enumerate(item.children, 1)],
    }
    return {"path": path} | {name: value for name, value in members.items() if value}
