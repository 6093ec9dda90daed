"""plscp: the SCP of DICOM's Application Event Logging Service Class (PS3.4 Annex P)."""

__version__ = "0.1.0"
