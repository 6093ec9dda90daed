"""Runs targets: the corpus first, then what is made of it; keeps what behaves in a way not seen before."""

import hashlib
import random
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import SLOW, Defect, Outcome, run

CORPUS: Final = Path(__file__).parent / "corpus"
MOST_KEPT: Final = 5000
GROWTH: Final = 150
"""MB that the process may grow by while it fuzzes: caches have bounds, and so has what is kept here."""


def corpus(target: str) -> list[bytes]:
    """The inputs that are checked in: seeds first, then what was once found."""
    files = sorted((CORPUS / target).glob("*.bin"), key=lambda file: (file.name.startswith("found-"), file.name))
    return [file.read_bytes() for file in files]


def memory() -> float:
    """Most that this process had in memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Fuzzer:
    """One target.

    Args:
        slow: seconds of its own time that an input may take.

    Attributes:
        done: how many inputs were run.
        seen: what became of them, each thing once.
        defects: inputs to errors, one for each place where an error came from.
    """

    def __init__(self, target: str, seed: int, slow: float = SLOW) -> None:
        self.target = target
        self._slow = slow
        self.done = 0
        self.seen: set[object] = set()
        self.defects: dict[bytes, Exception] = {}
        self._dice = random.Random(f"{seed} {target}")
        self._places: set[str] = set()
        self._pool: list[bytes] = []
        for raw in corpus(target):
            self._pool.append(raw)
            self.one(raw)

    def one(self, raw: bytes) -> None:
        """Run an input, and keep it if it is news."""
        outcome = run(self.target, raw, self._slow)
        self.done += 1
        if outcome.error is not None:
            place = _place(outcome)
            if place not in self._places:
                self._places.add(place)
                self.defects[self._smaller(raw, place)] = outcome.error
        elif outcome.what not in self.seen and len(self._pool) < MOST_KEPT:
            self.seen.add(outcome.what)
            self._pool.append(raw)

    def some(self, seconds: float) -> None:
        """Go on for so long."""
        until = time.monotonic() + seconds
        self._while(lambda: time.monotonic() < until)

    def so_many(self, inputs: int) -> None:
        """Go on for so many inputs: they are the same ones each time."""
        until = self.done + inputs
        self._while(lambda: self.done < until)

    def _while(self, going: Callable[[], bool]) -> None:
        before = memory()
        while going():
            self.one(mutated(self._dice, self._pool))
        if memory() - before > GROWTH:
            self.defects[b""] = Defect(f"grew by {memory() - before:.0f} MB")

    def _smaller(self, raw: bytes, place: str) -> bytes:
        """The same defect in fewer bytes, as far as a second's looking finds them."""
        until = time.monotonic() + 1.0
        size = len(raw) // 2
        while size and time.monotonic() < until:
            at = 0
            while at < len(raw) and time.monotonic() < until:
                less = raw[:at] + raw[at + size :]
                if _place(run(self.target, less, self._slow)) == place:
                    raw = less
                else:
                    at += size
            size //= 2
        return raw


def _place(outcome: Outcome) -> str:
    """Where an error came from: what makes two of them one."""
    error = outcome.error
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    words = str(error).split()[:3] if isinstance(error, Defect) else []
    return " ".join([type(error).__name__, *words, *[f"{frame.filename}:{frame.lineno}" for frame in frames[-2:]]])


def report(fuzzer: Fuzzer, folder: Path, say: Callable[[str], None]) -> None:
    """Write what was found: the bytes, and what to do with them."""
    for raw, error in fuzzer.defects.items():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"found-{hashlib.sha256(raw).hexdigest()[:12]}.bin"
        file.write_bytes(raw)
        say("".join(traceback.format_exception(error)))
        say(f"{fuzzer.target}: {len(raw)} bytes in {file}; mended, it goes to {CORPUS / fuzzer.target}")
