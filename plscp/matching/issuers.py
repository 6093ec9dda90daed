"""Authorities that give out IDs: `[issuers]` brings the ways to write one of them to one spelling (contracts section 3)."""

from collections.abc import Iterable, Mapping


class Issuers:
    """`[issuers]`: the other spellings of each authority, such as its OID or what an older feed calls it.

    Spelling happens when requests and feeds come in and when identifiers are compared: what is stored stays as it was written.

    Args:
        names: by the spelling that is used, the authority's other ones.

    Raises:
        ValueError: one spelling stands for two authorities.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        self._names: dict[str, str] = {}
        for name, others in (names or {}).items():
            for spelling in (name, *others):
                known = self._names.setdefault(spelling.strip(" "), name.strip(" "))
                if known != name.strip(" "):
                    raise ValueError(f"issuer {spelling!r} stands in both {known} and {name}")

    def spell(self, issuer: str) -> str:
        """The one spelling of an authority; an authority that is not listed is spelled as it is."""
        return self._names.get(issuer, issuer)

    def lists(self, issuer: str) -> bool:
        """Whether an authority is listed, by any of its spellings."""
        return issuer in self._names
