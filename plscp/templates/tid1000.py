"""Quotation: an observation is repeated from another source, with that source's context (PS3.16 TID 1000, 1001, 1005)."""

from collections.abc import Sequence
from typing import ClassVar

from plscp.content.model import ContentItem
from plscp.templates.rows import (
    CODE,
    COMPOSITE,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    MC,
    TEXT,
    UIDREF,
    Condition,
    M,
    Template,
    U,
    dcm,
    include,
    named,
    row,
)
from plscp.templates.tid1002 import Observer
from plscp.templates.tid1006 import Subject
from plscp.templates.values import Coded, Included, Reference, Text

QUOTATION_MODE = dcm("121001", "Quotation Mode")
ISSUER = dcm("110190", "Issuer of Identifier")


class PlacerNumber(Text):
    """TID 1005 row 3 with the rows below it."""

    issuer: Text | None = row("4", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class FillerNumber(Text):
    """TID 1005 row 5 with the rows below it."""

    issuer: Text | None = row("6", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class AccessionNumber(Text):
    """TID 1005 row 7 with the rows below it."""

    issuer: Text | None = row("8", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class StudyContext(Included):
    """TID 1005 Procedure Study Context."""

    head: ClassVar[Template] = Template("1005", "Procedure Study Context", extensible=False)

    study_instance_uid: Text | None = row(
        "1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121018", "Procedure Study Instance UID"), "1", U
    )
    component_uids: list[Text] = row(
        "2", "", HAS_OBS_CONTEXT, UIDREF, dcm("121019", "Procedure Study Component UID"), "1-n", U
    )
    placer_number: PlacerNumber | None = row("3", "", HAS_OBS_CONTEXT, TEXT, dcm("121020", "Placer Number"), "1", U)
    filler_number: FillerNumber | None = row("5", "", HAS_OBS_CONTEXT, TEXT, dcm("121021", "Filler Number"), "1", U)
    accession_number: AccessionNumber | None = row(
        "7", "", HAS_OBS_CONTEXT, TEXT, dcm("121022", "Accession Number"), "1", U
    )
    codes: list[Coded] = row("9", "", HAS_OBS_CONTEXT, CODE, dcm("121023", "Procedure Code"), "1-n", U)


def _quotes(before: Sequence[ContentItem]) -> bool:
    return any(named(item, QUOTATION_MODE) for item in before)


class ObservationContext(Included):
    """TID 1001 Observation Context: who observed what in which procedure, where that is not inherited.

    What is inherited is not told in a request, so no condition can be judged. An observer belongs to the quotation where
    a Quotation Mode stands before it, else to the entry itself (TID 3010 row 1).
    """

    head: ClassVar[Template] = Template("1001", "Observation Context", extensible=False)

    observers: list[Observer] = include(
        "1", "", Observer, "1-n", MC, when=Condition("IF", "not all observer aspects are inherited"), gate=_quotes
    )
    study: StudyContext | None = include(
        "2", "", StudyContext, "1", MC, when=Condition("IF", "not all procedure aspects are inherited")
    )
    subject: Subject | None = include(
        "3", "", Subject, "1", MC, when=Condition("IF", "not all subject aspects are inherited")
    )


class Quotation(Included):
    """TID 1000 Quotation: the measurement is quoted from a document, or from what somebody said."""

    head: ClassVar[Template] = Template("1000", "Quotation", extensible=False)

    mode: Coded | None = row("1", "", HAS_OBS_CONTEXT, CODE, QUOTATION_MODE, "1", M)
    # COMPOSITE is no target of HAS OBS CONTEXT in PS3.3 Table A.35.7-2: noted, never refused.
    source: Reference | None = row(
        "2", "", HAS_OBS_CONTEXT, COMPOSITE, dcm("121002", "Quoted Source"), "1", U, conflicts=True
    )
    context: ObservationContext | None = include("3", "", ObservationContext, "1", M)
