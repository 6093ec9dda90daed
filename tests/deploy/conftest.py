"""The chart under the real Helm."""

from pathlib import Path

import pytest

from plscp.errors import CommandError
from tests.deploy.helm import Helm, program


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """Helm, or a skip that says why there is none."""
    try:
        return Helm(program(), tmp_path)
    except CommandError as error:
        pytest.skip(str(error))
