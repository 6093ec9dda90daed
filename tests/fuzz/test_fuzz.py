"""The corpus, and a few seconds of what `make fuzz` does for minutes."""

import random
import traceback

import pytest

from tests.fuzz.running import CORPUS, Fuzzer, corpus
from tests.fuzz.targets import TARGETS

SECONDS = 0.7


@pytest.mark.parametrize("seed", [1, random.SystemRandom().randrange(1 << 32)], ids=["fixed", "random"])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_a_peer_sends_does_harm(target: str, seed: int) -> None:
    """The corpus and what is made of it: no exception, no inner contradiction, no second of work, however bytes are cut."""
    fuzzer = Fuzzer(target, seed)
    fuzzer.some(SECONDS)
    for raw, error in fuzzer.defects.items():
        traceback.print_exception(error)
        print(f"seed {seed}: {raw!r}")
    assert not fuzzer.defects
    assert fuzzer.done > len(corpus(target))


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    """No file of the corpus is forgotten."""
    assert {folder.name for folder in CORPUS.iterdir() if folder.is_dir()} == TARGETS.keys()
    assert all(len(corpus(target)) >= 6 for target in TARGETS)
