"""Fixtures of the matching tests."""

import pytest

from tests.matching.world import World


@pytest.fixture
def world() -> World:
    """An empty registry with two labs."""
    return World()
