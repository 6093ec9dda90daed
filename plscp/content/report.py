"""Collects findings about the content of one request."""

from typing import Final

from plscp.findings import Finding

MOST: Final = 200
"""More are not told: a request of 20,000 faulty items says enough with these."""


class Report(list[Finding]):
    """Findings about content items in the order in which they are told.

    Attributes:
        path: positions from the root to the item that is judged; changes as the reader goes on.
        undecoded: whether any text that was read does not decode.
    """

    def __init__(self, path: list[int] | None = None) -> None:
        super().__init__()
        self.path = [] if path is None else path
        self.undecoded = False

    def refuse(self, code: str, reason: str, template: str = "C.17.3") -> None:
        """What no profile lets pass."""
        self.append(Finding(code, reason, ".".join(map(str, self.path)), template, refuse=True))

    def note(self, code: str, reason: str, template: str = "C.17.3") -> None:
        """What no profile refuses."""
        self.append(Finding(code, reason, ".".join(map(str, self.path)), template))

    def lenient(self, code: str, reason: str, template: str = "C.17.3") -> None:
        """What a lenient profile lets pass; `plscp.content.reader.content_tree` refuses it for a strict one."""
        self.note(code, reason, template)


def tell(finding: Finding, findings: list[Finding]) -> None:
    """Adds a finding up to the bound; past it only the first that refuses."""
    if len(findings) < MOST or (finding.refuse and not any(f.refuse for f in findings)):
        findings.append(finding)
