"""The engine: matches the children of a content item to the rows of a template (PS3.16 section 6).

A match says which child fills which row, and has the members of the typed object; findings have the item's position, the
template and the row. From it come the typed object and what `plscp explain` shows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from plscp.content.model import ContentItem
from plscp.findings import Finding
from plscp.templates.compiled import Candidates, CompiledRow, CompiledTemplate, RowFinding
from plscp.templates.rows import Condition, Judge
from plscp.templates.values import Extras, code_of, value_of, whole, whole_item, with_extras

LAST: Final = 1 << 20
"""Stands for the row of items that no row describes: they are listed last."""
LAYOUTS, LONGEST_LAYOUT_ITEMS = 4096, 32
"""Remembered layouts, and items of one: devices send the same rows again and again."""
NOT_VALID: Final = "not-valid-by-class"
"""Code of a finding that is a defect of plscp."""
MOST_CHARACTERS: Final = 200
"""Of the members that such a finding names."""


class TemplateMatch(NamedTuple):
    """The children of one item, matched to the rows of a template.

    Attributes:
        rows: that each fills, or None.
        below: the match of each one's own children, where there are any or any is missing.
        repeated: by the index of each row that includes a template which may repeat, a match for each repetition.
        members: what the template's class validates.
        order: positions in the order in which the typed object lists the children, or None where that is the order sent.
    """

    items: Sequence[ContentItem]
    positions: Sequence[int]
    rows: Sequence[CompiledRow | None]
    below: "dict[int, TemplateMatch]"
    repeated: "dict[int, list[TemplateMatch]]"
    members: dict[str, Any]
    order: list[int] | None

    @property
    def listed(self) -> list[int]:
        """Positions in the order in which the typed object lists the children."""
        return self.order if self.order is not None else list(self.positions)


class Fault(NamedTuple):
    """What is wrong with the item at an index, or with what should stand after it, if the answers to all conditions are these."""

    finding: RowFinding
    at: int
    after: bool = False
    conditions: tuple[tuple[Judge, tuple[bool | None, ...]], ...] = ()


class Layout(NamedTuple):
    """Which rows items fill, as far as it can be told from what they are, without their values.

    Attributes:
        rows: of each item, or None; `listed`: the row's index where it decides the order, else `LAST`.
        surplus: what is wrong with an item of a row that takes no more.
        order: indices in the order in which the typed object lists the items, repetitions aside; None where that is as sent.
        repeated: for each row that includes a template which may repeat, the indices of each repetition's items.
        faults: what is missing, out of order, or there against a condition.
    """

    rows: list[CompiledRow | None]
    listed: list[int]
    surplus: dict[int, RowFinding]
    order: list[int] | None
    repeated: dict[int, list[list[int]]]
    faults: list[Fault]


_layouts: Final[dict[tuple[object, ...], Layout]] = {}
"""By template and candidates: their number does not grow with codes, but with the orders in which devices send rows."""


def match(
    template: CompiledTemplate,
    items: Sequence[ContentItem],
    base: str,
    findings: list[Finding],
    *,
    strict: bool,
    parent: ContentItem | None = None,
    positions: Sequence[int] = (),
) -> TemplateMatch:
    """Matches child items to the rows of a template and notes what is wrong.

    Args:
        base: path of the parent with a full stop after it, or empty for the root.
        findings: takes what is found.
        parent: the item above them, for conditions; None for the root's context and for repeated inclusions.
        positions: of the items among all children of their parent, where they are not all of them.
    """
    found: list[Candidates] = []
    noted: dict[int, tuple[RowFinding, ...]] = {}
    unfit: list[int] = []
    for at, item in enumerate(items):
        concept = item.concept
        key = (item.relationship, item.value_type, concept.value, concept.scheme) if concept is not None else None
        fits = template.exact.get(key)
        if fits is None:
            fits, about = template.candidates(item)
            if about:
                noted[at] = about
        if fits.gated:
            fits = template.opened(fits, items[:at])
        if fits.rows and type(item.value) is not fits.holds:
            unfit.append(at)
        found.append(fits)
    layout = _layout(template, found, unfit)
    positions = positions or range(1, len(items) + 1)
    members: dict[str, Any] = {}
    below: dict[int, TemplateMatch] = {}
    other = []
    for at, (item, row) in enumerate(zip(items, layout.rows, strict=True)):
        if at in noted:
            findings += [one.at(f"{base}{positions[at]}", strict=strict) for one in noted[at]]
        if row is None:
            if at in layout.surplus:
                findings.append(layout.surplus[at].at(f"{base}{positions[at]}", strict=strict))
            other.append(whole(item))
        elif row.holds is None:
            pass  # it is in a repetition
        elif at in unfit:
            # The value is missing or of another kind, which C.17.3 refuses: of what is below it nothing is said.
            other.append(whole(item))
            if item.children:
                below[at] = match(row.below, item.children, "", [], strict=strict, parent=item)
        else:
            member, wrong = row.member(item)
            if wrong is not None:
                findings.append(wrong.at(f"{base}{positions[at]}", strict=strict))
            if item.children or not row.below.idle:
                path = f"{base}{positions[at]}."
                below[at] = inner = match(row.below, item.children, path, findings, strict=strict, parent=item)
                member.update(inner.members)
            _put(members, row, member)
    repeated: dict[int, list[TemplateMatch]] = {}
    for index, repetitions in layout.repeated.items():
        row = template.rows[index]
        for some in repetitions:
            these, where = [items[at] for at in some], [positions[at] for at in some]
            inner = match(row.below, these, base, findings, strict=strict, positions=where)
            inner.members.pop("order", None)  # the order of siblings is said once, by their parent
            _put(members, row, inner.members)
            repeated.setdefault(index, []).append(inner)
    for finding, at, after, conditions in layout.faults:
        for judge, answers in conditions:
            if judge(parent, items) not in answers:
                break
        else:
            position = positions[at] + after if positions else 1
            findings.append(finding.at(f"{base}{position}", strict=strict))
    if other:
        members["other"] = other
    order = _order(layout, repeated, positions)
    if order is not None:
        members["order"] = order
    return TemplateMatch(items, positions, layout.rows, below, repeated, members, order)


def _put(members: dict[str, Any], row: CompiledRow, member: Any) -> None:
    for name in row.within:
        members = members.setdefault(name, {})
    if row.many:
        members.setdefault(row.name, []).append(member)
    else:
        members[row.name] = member


def _layout(template: CompiledTemplate, found: Sequence[Candidates], unfit: Sequence[int]) -> Layout:
    """Sorts items into rows; remembered where all values are of their value types.

    Args:
        unfit: indices of the other items: they fill the row, so that what is missing is said once, and are kept whole.
    """
    key = (template, *found)
    remembered = _layouts.get(key) if not unfit else None
    if remembered is not None:
        return remembered
    rows, listed, surplus = list[CompiledRow | None](), list[int](), dict[int, RowFinding]()
    inside: dict[int, list[tuple[int, Candidates]]] = {}
    filled: set[int] = set()
    for at, one in enumerate(found):
        takes = next(((i, inner) for i, inner in one.rows if i not in filled or template.rows[i].many), None)
        if takes is None:
            rows.append(None)
            listed.append(LAST)
            if one.rows:
                row = template.rows[one.rows[-1][0]]
                refuse = row.refuses("concept", "vm")
                surplus[at] = row.finding("too-many", f"more than one {row.concept_name}", refuse=refuse)
            continue
        index, inner = takes
        if inner is not None:
            inside.setdefault(index, []).append((at, inner))
        filled.add(index)
        rows.append(template.rows[index])
        listed.append(index if inner is not None or at not in unfit else LAST)
    repeated = {index: _repetitions(template.rows[index].below, some) for index, some in inside.items()}
    order = None if listed == sorted(listed) else sorted(range(len(listed)), key=listed.__getitem__)
    faults = [*_unordered(template, listed), *_lacking(template, listed, filled)]
    layout = Layout(rows, listed, surplus, order, repeated, faults)
    if not unfit and len(found) <= LONGEST_LAYOUT_ITEMS:
        if len(_layouts) >= LAYOUTS:
            _layouts.clear()
        _layouts[key] = layout
    return layout


def _repetitions(template: CompiledTemplate, items: Sequence[tuple[int, Candidates]]) -> list[list[int]]:
    """Cuts items into inclusions: a new one starts with the template's first row, or when an item no longer fits."""
    found: list[list[int]] = []
    filled: set[int] = set()
    alternatives = [
        range(scope.first, scope.end)
        for scope in template.scopes
        if scope.row is not None and scope.row.when and scope.row.when.kind == "IFF"
    ]
    for at, candidates in items:
        rows = [index for index, _ in candidates.rows]
        free = [i for i in rows if i not in filled or template.rows[i].many]
        of = [scope for scope in alternatives if any(i in scope for i in rows)]
        taken = [scope for scope in alternatives if any(i in scope for i in filled)]
        if not found or not free or free[0] == 0 or (of and taken and of != taken):
            found.append([])
            filled = set()
            free = rows
        found[-1].append(at)
        filled.update(free[:1])
    return found


def _order(layout: Layout, repeated: dict[int, list[TemplateMatch]], positions: Sequence[int]) -> list[int] | None:
    """See `TemplateMatch.order`: by row; of a template that may repeat, one repetition after the other."""
    if not repeated:
        return [positions[at] for at in layout.order] if layout.order is not None else None
    by_row: dict[int, list[int]] = {}
    for index, position in zip(layout.listed, positions, strict=True):
        by_row.setdefault(index, []).append(position)
    for index, matched in repeated.items():
        by_row[index] = [position for one in matched for position in one.listed]
    listed = [position for index in sorted(by_row) for position in by_row[index]]
    return listed if listed != list(positions) else None


def _unordered(template: CompiledTemplate, listed: Sequence[int]) -> Iterator[Fault]:
    """The first item after its place in the table, where the order of rows is significant."""
    before: tuple[int, ...] = ()
    for at, index in enumerate(listed):
        if index != LAST and template.head.ordered:
            row = template.rows[index]
            if row.ordinal < before:
                yield Fault(row.finding("row-order", "item after its place in the table", strict=row.refuses()), at)
                return
            before = row.ordinal


def _lacking(template: CompiledTemplate, listed: Sequence[int], filled: set[int]) -> Iterator[Fault]:
    """What is missing of M rows, and of MC and UC rows whose condition can be told, or is against it (PS3.16 6.1.7)."""
    for scope in template.scopes:
        asked = [(index, template.rows[index].row) for index in scope.asked]
        inside = [_missing(template, listed, index) for index, row in asked if row.req == "M" and index not in filled]
        for index, row in asked:
            if row.req == "MC" and index not in filled:
                inside += _if(row.when, (True,), [_missing(template, listed, index)])
            inside += _against(template, listed, [index], row.when)
        when = scope.row.when if scope.row is not None else None
        if scope.row is None:
            yield from inside
        elif any(scope.first <= index < scope.end for index in filled):
            if _says_when_absent(when):
                yield from _if(when, (True, None), inside)
                yield from _against(template, listed, range(scope.first, scope.end), when)
            else:
                yield from inside
        elif scope.row.req == "MC":  # else the rows of an absent inclusion are not required (6.2.2)
            yield from _if(when, (True,), inside)


def _says_when_absent(when: Condition | None) -> bool:
    """Whether a row must not be there where its condition is false, and that can be told."""
    return when is not None and when.kind != "IF" and when.judge is not None


def _if(when: Condition | None, answers: tuple[bool | None, ...], faults: Sequence[Fault]) -> Iterator[Fault]:
    """The faults where a condition is answered so; none where it can never be told."""
    if when is not None and when.judge is not None:
        for fault in faults:
            yield fault._replace(conditions=((when.judge, answers), *fault.conditions))


def _against(
    template: CompiledTemplate, listed: Sequence[int], which: Sequence[int], when: Condition | None
) -> Iterator[Fault]:
    if _says_when_absent(when):
        for at, index in enumerate(listed):
            if index in which:
                row = template.rows[index]
                reason = f"{row.concept_name} against its condition"
                fault = Fault(row.finding("unexpected-row", reason, refuse=_decides(row)), at)
                yield from _if(when, (False,), [fault])


def _missing(template: CompiledTemplate, listed: Sequence[int], index: int) -> Fault:
    """That a row has no item; it should stand after the items of the rows before it."""
    row = template.rows[index]
    before = [at for at, other in enumerate(listed) if other < index]
    finding = row.finding("missing-row", f"missing {row.concept_name}", refuse=_decides(row))
    return Fault(finding, before[-1], after=True) if before else Fault(finding, 0)


def _decides(row: CompiledRow) -> bool:
    """Whether a row that is missing, or there against its condition, may refuse."""
    return row.refuses("concept", "req") and not (row.row.when and row.row.when.inferred)


def not_valid(error: ValidationError, path: str, template: str, row: str) -> Finding:
    """The finding that members which the engine let pass are not valid by the class: a fault of the declaration."""
    where = " ".join(sorted({".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False)}))
    return Finding(NOT_VALID, f"{where[:MOST_CHARACTERS]} not valid by its class", path, template, row)


def row_items(template: CompiledTemplate, typed: Any) -> Iterator[ContentItem]:
    """The way back: the items of the rows of a typed object, in the order in which it lists them."""
    for row in template.rows:
        given = typed
        for name in (*row.within, row.name):
            given = getattr(given, name) if given is not None else None
        for one in given if isinstance(given, list) else [given] if given is not None else []:
            if row.holds is None:
                yield from row_items(row.below, one)
                yield from map(whole_item, one.other)
                continue
            concept = code_of(one.concept) if one.concept is not None else row.canonical
            value = one.text if row.holds is str else value_of(one)
            item = ContentItem(row.row.relationship, row.row.value_type, concept, value, children(row.below, one))
            yield with_extras(item, one)


def children(template: CompiledTemplate, typed: Extras) -> list[ContentItem]:
    """The child items of a typed object, in the order in which they were sent."""
    items = [*row_items(template, typed), *map(whole_item, typed.other)]
    if not typed.order:
        return items
    return [item for _, item in sorted(zip(typed.order, items, strict=True), key=lambda pair: pair[0])]
