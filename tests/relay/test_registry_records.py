"""Registry changes of any kind are valid under their published classes and schemas."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plscp.errors import PlscpError
from plscp.matching import changes
from plscp.matching.model import Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Locations, Registry
from plscp.records.values import RECORDS
from plscp.service.keeper import RegistryKeeper
from plscp.store.port import Filter, RegistryRecord
from tests.relay.judging import judge
from tests.temporary import TemporaryStore

NOW = datetime(2024, 5, 14, 10, tzinfo=UTC)
POLICY = Policy(patient_id_issuer="HOSP")
IDS = st.sampled_from(["PA", "PB", "UNKNOWN", "", " P\u00c4 ", "x" * 64])
ISSUERS = st.sampled_from(["HOSP", "", "OTHER"])
TIMES = st.sampled_from(
    ["2024-05-14T09:00:00Z", "2024-05-14T09:30:00+02:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
PATIENT = st.fixed_dictionaries({"id": IDS}, optional={"issuer": ISSUERS})
STUDY = st.fixed_dictionaries(
    {"study_instance_uid": st.sampled_from(["1.1", "1.2"])},
    optional={
        "patient": PATIENT,
        "study_id": st.sampled_from(["", "S1", "\u00fc"]),
        "accession_number": st.sampled_from(["", "A1"]),
        "location": st.sampled_from(["", "LAB1", "Lab 2"]),
        "status": st.sampled_from(["scheduled", "open", "closed", "cancelled"]),
        "opened": TIMES,
        "closed": TIMES,
    },
)
DEMOGRAPHICS = st.fixed_dictionaries(
    {"id": IDS},
    optional={
        "issuer": ISSUERS,
        "name": st.sampled_from(["", "Doe^Jane", "M\u00fcller"]),
        "birth_date": st.sampled_from(["", "19500101"]),
        "sex": st.sampled_from(["", "F", "O"]),
        "other_ids": st.lists(PATIENT, max_size=2),
    },
)


def planned(  # noqa: PLR0917  # a step, as it was drawn
    what: str,
    study: dict[str, Any],
    patient: dict[str, Any],
    other: dict[str, Any],
    now: datetime,
    registry: Registry,
) -> list[RegistryRecord]:
    """The records of one step."""
    match what:
        case "study":
            return changes.put_study(registry, study, POLICY, now)
        case "patient":
            return changes.put_patient(registry, patient, POLICY, now)
        case "merge":
            survivor = PatientId(patient["id"], patient.get("issuer", ""))
            return changes.merge_patient(registry, survivor, {"prior": other}, POLICY, now)
        case "close":
            return changes.close_study(registry, study["study_instance_uid"], POLICY, now)
        case _:
            return changes.cancel_study(registry, study["study_instance_uid"], POLICY, now)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(["study", "patient", "merge", "close", "cancel"]), STUDY, DEMOGRAPHICS, PATIENT),
        max_size=8,
    )
)
def test_every_change_is_valid(steps: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]) -> None:
    """Studies and patients with any members given or not, merged, closed, cancelled; those refused leave no record."""
    store = TemporaryStore()
    keeper = RegistryKeeper(store, Registry(Locations({"LAB1": ["Lab 1"], "LAB2": ["Lab 2"]})))
    for number, step in enumerate(steps):
        with contextlib.suppress(PlscpError):
            asyncio.run(keeper.change(partial(planned, *step, NOW + timedelta(minutes=number)), "http"))
    for event in store.read(Filter(limit=1000)):
        if event.type in RECORDS:
            judge(event.type, event.payload)
    store.close()
