"""Log entries of a cath lab as one would say them, each a content item of the template that PS3.16 has for it."""

from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from pydicom.sr.codedict import codes

from plscp.content.model import ContentItem
from plscp.scu.building import (
    ACQUISITION,
    CONTAINS,
    MODIFIER,
    OBSERVER,
    Concept,
    coded,
    image,
    number,
    person,
    text,
    uid,
)

XA_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.12.1"
SITE: Final = ("363704007", "SCT", "Procedure site")
LOCAL: Final = "99PLSCP"
"""Scheme of the codes that a department makes up for its stock."""


def concept(group: int, name: str) -> tuple[str, str, str]:
    """A member of a context group of PS3.16, by its keyword."""
    found: Any = getattr(getattr(codes, f"cid{group}"), name)
    return found.value, found.scheme_designator, found.meaning


def dcm(value: str, meaning: str) -> tuple[str, str, str]:
    """A code of PS3.16 Annex D."""
    return value, "DCM", meaning


def made_uid(*parts: object) -> str:
    """A UID that is the same for the same parts."""
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join(map(str, parts))).int}"


def status(name: str) -> ContentItem:
    """TID 3001 row 8: patient status or event, a member of CID 3402."""
    return coded(dcm("121123", "Patient Status or Event"), concept(3402, name), rel=CONTAINS)


def note(kind: str, words: str) -> ContentItem:
    """TID 3001 row 6: a note; `kind` is a member of CID 3401."""
    return text(concept(3401, kind), words, rel=CONTAINS)


def staff(action: str, name: str) -> ContentItem:
    """TID 3001 row 10: staff action, a member of CID 3404."""
    return person(concept(3404, action), name, rel=CONTAINS)


def equipment(happened: str, which: str) -> ContentItem:
    """TID 3001 row 12: equipment event, a member of CID 3427."""
    return text(concept(3427, happened), which, rel=CONTAINS)


def action(what: str, procedure: str, number_of_action: int, physician: str = "") -> ContentItem:
    """TID 3100: procedure action; `what` is a member of CID 3421, `procedure` of CID 3405."""
    children = [text(dcm("121124", "Procedure Action Item ID"), str(number_of_action))]
    if physician:
        children.append(person(concept(7453, "Performing"), physician))
    return coded(concept(3421, what), concept(3405, procedure), *children, rel=CONTAINS)


def acquired(study: str, run: int, frames: int, angles: tuple[int, int]) -> ContentItem:
    """TID 3101: an angiographic run; angles in degrees, primary and secondary."""
    return image(
        dcm("121138", "Image Acquired"),
        XA_IMAGE,
        made_uid(study, "run", run),
        uid(dcm("112002", "Series Instance UID"), made_uid(study, "series"), rel=ACQUISITION),
        coded(dcm("121139", "Modality"), dcm("XA", "X-Ray Angiography"), rel=ACQUISITION),
        number(dcm("121140", "Number of Frames"), str(frames), "{frames}"),
        text(dcm("121141", "Image Type"), "ORIGINAL\\PRIMARY\\SINGLE PLANE"),
        number(dcm("112011", "Positioner Primary Angle"), str(angles[0]), "deg", rel=ACQUISITION),
        number(dcm("112012", "Positioner Secondary Angle"), str(angles[1]), "deg", rel=ACQUISITION),
    )


def consumable(happened: str, stock: tuple[str, str], lot: str, quantity: int = 1) -> ContentItem:
    """TID 3104: stock; `happened` is a member of CID 3408, `stock` a local code and its meaning."""
    return coded(
        concept(3408, happened),
        (stock[0], LOCAL, stock[1]),
        text(concept(3426, "DescriptionOfMaterial"), stock[1]),
        text(concept(3426, "LotIdentifier"), lot),
        number(dcm("121146", "Quantity of Material"), str(quantity), "1"),
        rel=CONTAINS,
    )


def administered(
    happened: str,
    what: Concept,
    route: str,
    *parameters: tuple[str, str, str],
    by: str = "",
) -> ContentItem:
    """TID 3106: drug or contrast; `happened` is of CID 3409, `route` of CID 11, parameters (of CID 3410, value, unit)."""
    children = [coded(("410675002", "SCT", "Route of administration"), concept(11, route))]
    children += [number(concept(3410, name), value, units) for name, value, units in parameters]
    if by:
        children.append(person(dcm("121152", "Person administering drug/contrast"), by))
    return coded(concept(3409, happened), what, *children, rel=CONTAINS)


def device(  # noqa: PLR0917  # one argument per row of the template
    happened: str,
    what: str,
    site: str,
    words: str,
    sizes: tuple[tuple[str, str], ...] = (),
    item_id: int = 0,
    *,
    deployed: bool = False,
) -> ContentItem:
    """TID 3107: device used; `happened` of CID 3422, `what` of CID 3429, `site` of CID 3630, sizes in mm."""
    children = [text(dcm("121145", "Description of Material"), words)]
    children += [number(concept(3423, name), value, "mm") for name, value in sizes]
    children.append(coded(SITE, concept(3630, site)))
    if deployed:
        children.append(coded(("363703001", "SCT", "Has Intent"), dcm("121155", "Deployment"), rel=MODIFIER))
    if item_id:
        children.append(text(dcm("121124", "Procedure Action Item ID"), str(item_id), rel=OBSERVER))
    return coded(concept(3422, happened), concept(3429, what), *children, rel=CONTAINS)


def intervention(
    happened: str,
    site: str,
    attempt: int | None,
    equipment_used: str,
    *parameters: tuple[str, str, str],
) -> ContentItem:
    """TID 3108: intervention; `happened` of CID 3412, `site` of CID 3604; no `attempt`: its mandatory row 4 is missing."""
    children = [coded(SITE, concept(3604, site))]
    if attempt is not None:
        children.append(text(dcm("121154", "Intervention attempt identifier"), str(attempt)))
    primary = coded(dcm("122111", "Primary Intervention Device"), concept(230, "Yes"), rel=MODIFIER)
    children.append(coded(("116682006", "SCT", "Uses Equipment"), concept(3411, equipment_used), primary))
    children += [number(concept(3425, name), value, units) for name, value, units in parameters]
    return coded(dcm("122090", "Intervention Action"), concept(3412, happened), *children, rel=CONTAINS)


def device_observer(name: str, model: str) -> list[ContentItem]:
    """TID 1002 with TID 1004: the sending device is the observer."""
    return [
        coded(dcm("121005", "Observer Type"), dcm("121007", "Device"), rel=OBSERVER),
        uid(dcm("121012", "Device Observer UID"), made_uid("device", name), rel=OBSERVER),
        text(dcm("121013", "Device Observer Name"), name, rel=OBSERVER),
        text(dcm("121015", "Device Observer Model Name"), model, rel=OBSERVER),
    ]


def person_observer(name: str) -> list[ContentItem]:
    """TID 1002 with TID 1003: a person at a device is the observer."""
    return [person(dcm("121008", "Person Observer Name"), name, rel=OBSERVER)]


def procedure_context(description: str) -> list[ContentItem]:
    """TID 3601: what procedure this is."""
    return [
        text(dcm("121065", "Procedure Description"), description, rel=ACQUISITION),
        coded(("363703001", "SCT", "Has Intent"), concept(3629, "TherapeuticIntent"), rel=ACQUISITION),
        coded(("260870009", "SCT", "Procedure Priority"), concept(3414, "UrgentProcedure"), rel=ACQUISITION),
    ]
