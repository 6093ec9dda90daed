"""plscp: the SCP of DICOM's Application Event Logging Service Class (PS3.4 Annex P)."""

from importlib.metadata import version

__version__ = version(__name__)
"""Of the package that is installed: pyproject.toml is the one place that says it."""
