"""The engine: matches the children of a content item to the rows of a template (PS3.16 section 6).

A match says which child fills which row, which no row took, and in which order they stand; findings have the item's
position, the template and the row. From it come the typed object and what `plscp explain` shows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from plscp.content.model import ContentItem
from plscp.findings import Finding
from plscp.templates.compiled import CompiledRow, CompiledTemplate, Problem
from plscp.templates.conversion import (
    MEMORY,
    add_extras,
    code_of,
    value_of,
    whole,
    whole_item,
    with_extras,
)
from plscp.templates.rows import Condition, Judge
from plscp.templates.values import Extras

LAST: Final = 1 << 20
"""Stands for the row of items that no row describes: they are listed last."""
LONGEST_LAYOUT_ITEMS: Final = 32
"""Items of a layout that is remembered: devices send the same rows again and again."""
NOT_VALID: Final = "not-valid-by-class"
"""Code of a finding that is a defect of plscp."""
MOST_CHARACTERS: Final = 200
"""Of the members that such a finding names."""


class Match(NamedTuple):
    """The children of one item, matched to the rows of a template.

    Attributes:
        items, positions: the children, in the order sent.
        rows: that each fills, or None.
        values: the member that each becomes, shared where it is just a code; None where its value is not of the row's kind.
        below: the match of each one's own children, where there are any or any is missing.
        groups: for each row that includes a template which may repeat, a match for each repetition.
        order: positions in the order in which the typed object lists the children, or None where that is the order sent.
    """

    items: Sequence[ContentItem]
    positions: Sequence[int]
    rows: Sequence[CompiledRow | None]
    values: Sequence[Any]
    below: Sequence["Match | None"]
    groups: list["Group"]
    order: list[int] | None

    @property
    def listed(self) -> list[int]:
        """Positions in the order in which the typed object lists the children."""
        return self.order if self.order is not None else list(self.positions)


Group = tuple[CompiledRow, list[Match]]
"""A row that includes a template which may repeat, with a match for each repetition."""


class Fault(NamedTuple):
    """A problem with the item at an index, or with what should stand after it."""

    problem: Problem
    at: int
    after: bool = False


class Question(NamedTuple):
    """A condition that looks at the items, and what follows where it is true, false, or cannot be told."""

    judge: Judge
    true: Sequence["Step"]
    false: Sequence["Step"]
    untold: Sequence["Step"]


Step = Fault | Question


class Layout(NamedTuple):
    """Which rows items of certain heads fill: all that can be told without their values.

    Attributes:
        rows: of each item, or None; `listed`: the row's index where it decides the order, else `LAST`.
        problems: of each item, with its head or its number.
        order: indices in the order in which the typed object lists the items, groups aside; None where that is as sent.
        groups: for each row that includes a template which may repeat, the indices of each repetition's items.
        steps: what else is wrong, as far as it rests on no condition, and the conditions to ask.
    """

    rows: list[CompiledRow | None]
    listed: list[int]
    order: list[int] | None
    problems: list[tuple[Problem, ...]]
    groups: dict[int, list[list[int]]]
    steps: list[Step]


def match(
    template: CompiledTemplate,
    items: Sequence[ContentItem],
    base: str,
    findings: list[Finding],
    *,
    strict: bool,
    parent: ContentItem | None = None,
    positions: Sequence[int] = (),
) -> Match:
    """Matches child items to the rows of a template and notes what is wrong.

    Args:
        base: path of the parent with a full stop after it, or empty for the root.
        findings: takes what is found.
        strict: refuse what a lenient profile lets pass.
        parent: the item above them, for conditions; None for the root's context and for repeated inclusions.
        positions: of the items among all children of their parent, where they are not all of them.
    """
    recognised, seen, heads = template.recognised, [], []
    for item in items:
        try:
            one = recognised[item.concept, item.relationship, item.value_type]
        except (KeyError, TypeError):  # TypeError: a code with further elements may hold lists
            one = template.recognise(item.concept, item.relationship, item.value_type)
        seen.append(one)
        heads.append(one.fit if type(item.value) is one.holds else one.unfit)
    layout: Layout = template.layouts.get(tuple(heads)) or _laid_out(template, heads, items)
    positions = positions or range(1, len(items) + 1)
    values: list[Any] = []
    matches: list[Match | None] = []
    for at, (item, one, row) in enumerate(zip(items, seen, layout.rows, strict=True)):
        noted = layout.problems[at]
        if noted or one.problems:
            findings += [problem.at(f"{base}{positions[at]}", strict=strict) for problem in one.problems + noted]
        value = below = None
        if row is not None and type(item.value) is row.holds:
            value, wrong = row.member(item.value)
            if wrong is not None:
                findings.append(wrong.at(f"{base}{positions[at]}", strict=strict))
            if item.children or not row.below.idle:
                below = match(row.below, item.children, f"{base}{positions[at]}.", findings, strict=strict, parent=item)
            concept = one.concept if item.concept != row.canonical else None
            if (
                concept is not None or item.children or item.observation_datetime or item.observation_uid
                or item.other or item.template
            ):  # fmt: skip
                value = _with_more(value, item, concept, below)
        elif row is not None and row.holds is not None and item.children:
            # The value is missing or of another kind, which C.17.3 refuses: of what is below it nothing is said.
            below = match(row.below, item.children, "", [], strict=strict, parent=item)
        values.append(value)
        matches.append(below)
    groups = []
    for index, repeated in layout.groups.items():
        inner, matched = template.rows[index], []
        for some in repeated:
            these, where = [items[at] for at in some], [positions[at] for at in some]
            matched.append(match(inner.below, these, base, findings, strict=strict, positions=where))
        groups.append((inner, matched))
    if layout.steps:
        for problem, at, after in _faults(layout.steps, items, parent):
            position = positions[at] + after if positions else 1
            findings.append(problem.at(f"{base}{position}", strict=strict))
    order = _order(layout, groups, positions) if groups or layout.order is not None else None
    return Match(items, positions, layout.rows, values, matches, groups, order)


def _laid_out(template: CompiledTemplate, heads: Sequence[int], items: Sequence[ContentItem]) -> Layout:
    """Sorts items into rows by their heads; remembered, but for rows with a gate, which looks at the items before."""
    rows, listed, problems = list[CompiledRow | None](), list[int](), list[tuple[Problem, ...]]()
    groups: dict[int, list[int]] = {}
    filled: set[int] = set()
    gated = False
    for at, head in enumerate(template.heads[number] for number in heads):
        row, noted = None, head.problems
        for index in head.rows:
            candidate = template.rows[index]
            if candidate.gate is not None:
                gated = True
                if not candidate.gate(items[:at]):
                    continue
            row = candidate
            if index in filled and not row.many:
                continue
            if row.holds is None:
                groups.setdefault(index, []).append(at)
            filled.add(index)
            rows.append(row)
            # An item without its value fills the row, so that what is missing is said once, and is kept whole.
            listed.append(index if head.fits or row.holds is None else LAST)
            break
        else:
            if row is not None:
                refuse = row.refuses("concept", "vm")
                noted = (*noted, row.problem("too-many", f"more than one {row.concept_name}", refuse=refuse))
            rows.append(None)
            listed.append(LAST)
        problems.append(noted)
    repeated = {index: _repetitions(template.rows[index].below, items, some) for index, some in groups.items()}
    order = None if listed == sorted(listed) else sorted(range(len(listed)), key=listed.__getitem__)
    steps = [*_unordered(template, listed), *_lacking(template, listed, filled)]
    layout = Layout(rows, listed, order, problems, repeated, steps)
    if not gated and len(heads) <= LONGEST_LAYOUT_ITEMS:
        MEMORY.keep(template.layouts, tuple(heads), layout)
    return layout


def _repetitions(template: CompiledTemplate, items: Sequence[ContentItem], indices: Sequence[int]) -> list[list[int]]:
    """Cuts items into inclusions: a new one starts with the template's first row, or when an item no longer fits."""
    found: list[list[int]] = []
    filled: set[int] = set()
    alternatives = [
        range(scope.first, scope.end)
        for scope in template.scopes
        if scope.row is not None and scope.row.when and scope.row.when.kind == "IFF"
    ]
    for at in indices:
        item = items[at]
        rows = template.heads[template.recognise(item.concept, item.relationship, item.value_type).fit].rows
        free = [i for i in rows if i not in filled or template.rows[i].many]
        of = [scope for scope in alternatives if any(i in scope for i in rows)]
        taken = [scope for scope in alternatives if any(i in scope for i in filled)]
        if not found or not free or free[0] == 0 or (of and taken and of != taken):
            found.append([])
            filled = set()
            free = list(rows)
        found[-1].append(at)
        filled.update(free[:1])
    return found


def _order(layout: Layout, groups: Sequence[Group], positions: Sequence[int]) -> list[int] | None:
    """See `Match.order`: by row; of a template that may repeat, one repetition after the other."""
    if not groups:
        return [positions[at] for at in layout.order or ()]
    by_row: dict[int, list[int]] = {}
    for index, position in zip(layout.listed, positions, strict=True):
        by_row.setdefault(index, []).append(position)
    for index, (_, repeated) in zip(layout.groups, groups, strict=True):
        by_row[index] = [position for one in repeated for position in one.listed]
    listed = [position for index in sorted(by_row) for position in by_row[index]]
    return listed if listed != list(positions) else None


def _unordered(template: CompiledTemplate, listed: Sequence[int]) -> list[Fault]:
    """The first item after its place in the table, where the order of rows is significant."""
    before: tuple[int, ...] = ()
    for at, index in enumerate(listed):
        if index == LAST or not template.head.ordered:
            continue
        row = template.rows[index]
        if row.ordinal < before:
            return [Fault(row.problem("row-order", "item after its place in the table", strict=row.refuses()), at)]
        before = row.ordinal
    return []


def _lacking(template: CompiledTemplate, listed: Sequence[int], filled: set[int]) -> list[Step]:
    """What is missing of M rows, and of MC and UC rows whose condition can be told, or is against it (PS3.16 6.1.7)."""
    steps: list[Step] = []
    for scope in template.scopes:
        inside: list[Step] = [_missing(template, listed, index) for index in scope.required if index not in filled]
        for index in scope.conditional:
            row, there = template.rows[index].row, index in filled
            missing: list[Step] = [_missing(template, listed, index)] if row.req == "MC" and not there else []
            against: list[Step] = [*_unexpected(template, listed, [index])] if _either_way(row.when) else []
            inside += _asked(row.when, missing, against, [])
        if scope.row is None:
            steps += inside
        elif any(scope.first <= index < scope.end for index in filled):
            which = range(scope.first, scope.end)
            against = [*_unexpected(template, listed, which)] if _either_way(scope.row.when) else inside
            steps += _asked(scope.row.when, inside, against, inside)
        elif not scope.idle and scope.row.req == "MC":  # else the rows of an absent inclusion are not required (6.2.2)
            steps += _asked(scope.row.when, inside, [], [])
    return steps


def _either_way(when: Condition | None) -> bool:
    """Whether a row must not be there where its condition is false."""
    return when is not None and when.kind != "IF"


def _asked(
    when: Condition | None, true: Sequence[Step], false: Sequence[Step], untold: Sequence[Step]
) -> Sequence[Step]:
    """The steps behind a condition, where the answer makes a difference."""
    if when is None or when.judge is None:
        return untold
    return [Question(when.judge, true, false, untold)] if true or false or untold else []


def _faults(steps: Sequence[Step], items: Sequence[ContentItem], parent: ContentItem | None) -> Iterator[Fault]:
    for step in steps:
        if isinstance(step, Fault):
            yield step
            continue
        truth = step.judge(parent, items)
        yield from _faults(step.true if truth else step.untold if truth is None else step.false, items, parent)


def _decides(row: CompiledRow) -> bool:
    """Whether a row that is missing, or there against its condition, may refuse."""
    return row.refuses("concept", "req") and not (row.row.when and row.row.when.inferred)


def _missing(template: CompiledTemplate, listed: Sequence[int], index: int) -> Fault:
    """That a row has no item; it should stand after the items of the rows before it."""
    row = template.rows[index]
    before = [at for at, other in enumerate(listed) if other < index]
    problem = row.problem("missing-row", f"missing {row.concept_name}", refuse=_decides(row))
    return Fault(problem, before[-1], after=True) if before else Fault(problem, 0)


def _unexpected(template: CompiledTemplate, listed: Sequence[int], which: Sequence[int]) -> Iterator[Fault]:
    for at, index in enumerate(listed):
        if index in which:
            row = template.rows[index]
            reason = f"{row.concept_name} against its condition"
            yield Fault(row.problem("unexpected-row", reason, refuse=_decides(row)), at)


def members(found: Match) -> dict[str, Any]:
    """What a template's class validates: the members of the rows, ``other`` and ``order``.

    Those of a code are the same dictionary for the same code.
    """
    made: dict[str, Any] = {}
    other = []
    for item, row, value in zip(found.items, found.rows, found.values, strict=True):
        if value is None or row is None:
            if row is None or row.holds is not None:
                other.append(whole(item))
        elif row.within:
            _put(made, row, value)
        elif row.many:
            made.setdefault(row.name, []).append(value)
        else:
            made[row.name] = value
    for row, repeated in found.groups:
        for one in repeated:
            typed = members(one)
            typed.pop("order", None)  # the order of siblings is said once, by their parent
            _put(made, row, typed)
    if other:
        made["other"] = other
    if found.order is not None:
        made["order"] = found.order
    return made


def _with_more(value: Any, item: ContentItem, concept: dict[str, Any] | None, below: Match | None) -> dict[str, Any]:
    """A member with all that its item has beside the value."""
    made = dict(value)
    if concept is not None:
        made["concept"] = concept
    if below is not None:
        made |= members(below)
    add_extras(made, item)
    return made


def _put(made: dict[str, Any], row: CompiledRow, typed: Any) -> None:
    for name in row.within:
        made = made.setdefault(name, {})
    if row.many:
        made.setdefault(row.name, []).append(typed)
    else:
        made[row.name] = typed


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
