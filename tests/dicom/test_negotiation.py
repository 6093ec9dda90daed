"""A-ASSOCIATE beside pynetdicom: what it proposes is read, and the answer is what its own acceptor would say."""

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context, negotiate_as_acceptor

from plscp.dicom.negotiation import TRANSFER_SYNTAXES, VERIFICATION, AssociationProposal, accept, read
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

OURS = (VERIFICATION, PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING)
OTHERS = ("1.2.840.10008.5.1.4.1.1.7", "1.2.3")
JPEG = "1.2.840.10008.1.2.4.50"
PROPOSED = st.lists(
    st.tuples(
        st.sampled_from(OURS + OTHERS),
        st.lists(st.sampled_from((*TRANSFER_SYNTAXES, JPEG)), min_size=1, max_size=6, unique=True),
    ),
    min_size=1,
    max_size=12,
)
ROLES = st.dictionaries(st.sampled_from(OURS + OTHERS), st.sampled_from([(True, True), (True, False), (False, True)]))


def supported() -> list[Any]:
    """What we take, in our order of preference, the requestor as SCU only."""
    contexts = [build_context(name, list(TRANSFER_SYNTAXES)) for name in OURS]
    for context in contexts:
        context.scu_role, context.scp_role = True, False
    return contexts


def said(results: list[Any], roles: dict[str, Any]) -> Any:
    """What the requestor learns of contexts and roles; of a context that is not accepted the transfer syntax does not matter."""
    contexts = {one.context_id: (one.result, one.result == 0 and str(one.transfer_syntax[0])) for one in results}
    return contexts, {str(name): (bool(item.scu_role), bool(item.scp_role)) for name, item in roles.items()}


@settings(deadline=None)
@given(PROPOSED, ROLES, st.sampled_from([0, 128, 16384, 0xFFFFFFFF]), st.sampled_from(["HEMO1", "A B", "X" * 16]))
def test_the_answer_is_what_pynetdicom_would_say(
    proposed: list[tuple[str, list[str]]], roles: dict[str, tuple[bool, bool]], length: int, title: str
) -> None:
    """Results, transfer syntaxes, roles, titles and lengths of any proposal in which nothing is wrong."""
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = title, "PLSCP"
    request.presentation_context_definition_list = [build_context(name, syntaxes) for name, syntaxes in proposed]
    for number, context in enumerate(request.presentation_context_definition_list):
        context.context_id = 2 * number + 1
    maximum, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    maximum.maximum_length_received = length
    implementation.implementation_class_uid = "1.2.3"
    request.user_information = [maximum, implementation]
    for name, (scu, scp) in roles.items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = name, scu, scp
        request.user_information.append(role)
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    proposal, identity = read(pdu.encode()[6:], 128)
    assert isinstance(proposal, AssociationProposal)
    assert (proposal.calling_ae, proposal.called_ae, proposal.max_length, identity) == (title, "PLSCP", length, None)

    raw, contexts = accept(proposal, 16382)
    answer = A_ASSOCIATE_AC()
    answer.decode(raw)
    wanted, wanted_roles = negotiate_as_acceptor(
        request.presentation_context_definition_list, supported(), roles or None
    )
    found = answer.to_primitive()
    assert said(found.presentation_context_definition_results_list, answer.user_information.role_selection) == said(
        wanted, {one.sop_class_uid: one for one in wanted_roles}
    )
    assert (found.calling_ae_title, found.called_ae_title, found.maximum_length_received) == (title, "PLSCP", 16382)
    assert {number: (one.abstract_syntax, one.transfer_syntax) for number, one in contexts.items()} == {
        one.context_id: (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in wanted if one.result == 0
    }
    assert struct.unpack_from(">BxL", raw) == (2, len(raw) - 6)
    assert raw == answer.encode()  # it has no other form
