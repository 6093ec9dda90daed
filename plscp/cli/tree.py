"""A checked request drawn as a tree: each item with the row that it matched, each finding in its place."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from pydicom.datadict import keyword_for_tag
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from plscp.cli.explaining import Explained, concept_text, value_text
from plscp.cli.output import clean, status_style
from plscp.content.elements import shown, tag_text, undecoded
from plscp.content.model import ContentItem, RawElement
from plscp.findings import Finding
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.templates.attributes import PROCEDURAL, SUBSTANCE
from plscp.templates.rows import CONTAINS

MISSING: Final = "missing-row"
LONGEST: Final = 80
"""Characters of a value that are shown."""


def draw(out: Console, made: Explained, name: str, *, fold: bool) -> None:
    """Prints the tree, then the answer: on a terminal that is where one looks.

    Args:
        fold: draw neighbouring entries without a finding as one line.
    """
    what = "Procedural Event" if made.sop_class == PROCEDURAL_EVENT_LOGGING else "Substance Administration"
    tree = Tree(Text(f"{clean(name)}: {what}", style="bold"), guide_style="dim")
    _Drawing(made, fold=fold).into(tree)
    out.print(tree)
    refusing = sum(finding.refuse for finding in made.findings)
    code = f"{made.status.code:04X}"
    said = Text(f"{code} {made.status.name}", style=f"bold {status_style(code)}")
    if made.comment:
        said.append(f": {made.comment}" if made.status.comment else f", without a comment: {made.comment}")
    said.append(f"\n{refusing} refuse it, {len(made.findings) - refusing} are noted", style="not bold default")
    if made.status.performed:
        said.append("; whether a study or patient is found for it only a server can tell: plscp match", "not bold")
    out.print(said)


class _Drawing:
    """Findings sorted by where they belong, and the items that they are drawn into."""

    def __init__(self, made: Explained, *, fold: bool) -> None:
        self.made = made
        self.fold = fold
        self.at: dict[str, list[Finding]] = {}
        """By the path of an item that is there, or by a tag."""
        self.gaps: dict[tuple[str, int], list[Finding]] = {}
        """Rows without an item: by the parent's path and the position where it should stand."""
        for finding in made.findings:
            if finding.code == MISSING and finding.path:
                parent, _, position = finding.path.rpartition(".")
                self.gaps.setdefault((self._there(parent), int(position)), []).append(finding)
            else:
                self.at.setdefault(self._there(finding.path), []).append(finding)
        self.noticed = {path.partition(".")[0] for path in (*self.at, *(parent for parent, _ in self.gaps))}
        """The first steps of all these paths."""

    def _there(self, path: str) -> str:
        """The path, or where it leads to nothing that of the last item on its way."""
        item, way = self.made.root, list[str]()
        if item is None or not path[:1].isdigit():
            return path
        for step in path.split("."):
            if not 1 <= int(step) <= len(item.children):
                break
            item = item.children[int(step) - 1]
            way.append(step)
        return ".".join(way)

    def into(self, tree: Tree) -> None:
        root = self.made.root
        if self.made.decoded is not None:
            elements = self.made.decoded.root.elements
            named = {attribute.tag for attribute in (PROCEDURAL if root is not None else SUBSTANCE)}
            given = {tag for tag in named if tag in elements or tag_text(tag) in self.at}
            for tag in sorted(given if root is not None else given.union(elements)):
                self._attribute(tree, tag, elements.get(tag))
        for path, findings in self.at.items():
            if path.startswith("(") or (root is None and path):
                self._findings(tree.add(Text(path, style="dim")), findings)
        below = tree if root is None else tree.add(Text(f"CONTAINER {clean(concept_text(root.concept))}"))
        self._findings(below, self.at.get("", []))
        if root is not None:
            self._children(below, root, "")

    def _attribute(self, tree: Tree, tag: int, element: RawElement | None) -> None:
        text = Text(f"{tag_text(tag)} ", style="dim")
        text.append(keyword_for_tag(tag) or "private", style="not dim")
        if element is None:
            text.append(" absent")
        elif isinstance(element.value, str) or undecoded(element):
            text.append(f" = {_brief(shown(element))}", style="not dim")
        else:
            what = "items" if isinstance(element.value, list) else "bytes"
            text.append(f" ({element.vr}, {what}: {len(element.value)})")
        self._findings(tree.add(text), self.at.pop(tag_text(tag), []))

    def _children(self, tree: Tree, item: ContentItem, path: str) -> None:
        for clear, some in groupby(enumerate(item.children, 1), lambda pair: self._folds(path, *pair)):
            each = list(some)
            if clear and len(each) > 1:
                first, last = each[0][0], each[-1][0]
                tree.add(Text(f"{first} to {last}: {len(each)} entries without a finding", style="dim"))
                continue
            for position, child in each:
                self._findings(tree, self.gaps.get((path, position), []))
                where = f"{path}.{position}".lstrip(".")
                node = tree.add(self._line(child, where))
                self._findings(node, self.at.get(where, []))
                if not clear:
                    self._children(node, child, where)
        for parent, position in sorted(self.gaps):
            if parent == path and position > len(item.children):
                self._findings(tree, self.gaps[parent, position])

    def _folds(self, parent: str, position: int, item: ContentItem) -> bool:
        noticed = str(position) in self.noticed or ("", position) in self.gaps
        return self.fold and not parent and item.relationship == CONTAINS and not noticed

    def _line(self, item: ContentItem, path: str) -> Text:
        row = self.made.rows.get(path)
        text = Text(f"{path} ", style="dim")
        text.append(f"{clean(item.relationship)} {clean(item.value_type)} ", style="not dim cyan")
        text.append(clean(concept_text(item.concept)), style="not dim bold")
        if item.value is not None:
            text.append(f" = {_brief(value_text(item.value))}", style="not dim")
        if item.observation_datetime:
            text.append(f" at {clean(item.observation_datetime)}")
        if row is None:
            return text.append("  [no row]", style="not dim yellow")
        return text.append(f"  [{f'{row} {row.kind}'.rstrip()}]", style="not dim green")

    def _findings(self, tree: Tree, findings: Sequence[Finding]) -> None:
        for finding in findings:
            word, style = ("refused", "red") if finding.refuse else ("noted", "yellow")
            row = f"{finding.template} r{finding.row}" if finding.row else finding.template
            text = Text(f"{word}: ", style=f"bold {style}")
            text.append(f"{row} {clean(finding.reason)}".lstrip(), style=style)
            if expected := self.made.expected(finding):
                text.append(f"\nthe row: {expected}", style="not bold default")
            tree.add(text)


def _brief(value: str) -> str:
    shown = clean(value)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}... ({len(shown)} characters)"
