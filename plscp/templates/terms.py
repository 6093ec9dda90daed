"""Concepts that several templates name."""

from typing import Final

from plscp.templates.rows import dcm, sct

PROCEDURE_SITE: Final = sct("363704007", "Procedure site")
TOPOGRAPHICAL_MODIFIER: Final = sct("106233006", "Topographical modifier")
FINDING_SITE: Final = sct("363698007", "Finding Site")
HAS_INTENT: Final = sct("363703001", "Has Intent")
SPECIMEN_TYPE: Final = sct("371439000", "Specimen Type")
MATERIAL: Final = dcm("121145", "Description of Material")
MODALITY: Final = dcm("121139", "Modality")
ACTION_ITEM: Final = dcm("121124", "Procedure Action Item ID")
LESION: Final = dcm("121151", "Lesion Identifier")
STATUS_OR_EVENT: Final = dcm("121123", "Patient Status or Event")
