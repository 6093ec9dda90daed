"""Who may add to the Medication Administration Record (PS3.4 P.3: at least one of the operators must be authorized)."""

from collections.abc import Sequence
from datetime import datetime

from plscp.matching.model import Operator
from plscp.matching.registry import Registry


def allowed(
    named: Sequence[tuple[str, str]],
    policy: Sequence[Operator] | None,
    locations: Sequence[str],
    moment: datetime,
    registry: Registry,
) -> bool:
    """Whether at least one of the operators named is on the list, here and then.

    Args:
        named: (code value, coding scheme designator) of each; codes compare by both, never by meaning.
        policy: the list, or None for anyone.
        locations: the sending device's; an operator who is bound to locations must be at one of them.
        moment: UTC, of the administration.
        registry: knows the locations' names.
    """
    if policy is None:
        return True
    given = {(value.strip(" "), scheme.strip(" ")) for value, scheme in named}
    here = {registry.place(location) for location in locations}
    return any(
        (operator.value, operator.scheme) in given
        and (not operator.locations or not here.isdisjoint(registry.place(place) for place in operator.locations))
        and (operator.valid_from is None or operator.valid_from <= moment)
        and (operator.valid_until is None or moment <= operator.valid_until)
        for operator in policy
    )
