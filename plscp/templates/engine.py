"""The engine: matches the children of a content item to the rows of a template, and writes the typed JSON (PS3.16 section 6).

One pass does both. Findings have the item's position, the template and the row; what was not described by a row is
kept whole under ``other``.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from plscp.content.model import Code, ContentItem, Numeric, Reference
from plscp.findings import Finding
from plscp.templates.fragments import amount_members, extras, quoted, reference_members, whole
from plscp.templates.plans import Hit, Node, Plan, Problem, Scope, Slot

LAST: Final = 1 << 20
"""Stands for the slot of items that no row describes: they are listed last."""

Placed = tuple[int, ContentItem]
"""A child item with its 1-based position among all children of its parent."""


class Report:
    """Findings about one entry, or about the root's context.

    Attributes:
        strict: refuse also what a lenient device profile lets pass.
    """

    __slots__ = ("findings", "strict")

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.findings: list[Finding] = []

    def add(self, problem: Problem, path: str, slot: Slot | None = None) -> None:
        """Notes a problem at a place; `slot` gives template and row where the problem does not name them."""
        head = problem.head or (slot.head if slot else None)
        row = problem.row or (slot.row if slot else None)
        self.findings.append(
            Finding(
                problem.code, problem.reason, path, head.tid if head and head.identifier else "",
                row.number if row else "", problem.refuse or (problem.strict and self.strict),
            )
        )  # fmt: skip


class Matched:
    """The children of one item, sorted into rows.

    Attributes:
        fragments: for each slot the JSON of its items, comma between them, or None.
        other: JSON of the items that no row describes.
        canonical: positions in the order in which the typed object lists them.
    """

    __slots__ = ("canonical", "fragments", "other", "sorted")

    def __init__(self, size: int) -> None:
        self.fragments: list[str | None] = [None] * size
        self.other: list[str] = []
        self.canonical: list[int] = []
        self.sorted = True


def match(plan: Plan, items: Iterable[Placed], parent: ContentItem | None, base: str, report: Report) -> Matched:
    """Sorts child items into the rows of a template and reports what is wrong.

    Args:
        plan: the template.
        items: the children, each with its position.
        parent: the item above them, for conditions; None for the root's context and for repeated inclusions.
        base: path of the parent with a full stop after it, or empty for the root.
        report: takes the findings.
    """
    slots, hits = plan.slots, plan.hits
    out = Matched(len(slots))
    fragments = out.fragments
    placed: list[tuple[int, Placed]] = []
    groups: dict[int, list[Placed]] | None = None
    last = -1
    for pair in items:
        position, child = pair
        concept = child.concept
        try:
            hit = hits.get((concept, child.relationship, child.value_type))
        except TypeError:  # a code with further elements may hold lists
            hit = None
        if hit is None:
            hit = plan.find(concept, child.relationship, child.value_type)
        if hit.problems:
            for problem in hit.problems:
                report.add(problem, f"{base}{position}", slots[hit.slots[0]] if hit.slots else None)
        where, full = LAST, None
        for turn, index in enumerate(hit.slots):
            slot = slots[index]
            if slot.gate is not None and not slot.gate([item for _, (_, item) in placed]):
                continue
            full = slot
            if slot.shape == "group":
                groups = groups if groups is not None else {}
                groups.setdefault(index, []).append(pair)
                where = index
                break
            now = fragments[index]
            if now is not None and not slot.many:
                continue
            members = _typed(slot, child, base, position, report)
            if members:
                text = f"{{{members}{hit.concept[turn]}}}"
                fragments[index] = f"{now},{text}" if now else text
                where = index
            else:
                # The value is missing or of another kind: C.17.3 refuses it; it fills its row so that this is said once.
                fragments[index] = now or ""
            break
        else:
            if full is not None:
                reason = f"more than one {_named(full)}"
                report.add(Problem("too-many", reason, full.refuses("concept", "vm")), f"{base}{position}", full)
        if where == LAST:
            out.other.append(whole(child))
        placed.append((where, pair))
        if where < last:
            out.sorted = False
        last = where
    if groups:
        out.canonical = _groups(plan, groups, placed, out, base=base, report=report)
        out.sorted = out.sorted and out.canonical == sorted(out.canonical)
    elif out.sorted:
        out.canonical = [position for _, (position, _) in placed]
    else:
        out.canonical = [position for _, (position, _) in sorted(placed, key=_slot_of)]
    if not out.sorted and plan.head.ordered:
        _row_order(plan, placed, base, report)
    for scope in plan.scopes:
        _complete(plan, scope, out, placed, parent, base=base, report=report)
    return out


def _slot_of(placed: tuple[int, Placed]) -> int:
    return placed[0]


def _typed(slot: Slot, item: ContentItem, base: str, position: int, report: Report) -> str:
    """The members of a typed item, or empty where its value is not of the row's kind."""
    value = item.value
    shape = slot.shape
    if shape == "code":
        if type(value) is not Code:
            return ""
        members, problem = slot.coded(value)
        if problem is not None:
            report.add(problem, f"{base}{position}", slot)
    elif shape == "quantity":
        if type(value) is not Numeric:
            return ""
        units = value.units
        if units is None:
            members = amount_members(value)
        else:
            unit, problem = slot.coded(units)
            if problem is not None:
                report.add(problem, f"{base}{position}", slot)
            members = amount_members(value, unit)
    elif shape == "text":
        if type(value) is not str:
            return ""
        members = f'"text":{quoted(value)}'
    else:
        if type(value) is not Reference:
            return ""
        members = reference_members(value)
    if item.children or slot.child.slots:
        members += children(slot.child, item, f"{base}{position}.", report)
    if item.observation_datetime or item.observation_uid or item.other or item.template:
        members += extras(item)
    return members


def children(plan: Plan, item: ContentItem, base: str, report: Report) -> str:
    """The JSON members for an item's children, each with a comma before it: rows, then ``other``, then ``order``."""
    if plan.idle and not item.children:
        return ""
    out = match(plan, enumerate(item.children, 1), item, base, report)
    parts = render(plan.nodes, plan.slots, out.fragments)
    if out.other:
        parts.append(f'"other":[{",".join(out.other)}]')
    if not out.sorted:
        parts.append(f'"order":{list(out.canonical)}'.replace(" ", ""))
    return "," + ",".join(parts) if parts else ""


def render(nodes: Sequence[Node], slots: Sequence[Slot], fragments: Sequence[str | None]) -> list[str]:
    """The JSON members of the rows that have items."""
    parts = []
    for node in nodes:
        if type(node) is int:
            text = fragments[node]
            if text:
                slot = slots[node]
                parts.append(slot.opening + text + slot.closing)
        else:
            name, first, end, inner = node  # type: ignore[misc]  # an included template
            if any(fragments[first:end]):
                parts.append(f'"{name}":{{{",".join(render(inner, slots, fragments))}}}')
    return parts


def _named(slot: Slot) -> str:
    """How a finding names a row's concept."""
    return slot.canonical.value if slot.canonical else str(slot.row.concept or slot.row.value_type)


def _decides(slot: Slot) -> bool:
    """Whether a row that is missing, or there against its condition, may refuse."""
    return slot.refuses("concept", "req") and not (slot.row.when and slot.row.when.inferred)


def _row_order(plan: Plan, placed: Sequence[tuple[int, Placed]], base: str, report: Report) -> None:
    before: tuple[int, ...] = ()
    for index, (position, _) in placed:
        if index == LAST:
            continue
        slot = plan.slots[index]
        if slot.ordinal < before:
            report.add(
                Problem("row-order", "item after its place in the table", strict=slot.refuses()),
                f"{base}{position}",
                slot,
            )
            return
        before = slot.ordinal


def _complete(
    plan: Plan,
    scope: Scope,
    out: Matched,
    placed: Sequence[tuple[int, Placed]],
    parent: ContentItem | None,
    *,
    base: str,
    report: Report,
) -> None:
    """M rows, and MC and UC rows whose condition can be told (PS3.16 6.1.7)."""
    fragments = out.fragments
    if scope.row is not None:
        used = fragments[scope.first : scope.end].count(None) < scope.end - scope.first
        when = scope.row.when
        if not used and scope.idle:
            return
        truth = when.judge(parent, [item for _, (_, item) in placed]) if when and when.judge else None
        if not used and not (truth and scope.row.req == "MC"):
            return  # the rows of an absent optional inclusion are not required (PS3.16 6.2.2)
        if used and truth is False and when and when.kind != "IF":
            _unexpected(plan, range(scope.first, scope.end), placed, base, report)
            return
    for index in scope.required:
        if fragments[index] is None:
            _missing(plan, index, placed, base, report)
    for index in scope.conditional:
        slot = plan.slots[index]
        when = slot.row.when
        truth = when.judge(parent, [item for _, (_, item) in placed]) if when and when.judge else None
        if truth and slot.row.req == "MC" and fragments[index] is None:
            _missing(plan, index, placed, base, report)
        if truth is False and when and when.kind != "IF" and fragments[index] is not None:
            _unexpected(plan, range(index, index + 1), placed, base, report)


def _missing(plan: Plan, index: int, placed: Sequence[tuple[int, Placed]], base: str, report: Report) -> None:
    """Says that a row has no item; the path is where it should stand, after the items of the rows before it."""
    slot = plan.slots[index]
    before = [position for where, (position, _) in placed if where < index]
    start = min((position for _, (position, _) in placed), default=1)
    report.add(
        Problem("missing-row", f"missing {_named(slot)}", _decides(slot)),
        f"{base}{max(before) + 1 if before else start}",
        slot,
    )


def _unexpected(plan: Plan, which: range, placed: Sequence[tuple[int, Placed]], base: str, report: Report) -> None:
    for index, (position, _) in placed:
        if index in which:
            slot = plan.slots[index]
            report.add(
                Problem("unexpected-row", f"{_named(slot)} against its condition", _decides(slot)),
                f"{base}{position}",
                slot,
            )


def _groups(
    plan: Plan,
    groups: dict[int, list[Placed]],
    placed: Sequence[tuple[int, Placed]],
    out: Matched,
    *,
    base: str,
    report: Report,
) -> list[int]:
    """Matches included templates that may repeat; the positions in the order in which everything is listed."""
    listed: dict[int, list[int]] = {}
    for index, members in groups.items():
        inner = plan.slots[index].child
        texts = []
        for one in repetitions(inner, members):
            matched = match(inner, one, None, base, report)
            parts = render(inner.nodes, inner.slots, matched.fragments)
            if matched.other:
                parts.append(f'"other":[{",".join(matched.other)}]')
            texts.append(f"{{{','.join(parts)}}}")
            listed.setdefault(index, []).extend(matched.canonical)
        out.fragments[index] = ",".join(texts)
    for index, (position, _) in sorted(placed, key=_slot_of):
        if index not in groups:
            listed.setdefault(index, []).append(position)
    return [position for index in sorted(listed) for position in listed[index]]


def repetitions(plan: Plan, items: Sequence[Placed]) -> list[list[Placed]]:
    """Cuts items into inclusions: a new one starts with the template's first row, or when an item no longer fits."""
    found: list[list[Placed]] = []
    filled: set[int] = set()
    alternatives = [s for s in plan.scopes if s.row is not None and s.row.when and s.row.when.kind == "IFF"]
    for pair in items:
        item = pair[1]
        hit: Hit = plan.find(item.concept, item.relationship, item.value_type)
        free = [i for i in hit.slots if i not in filled or plan.slots[i].many]
        of = {id(s) for s in alternatives for i in hit.slots if s.first <= i < s.end}
        taken = {id(s) for s in alternatives for i in filled if s.first <= i < s.end}
        if not found or not free or free[0] == 0 or (of and taken and of != taken):
            found.append([])
            filled = set()
            free = list(hit.slots)
        found[-1].append(pair)
        filled.update(free[:1])
    return found
