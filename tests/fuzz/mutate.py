"""Bytes made a little wrong: what a fuzzer does to its corpus, with the words of DICOM at hand."""

import random
from collections.abc import Callable, Sequence
from typing import Final

WORDS: Final = (
    b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xff\xfe\xe0\x00", b"\xff\xfe\xe0\xdd",  # items
    b"\x40\x00\x30\xa7", b"\x00\x40\xa7\x30", b"\x40\x00\x32\xa0", b"\x08\x00\x05\x00", b"\x08\x00\x01\x02",  # elements
    b"SQ\0\0", b"UN\0\0", b"UT\0\0", b"OB\0\0", b"LO", b"DT", b"UI", b"\xff\xff\xff\xff", b"\0\0\0\0",
    b"ISO 2022 IR 87", b"ISO 2022 IR 149", b"GB18030", b"ISO_IR 192", b"\x1b$B", b"\x1b(B", b"\\", b"^", b"=",
    b"121174", b"DCM", b"HAS OBS CONTEXT", b"CONTAINS", b"CONTAINER", b"20261122101112.5+0100", b"99999999", b"-0", b"1e400",
    b"\x04\0", b"\x05\0\0\0\0\4\0\0\0\0", b"\x07\0\0\0\0\4\0\0\0\0", b"\x10\0\0\x15", b"\x20\0", b"\x40\0", b"\x50\0",
    b"\x54\0", b"\x58\0", b"\x56\0", b"\0\0\0\x01\x02\0\0\0", b"\0\0\x10\x01\x02\0\0\0", b"\0\0\0\x08\x02\0\0\0\x01\x01",
)  # fmt: skip
NUMBERS: Final = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    64,
    127,
    128,
    255,
    256,
    1000,
    32767,
    65535,
    1 << 20,
    (1 << 31) - 1,
    (1 << 32) - 1,
)
MOST: Final = 1 << 14

Step = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _flip(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)


def _byte(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    raw[dice.randrange(len(raw))] = dice.choice(
        (0, 1, 2, 3, 4, 5, 6, 7, 0x20, 0x5C, 0x7F, 0x80, 0xFF, dice.randrange(256))
    )


def _number(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    size = dice.choice((2, 4))
    at = dice.randrange(len(raw))
    order = dice.choice(("big", "little"))
    given = raw[at : at + size]
    near = int.from_bytes(given, order) + dice.randint(-4, 4)  # type: ignore[arg-type]
    wanted = dice.choice((dice.choice(NUMBERS), max(near, 0))) & (1 << 8 * size) - 1
    raw[at : at + size] = wanted.to_bytes(size, order)  # type: ignore[arg-type]


def _remove(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at = dice.randrange(len(raw))
    del raw[at : at + dice.choice((1, 2, 4, 8, dice.randint(1, len(raw))))]


def _cut(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    del raw[dice.randrange(len(raw)) :]


def _repeat(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at, to = dice.randrange(len(raw)), dice.randrange(len(raw))
    part = raw[at : at + dice.choice((1, 4, 8, 12, dice.randint(1, len(raw))))]
    raw[to:to] = part * dice.choice((1, 1, 2, 40))


def _word(dice: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    word, at = dice.choice(WORDS), dice.randrange(len(raw))
    raw[at : at + dice.choice((0, len(word)))] = word


def _splice(dice: random.Random, raw: bytearray, pool: Sequence[bytes]) -> None:
    other = dice.choice(pool)
    raw[dice.randrange(len(raw)) :] = other[dice.randrange(len(other) + 1) :]


STEPS: Final[tuple[Step, ...]] = (
    _flip,
    _byte,
    _byte,
    _number,
    _number,
    _number,
    _remove,
    _cut,
    _repeat,
    _word,
    _word,
    _splice,
)


def mutated(dice: random.Random, pool: Sequence[bytes]) -> bytes:
    """One of the pool, with one to six things wrong."""
    raw = bytearray(dice.choice(pool))
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        if not raw:
            raw += bytes([dice.randrange(256)])
        dice.choice(STEPS)(dice, raw, pool)
    return bytes(raw[:MOST])
