"""Collects findings about the content of one request, up to a bound."""

from typing import Final

from plscp.findings import Finding

MOST: Final = 200
"""More are not told: a request of 20,000 faulty items says enough with these."""


class Report:
    """Findings in the order in which they were made.

    Attributes:
        strict: refuse also what a lenient device profile lets pass.
        template: where the rule stands, unless a finding says otherwise.
        count: findings made, told or not.
    """

    __slots__ = ("count", "findings", "strict", "template")

    def __init__(self, findings: list[Finding], *, strict: bool, template: str = "C.17.3") -> None:
        self.findings = findings
        self.strict = strict
        self.template = template
        self.count = 0

    def refuse(self, code: str, reason: str, path: str, template: str | None = None) -> None:
        """What no profile lets pass."""
        self._add(Finding(code, reason, path, self.template if template is None else template, refuse=True))

    def lenient(self, code: str, reason: str, path: str, template: str | None = None) -> None:
        """What only a strict profile refuses."""
        self._add(Finding(code, reason, path, self.template if template is None else template, refuse=self.strict))

    def note(self, code: str, reason: str, path: str, template: str | None = None) -> None:
        """What is never refused."""
        self._add(Finding(code, reason, path, self.template if template is None else template))

    def undecoded(self, path: str) -> None:
        """Text outside identifiers that does not decode."""
        self.lenient("text-undecodable", "text does not decode by its character set", path, "")

    def _add(self, finding: Finding) -> None:
        self.count += 1
        if len(self.findings) < MOST or (finding.refuse and not any(f.refuse for f in self.findings)):
            self.findings.append(finding)
