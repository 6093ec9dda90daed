"""No patient in the log, in a metric or on an error page: every test of the suite is looked through for the patients that it used.

What counts as a patient: each value that anything of the suite puts into Patient ID (0010,0020) or Patient's Name (0010,0010) of a
data set, into a body of the HTTP API or, in this process, into the registry. What is looked through: each log line of this process
and of the servers that tests start, at info or above, with the text of exceptions; the labels of each `Metrics`; each problem
document. A line is taken apart into words, and a word must be equal to an identifier: `P1` is not found in `P10`.

Too short or too common to be told from other words are placeholders, single characters and numbers of fewer than four digits.
"""

import json
import re
import traceback
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from pydicom.dataset import Dataset
from structlog._base import BoundLoggerBase

from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.web.problems import ApiProblem

SHORTEST_NAME: Final = 4
COMMON: Final = {"UNKNOWN", "UNK", "TEMP", "NONE", "N/A", "NOBODY", "OTHER"}
"""Placeholders, and a Patient ID of nobody that is an AE title of nobody as well."""
_WORDS: Final = re.compile(r"[A-Za-z0-9^._-]+")
_ID: Final = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{2,64}")
_MEMBERS: Final = {"id", "patient_id", "name", "patient_name"}


class Lookout:
    """Knows the patients, takes what is said, and finds the ones in the other."""

    def __init__(self) -> None:
        self.patients: set[str] = set()
        self._imported: frozenset[str] | None = None
        self.said: deque[tuple[str, str]] = deque()
        self.metrics: list[weakref.ref[Metrics]] = []

    # --- whose patients ------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """From now on only those count that the modules of the tests made when they were imported, and new ones."""
        if self._imported is None:
            self._imported = frozenset(self.patients)
        self.patients = set(self._imported)

    def used(self, *values: object) -> None:
        """A Patient ID or a name that a test uses."""
        for value in values:
            text = str(value or "").strip()
            if "^" in text:
                family = text.partition("^")[0]
                self.patients.update(word for word in (text, family) if len(word) >= SHORTEST_NAME)
            elif (
                _ID.fullmatch(text)
                and text.upper() not in COMMON
                and not (text.isdigit() and len(text) < SHORTEST_NAME)
                and not text.islower()
            ):
                self.patients.add(text)

    def used_in(self, path: str, body: object) -> None:
        """The patients that a request to the HTTP API names."""
        if (found := re.search(r"/patients/([^/?]+)", path)) is not None:
            self.used(found[1])
        patients = [body] if found and isinstance(body, Mapping) else []
        if isinstance(body, Mapping):
            patients += [body[name] for name in ("patient", "prior") if isinstance(body.get(name), Mapping)]
        for patient in patients:
            self.used(*(value for name, value in patient.items() if name in _MEMBERS))

    # --- what is said --------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """A line of a server's log; those of level debug may name a patient."""
        if text.startswith("{"):
            try:
                record = json.loads(text)
            except ValueError:
                record = {}
            if isinstance(record, dict) and record.get("level") == "debug":
                return
        self.said.append(("log", text))

    def event(self, method: str, event: object, members: Mapping[str, Any]) -> None:
        """An event that this process logs."""
        if method == "debug":
            return
        error = members.get("exc_info")
        shown = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        if error is True or method == "exception":
            shown = traceback.format_exc()
        self.said.append(("log", f"{event} {members} {shown}"))

    def problem(self, document: object) -> None:
        """A problem document."""
        self.said.append(("problem", str(document)))

    def labels(self) -> Iterator[tuple[str, str]]:
        """The labels of the metrics that were made since the last time, as far as they are still there."""
        made, self.metrics = self.metrics, []
        for of in filter(None, (each() for each in made)):
            for family in of.families:
                for labels in [*getattr(family, "children", ()), *getattr(family, "values", ())]:
                    yield "metric", f"{family.name} {' '.join(labels)}"

    # --- the verdict ---------------------------------------------------------------------------------------------------

    def found(self) -> list[str]:
        """What named a patient since the last time."""
        said = [*self.said, *self.labels()]
        self.said.clear()
        return [
            f"{where} names {patient}: {text[:500]}"
            for where, text in said
            for patient in sorted(self.patients.intersection(_words(text)))
        ]


def _words(text: str) -> set[str]:
    words = set(_WORDS.findall(text))
    return words | {word.strip("._-") for word in words}


LOOKOUT: Final = Lookout()


def _watch() -> None:
    """From now on everything goes by the lookout; once for each process."""
    set_attribute, apply = Dataset.__setattr__, Registry._apply_patient
    proxy, made, answered = BoundLoggerBase._proxy_to_logger, Metrics.__init__, ApiProblem.response

    def setting(self: Dataset, name: str, value: Any) -> None:
        if name in {"PatientID", "PatientName"}:
            LOOKOUT.used(value)
        set_attribute(self, name, value)

    def applying(self: Registry, position: int, change: Mapping[str, Any]) -> None:
        LOOKOUT.used(change["id"], change.get("name"))
        apply(self, position, change)

    def logging(self: BoundLoggerBase, method_name: str, event: str | None = None, **members: Any) -> Any:
        LOOKOUT.event(method_name, event, members)
        return proxy(self, method_name, event, **members)

    def making(self: Metrics) -> None:
        made(self)
        LOOKOUT.metrics.append(weakref.ref(self))

    def answering(self: ApiProblem) -> Any:
        LOOKOUT.problem({"detail": self.detail, **self.more})
        return answered(self)

    Dataset.__setattr__ = setting
    Registry._apply_patient = applying  # type: ignore[method-assign]
    BoundLoggerBase._proxy_to_logger = logging  # type: ignore[method-assign]
    Metrics.__init__ = making  # type: ignore[method-assign]
    ApiProblem.response = answering  # type: ignore[method-assign]


_watch()


@pytest.fixture(autouse=True, scope="module")
def patients_of_this_module() -> None:
    """Forgets those of other modules, so that no order of the tests makes one's patient of another's device."""
    LOOKOUT.forget()


@pytest.fixture(autouse=True)
def no_patient_is_named(patients_of_this_module: None) -> Iterator[None]:
    """Fails a test whose log, metrics or problem documents name a patient of the suite."""
    yield
    found = LOOKOUT.found()
    assert found == [], "\n".join(found)
