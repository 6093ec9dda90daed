"""`plscp conformance`: the DICOM conformance statement."""

import os

from plscp import config as settings_room
from plscp.cli.client import Config
from plscp.reference.conformance import statement


def conformance(config: Config = None) -> None:
    """Print the DICOM conformance statement, in Markdown; with --config that of a server with these settings."""
    print(statement(settings_room.load(config, os.environ) if config else None), end="")
