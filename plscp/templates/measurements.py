"""Measurement, and what may be said about it (PS3.16 TID 300, 310, 311, 312, 315, 320, 321, 4019, 4108).

Rows by reference and with coordinates are not here: PS3.3 A.35.7.3 does not let them stand in a log. Where the includer
gives the relationship, it is the includer's.
"""

from plscp.templates.observation_context import Quotation
from plscp.templates.values import Coded, Included, Quantity, Reference, Text

from plscp.templates.rows import (  # isort: skip
    CODE, COMPOSITE, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, HAS_PROPERTIES, IMAGE, INFERRED_FROM, MC, NUM, TEXT, UC, UIDREF,
    WAVEFORM, Condition, M, Template, U, bcid, dcid, dcm, either, include, row, sct,
)  # fmt: skip

FINDING_SITE = sct("363698007", "Finding Site")
TOPOGRAPHICAL_MODIFIER = sct("106233006", "Topographical modifier")
LATERALITY = sct("272741003", "Laterality")
METHOD, DERIVATION = sct("370129005", "Measurement Method"), dcm("121401", "Derivation")
REFERENCE_AUTHORITY, RANGE_AUTHORITY = dcm("121406", "Reference Authority"), dcm("121408", "Normal Range Authority")
ALGORITHM_NAME = dcm("111001", "Algorithm Name")
TRACKING_ID, TRACKING_UID = dcm("112039", "Tracking Identifier"), dcm("112040", "Tracking Unique Identifier")


class Statistics(Included, head=Template("311", "Measurement Statistical Properties")):
    """TID 311 Measurement Statistical Properties: of a population that the value is compared with."""

    ranges: list[Quantity] = row("1", "", HAS_PROPERTIES, NUM, dcid(221), "1-n", M)
    population: Text | None = row("2", "", HAS_PROPERTIES, TEXT, dcm("121405", "Population description"), "1", U)
    authority: Text | None = row(
        "3", "", HAS_PROPERTIES, TEXT, REFERENCE_AUTHORITY, "1", UC, when=either("4", CODE, REFERENCE_AUTHORITY)
    )
    authority_code: Coded | None = row(
        "4", "", HAS_PROPERTIES, CODE, REFERENCE_AUTHORITY, "1", UC, when=either("3", TEXT, REFERENCE_AUTHORITY)
    )


class NormalRange(Included, head=Template("312", "Normal Range Properties")):
    """TID 312 Normal Range Properties."""

    limits: list[Quantity] = row("1", "", HAS_PROPERTIES, NUM, dcid(223), "1-n", M)
    description: Text | None = row("2", "", HAS_PROPERTIES, TEXT, dcm("121407", "Normal Range description"), "1", U)
    authority: Text | None = row(
        "3", "", HAS_PROPERTIES, TEXT, RANGE_AUTHORITY, "1", UC, when=either("4", CODE, RANGE_AUTHORITY)
    )
    authority_code: Coded | None = row(
        "4", "", HAS_PROPERTIES, CODE, RANGE_AUTHORITY, "1", UC, when=either("3", TEXT, RANGE_AUTHORITY)
    )


class MeasurementProperties(Included, head=Template("310", "Measurement Properties")):
    """TID 310 Measurement Properties: how normal, significant and certain the value is, and how it was chosen."""

    normality: Coded | None = row("1", "", HAS_PROPERTIES, CODE, dcm("121402", "Normality"), "1", U, dcid(222))
    statistics: Statistics | None = include("2", "", Statistics, "1", U)
    normal_range: NormalRange | None = include("3", "", NormalRange, "1", U)
    significance: Coded | None = row(
        "4", "", HAS_PROPERTIES, CODE, dcm("121403", "Level of Significance"), "1", U, dcid(220)
    )
    uncertainties: list[Quantity] = row("5", "", HAS_PROPERTIES, NUM, dcid(225), "1-n", U)
    selection: Coded | None = row("6", "", HAS_PROPERTIES, CODE, dcm("121404", "Selection Status"), "1", U, dcid(224))


class EquationUsed(Coded):
    """TID 315 row 1 with the rows below it."""

    parameters: list[Quantity] = row("2", ">", HAS_PROPERTIES, NUM, None, "1-n", U)


class Equation(Included, head=Template("315", "Equation or Table")):
    """TID 315 Equation or Table: what the value was computed with. CODE is no target of INFERRED FROM (A.35.7-2)."""

    equation: EquationUsed | None = row("1", "", INFERRED_FROM, CODE, dcid(228), "1", M, conflicts=True)


class ImageUsed(Included, head=Template("320", "Image or Spatial Coordinates", extensible=False)):
    """TID 320 Image or Spatial Coordinates: an image, since neither coordinates nor references can stand in a log."""

    image: Reference | None = row("1", "", INFERRED_FROM, IMAGE, None, "1", MC, when=Condition("XOR", "rows 2, 3, 6"))


class WaveformUsed(Included, head=Template("321", "Waveform or Temporal Coordinates", extensible=False)):
    """TID 321 Waveform or Temporal Coordinates: a waveform, as with TID 320."""

    waveform: Reference | None = row(
        "1", "", INFERRED_FROM, WAVEFORM, None, "1", MC, when=Condition("XOR", "rows 2, 3")
    )


class Tracking(Included, head=Template("4108", "Tracking Identifier")):
    """TID 4108 Tracking Identifier, a table of other documents: that TID 300 includes it here refuses nothing."""

    id: Text | None = row(
        "1", "", HAS_OBS_CONTEXT, TEXT, TRACKING_ID, "1", MC, when=either("2", UIDREF, TRACKING_UID, "IF"),
        verified=False,
    )  # fmt: skip
    uid: Text | None = row(
        "2", "", HAS_OBS_CONTEXT, UIDREF, TRACKING_UID, "1", MC, when=either("1", TEXT, TRACKING_ID, "IF"),
        verified=False,
    )  # fmt: skip


class Algorithm(Included, head=Template("4019", "Algorithm Identification", extensible=False)):
    """TID 4019 Algorithm Identification, a table of other documents: that TID 300 includes it here refuses nothing."""

    name: Text | None = row("1", "", HAS_CONCEPT_MOD, TEXT, ALGORITHM_NAME, "1", M, verified=False)
    name_code: Coded | None = row("1b", "", HAS_CONCEPT_MOD, CODE, ALGORITHM_NAME, "1", U, verified=False)
    version: Text | None = row(
        "2", "", HAS_CONCEPT_MOD, TEXT, dcm("111003", "Algorithm Version"), "1", M, verified=False
    )
    parameters: list[Text] = row(
        "3", "", HAS_CONCEPT_MOD, TEXT, dcm("111002", "Algorithm Parameters"), "1-n", U, verified=False
    )
    family: Coded | None = row(
        "4", "", HAS_CONCEPT_MOD, CODE, dcm("111000", "Algorithm Family"), "1", U, verified=False
    )


class MeasurementSite(Coded):
    """TID 300 row 5 with the rows below it; CID 244 is what its laterality is by default."""

    laterality: Coded | None = row("6", ">>", HAS_CONCEPT_MOD, CODE, LATERALITY, "1", U, dcid(244), inferred=["value"])
    modifier: Coded | None = row("7", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U)


class Measured(Quantity, head=Template("300", "Measurement")):
    """TID 300 Measurement, row 1 with the rows below it; the includer's row names $Measurement and $Units.

    Rows 9, 11 and 12 infer from numbers, codes and texts, which PS3.3 Table A.35.7-2 forbids: noted, never refused.
    """

    modifiers: list[Coded] = row("2", ">", HAS_CONCEPT_MOD, CODE, None, "1-n", U)
    method: Coded | None = row("3", ">", HAS_CONCEPT_MOD, CODE, METHOD, "1", U)
    derivation: Coded | None = row("4", ">", HAS_CONCEPT_MOD, CODE, DERIVATION, "1", U)
    sites: list[MeasurementSite] = row("5", ">", HAS_CONCEPT_MOD, CODE, FINDING_SITE, "1-n", U)
    properties: MeasurementProperties | None = include("8", ">", MeasurementProperties, "1", U)
    derived_from: list[Quantity] = row(
        "9", ">", INFERRED_FROM, NUM, None, "1-n", UC, when=Condition("XOR", "row 10"), conflicts=True
    )
    equation: Equation | None = include("11", ">", Equation, "1", UC, when=either("12", TEXT, dcid(228)))
    equation_text: Text | None = row(
        "12", ">", INFERRED_FROM, TEXT, dcid(228), "1", UC, when=either("11", CODE, dcid(228)), conflicts=True
    )
    images: list[ImageUsed] = include("13", ">", ImageUsed, "1-n", U)
    waveforms: list[WaveformUsed] = include("14", ">", WaveformUsed, "1-n", U)
    quotation: Quotation | None = include("15", ">", Quotation, "1", U)
    equivalent_meaning: Text | None = row(
        "16", ">", HAS_CONCEPT_MOD, TEXT, dcm("121050", "Equivalent Meaning of Concept Name"), "1", U
    )
    tracking: Tracking | None = include("17", ">", Tracking, "1", U)
    value_map: Reference | None = row(
        "18", ">", INFERRED_FROM, COMPOSITE, dcm("126100", "Real World Value Map used for measurement"), "1", U
    )
    algorithm: Algorithm | None = include("19", ">", Algorithm, "1", U)


class BloodPressure(Measured):
    """TID 300 as TID 3114 row 2 includes it: $Method is BCID 3560."""

    method: Coded | None = row("3", ">", HAS_CONCEPT_MOD, CODE, METHOD, "1", U, bcid(3560))


class PulseStrength(Measured):
    """TID 300 as TID 3114 row 8 includes it: $Method is BCID 3442, $TargetSite is BCID 3440."""

    method: Coded | None = row("3", ">", HAS_CONCEPT_MOD, CODE, METHOD, "1", U, bcid(3442))
    sites: list[MeasurementSite] = row("5", ">", HAS_CONCEPT_MOD, CODE, FINDING_SITE, "1-n", U, bcid(3440))
