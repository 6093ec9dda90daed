"""What tests with clients of kafka-python need."""

import gc
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def leaking(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """For tests that ignore unclosed sockets: those go within the test; the library's log would hold them longer.

    kafka-python leaves a socket to the garbage collector where nobody listens at the other end, and now and then one that
    was being connected when its client was closed.
    """
    caplog.set_level(logging.CRITICAL + 1, "kafka")
    yield
    gc.collect()
