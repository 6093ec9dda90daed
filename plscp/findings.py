"""What plscp noticed about a request: in a refusal, a finding is the reason; otherwise it travels with the entry."""

from typing import Any, Final, NamedTuple

LONGEST_PATH: Final = 24
"""Characters of a path in an Error Comment: a deeply nested item leaves room for what is wrong."""


class Finding(NamedTuple):
    """One observation about a request, never holding text or identifiers that a device sent in `reason`.

    Attributes:
        code: kebab-case name from a closed list, e.g. ``missing-row``, ``study-not-started``.
        reason: one printable ASCII line that says what is wrong and how it should look.
        path: where: content item positions, 1-based, from the root (``3.2`` is the second child of the third
            first-level item; empty is the root), or an attribute tag such as ``(0020,000D)``.
        template: ``TID3108``, ``A.35.7.3``, ``C.17.3``, or empty.
        row: row of that template's table, as in the standard, or empty.
        refuse: True where this finding alone is enough to refuse the request.
    """

    code: str
    reason: str
    path: str = ""
    template: str = ""
    row: str = ""
    refuse: bool = False

    def as_json(self) -> dict[str, Any]:
        """The finding as published: members without a value are left out."""
        return {name: value for name, value in self._asdict().items() if value not in ("", False)}

    def comment(self, more: int = 0) -> str:
        """The finding as an Error Comment (0000,0902): reason first, then place, then how many more; 64 characters at most."""
        head = f"{self.template} " if self.template else ""
        if head and self.row:
            head += f"r{self.row} "
        path = self.path if len(self.path) <= LONGEST_PATH else f"{self.path[: LONGEST_PATH - 3]}..."
        tail = (f" at {path}" if path else "") + (f" (+{more})" if more else "")
        room = 64 - len(head) - len(tail)
        return head + self.reason[: max(room, 0)] + tail
