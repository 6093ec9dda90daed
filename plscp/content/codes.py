"""Coded concepts: context groups, retired SNOMED spellings, and what a code is known as (PS3.16 section 6, 8.1, Annex O).

Members, meanings and the mapping come from pydicom's tables of PS3.16; nothing is copied here.
"""

from functools import cache
from typing import Final, NamedTuple

from pydicom.sr._snomed_dict import mapping as _snomed
from pydicom.sr.codedict import Collection, codes

from plscp.content.model import Code

Key = tuple[str, str]
"""Code value and coding scheme designator: what makes two codes the same (PS3.16 6.1.8)."""

RETIRED_SNOMED: Final = frozenset({"SRT", "SNM3", "99SDM"})
"""Coding scheme designators under which SNOMED codes were sent before SCT (PS3.16 8.1)."""

_TO_SCT: Final[dict[str, str]] = _snomed["SRT"]


class CurrentCode(NamedTuple):
    """A code under its current spelling.

    Attributes:
        key: value and scheme to compare with.
        meaning: Code Meaning in PS3.16, or empty where PS3.16 does not use the code.
        retired: whether `key` is not what was sent.
    """

    key: Key
    meaning: str
    retired: bool


@cache
def group(cid: int) -> frozenset[Key]:
    """The members of a context group, its included groups' as well; AttributeError where pydicom knows no such group."""
    return frozenset((c.value, c.scheme_designator) for c in Collection(f"CID{cid}").concepts.values())


_MEANINGS: Final[dict[Key, str]] = {
    (concept.value, concept.scheme_designator): concept.meaning
    for scheme in codes.schemes()
    for concept in Collection(scheme).concepts.values()
}
"""11,000 concepts, read at start rather than with the first request."""


def meaning_of(key: Key) -> str:
    """Code Meaning that PS3.16 gives a code, or empty."""
    return _MEANINGS.get(key, "")


def known(code: Code) -> CurrentCode:
    """What a code is compared as: SRT, SNM3 and 99SDM values become the SCT concept of PS3.16 Annex O."""
    key, retired = (code.value, code.scheme), False
    if code.scheme in RETIRED_SNOMED and code.value in _TO_SCT:
        key, retired = (_TO_SCT[code.value], "SCT"), True
    return CurrentCode(key, _MEANINGS.get(key, ""), retired)
