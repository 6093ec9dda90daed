"""What an identifier with an issuer names: patients with their history, and admissions. Made for millions of them."""

from collections.abc import Iterable, Iterator
from typing import Final

from plscp.matching.layers import Forkable
from plscp.matching.records import PatientId

_NUMBER_BITS: Final = 40
_NUMBER: Final = (1 << _NUMBER_BITS) - 1


class Numbers(Forkable):
    """From (ID, issuer) to a number below 2**40.

    An identifier costs its ID and one integer, issuer and number in one; an ID that several issuers gave has a tuple of these.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int | tuple[int, ...]] = {}
        self._issuers: dict[int, str] = {}
        self._issuer_codes: dict[str, int] = {}
        self._given: dict[str, int] = {}  # by issuer, how many identifiers it has

    def _of(self, identifier: str) -> tuple[int, ...]:
        codes = self._codes.get(identifier, ())
        return (codes,) if isinstance(codes, int) else codes

    def get(self, identifier: str, issuer: str) -> int | None:
        """The number, or None where there is none."""
        for code in self._of(identifier):
            if self._issuers[code >> _NUMBER_BITS] == issuer:
                return code & _NUMBER
        return None

    def known(self, identifier: str) -> tuple[tuple[str, int], ...]:
        """The issuers under which an ID is known, in the order in which they came, each with its number."""
        return tuple((self._issuers[code >> _NUMBER_BITS], code & _NUMBER) for code in self._of(identifier))

    def has_issuer(self, issuer: str) -> bool:
        """Whether there is an identifier of an issuer."""
        return issuer in self._given

    def put(self, identifier: str, issuer: str, number: int) -> None:
        """Let an identifier have a number; one that it had is forgotten."""
        known = self._issuer_codes.get(issuer)
        if known is None:
            known = self._issuer_codes[issuer] = len(self._issuer_codes)
            self._issuers[known] = issuer
        code = known << _NUMBER_BITS | number
        codes = self._of(identifier)
        if any(each >> _NUMBER_BITS == known for each in codes):
            codes = tuple(code if each >> _NUMBER_BITS == known else each for each in codes)
        else:
            codes = (*codes, code)
            self._given[issuer] = self._given.get(issuer, 0) + 1
        self._codes[identifier] = codes[0] if len(codes) == 1 else codes

    def drop(self, identifier: str, issuer: str) -> None:
        """Forget an identifier that has a number."""
        known = self._issuer_codes[issuer]
        codes = tuple(code for code in self._of(identifier) if code >> _NUMBER_BITS != known)
        if codes:
            self._codes[identifier] = codes[0] if len(codes) == 1 else codes
        else:
            del self._codes[identifier]
        self._given[issuer] -= 1
        if not self._given[issuer]:
            del self._given[issuer]


class Owners(Forkable):
    """From identifiers, as they were stored, to patients' numbers, with the history that late answers need.

    IDs are merged, changed and given anew. Nearly all identifiers never are: only those have a history.

    Attributes:
        now: whom exactly an identifier names.
    """

    def __init__(self) -> None:
        self.now = Numbers()
        # Of identifiers that named another before, or nobody: (position from which on, patient's number; None for nobody). What an
        # identifier named first it names from position 0 on: nobody asks about an event from before the patient was known.
        self._history: dict[PatientId, tuple[tuple[int, int | None], ...]] = {}
        self._merged_into: dict[int, int] = {}

    def survivor(self, number: int) -> int:
        """The patient that a patient was merged into, through every merge; else the same."""
        while number in self._merged_into:
            number = self._merged_into[number]
        return number

    def of_then(self, patient_id: PatientId, position: int | None) -> int | None:
        """Whom an identifier named at a position (None: names now), followed through the merges since."""
        number = self.now.get(*patient_id)
        if position is not None and patient_id in self._history:
            number = None
            for since, owner in self._history[patient_id]:
                if since <= position:
                    number = owner
        return None if number is None else self.survivor(number)

    def given_away(self, number: int) -> Iterator[PatientId]:
        """The identifiers that named a patient, or one who was merged into that one, and name another, or nobody, now."""
        for patient_id, owners in self._history.items():
            named = any(owner is not None and self.survivor(owner) == number for _, owner in owners)
            if named and self.of_then(patient_id, None) != number:
                yield patient_id

    def spans(self, number: int, patient_id: PatientId) -> Iterator[tuple[int, int | None]]:
        """From which position on, and before which (None: until now), an identifier named a patient, followed through the merges since."""
        history = self._history.get(patient_id, ((0, self.now.get(*patient_id)),))
        ends = (*(since for since, _ in history[1:]), None)
        for (since, owner), until in zip(history, ends, strict=True):
            if owner is not None and self.survivor(owner) == number:
                yield since, until

    def claim(self, position: int, patient_id: PatientId, number: int) -> None:
        """From `position` on, an identifier names patient `number`."""
        before = self.now.get(*patient_id)
        if before == number:
            return
        self.now.put(*patient_id, number)
        if before is not None or patient_id in self._history:
            known = self._history.get(patient_id, ((0, before),))
            self._history[patient_id] = (*known, (position, number))

    def release(self, position: int, patient_id: PatientId) -> None:
        """From `position` on, an identifier names nobody."""
        known = self._history.get(patient_id, ((0, self.now.get(*patient_id)),))
        self._history[patient_id] = (*known, (position, None))
        self.now.drop(*patient_id)

    def merge(self, position: int, prior: int, survivor: int, identifiers: Iterable[PatientId]) -> None:
        """Every identifier of patient `prior`, which are among these, names patient `survivor` from `position` on."""
        for patient_id in identifiers:
            if self.now.get(*patient_id) == prior:
                self.claim(position, patient_id, survivor)
        self._merged_into[prior] = survivor
