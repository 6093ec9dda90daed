"""Who may add to the Medication Administration Record, as feeds say it: a projection of the event store's registry changes.

It is a part of the registry, so a decision sees every change that was acknowledged before it (contract section 3).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from plscp.matching.layers import Forkable
from plscp.matching.model import Operator
from plscp.matching.records import Json, utc_moment

Code = tuple[str, str]
"""Code Value and Coding Scheme Designator. Compared by both, never by Code Meaning."""


class Operators(Forkable):
    """What feeds have said about operators, each by its code, and the content of the operators' file as it was read last.

    What a feed says about a code goes before what the settings list: an operator who is taken out is out, whoever listed him.
    """

    def __init__(self) -> None:
        self._known: dict[Code, Operator] = {}
        self.file: tuple[Json, ...] = ()  # its rows, JSON-able

    def known(self, value: str, scheme: str) -> Operator | None:
        """What was said last about a code; None where no feed has named it."""
        return self._known.get((value, scheme))

    def all(self) -> list[Operator]:
        """Everyone whom a feed has named, in the order of first mention."""
        return list(self._known.values())

    def in_force(self, listed: Iterable[Operator], named: Iterable[Code]) -> list[Operator]:
        """What holds for the codes that a request names: what feeds have said about each, else its rows in `[operators] allowed`."""
        codes = dict.fromkeys(named)
        said = [operator for code in codes if (operator := self._known.get(code)) is not None]
        rows = ((each.value, each.scheme) for each in listed)
        return said + [
            each for each, code in zip(listed, rows, strict=True) if code in codes and code not in self._known
        ]

    def apply(self, change: Mapping[str, Any]) -> None:
        """Apply one change whose ``what`` begins with ``operator``. Raises ValueError: of a kind that this version does not know."""
        match change["what"]:
            case "operator.changed":
                operator = operator_from(change)
                self._known[operator.value, operator.scheme] = operator
            case "operator.file":
                self.file = tuple(change["content"])
            case what:
                raise ValueError(f"registry change {what!r} is not known to this version")


def operator_from(change: Mapping[str, Any]) -> Operator:
    """The reverse of `Operator.as_json`."""
    return Operator(
        value=change["value"],
        scheme=change["scheme"],
        locations=tuple(change["locations"]),
        valid_from=utc_moment(change["valid_from"]),
        valid_until=utc_moment(change["valid_until"]),
        active=change["status"] == "active",
        said_by=change["said_by"],
    )
