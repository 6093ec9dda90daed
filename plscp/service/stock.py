"""The handlers on a stock `pynetdicom.AE`, for people who embed plscp in a program of their own.

What a stock AE cannot show: errors of the command set (0210H, 0211H, 0212H and missing mandatory elements are its own affair),
Attribute Identifier List (0000,1005) and Offending Element (0000,0901), the bounds of our acceptor, and `closes_without_release`:
pynetdicom says that a connection is gone, not whether it ended in order or by a reset, nor whether that was there before the answer
was written. There an A-RELEASE-RQ or a further message proves that an answer arrived, and no end of a connection does, whatever the
device's setting.
"""

from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_RELEASE_RQ, P_DATA_TF

from plscp.dicom.answer import Status
from plscp.service.handlers import Handlers


class StockHandlers:
    """`Handlers` as pynetdicom wants them: call an instance with an event, or bind `bindings()`.

    An answer is known to have arrived when, after it was sent, a further P-DATA-TF or A-RELEASE-RQ is received on the same
    association; pynetdicom's PDU notifications tell that.
    """

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._made: WeakKeyDictionary[Any, list[object]] = WeakKeyDictionary()
        self._sent: WeakKeyDictionary[Any, list[object]] = WeakKeyDictionary()

    def __call__(self, event: Any) -> tuple[Dataset | int, Dataset | None]:
        """Answer one N-ACTION; blocks until it is committed."""
        status, reply = self._handlers.answer(event)
        if status.receipt is not None:
            self._made.setdefault(event.assoc, []).append(status.receipt)
        if reply is None:
            return status_dataset(status), None
        encoded = BytesIO(reply.encode(implicit=True, little=True))
        return status_dataset(status), decode(encoded, is_implicit_vr=True, is_little_endian=True)

    def _on_sent(self, event: Any) -> None:
        if isinstance(event.pdu, P_DATA_TF) and (receipts := self._made.pop(event.assoc, None)):
            self._sent.setdefault(event.assoc, []).extend(receipts)

    def _on_received(self, event: Any) -> None:
        if isinstance(event.pdu, P_DATA_TF | A_RELEASE_RQ) and (receipts := self._sent.pop(event.assoc, None)):
            self._handlers.on_delivery_confirmed(receipts)

    def bindings(self) -> list[tuple[Any, Any]]:
        """What `AE.start_server(evt_handlers=...)` takes."""
        return [(evt.EVT_N_ACTION, self), (evt.EVT_PDU_SENT, self._on_sent), (evt.EVT_PDU_RECV, self._on_received)]


def status_dataset(status: Status) -> Dataset | int:
    """A status as a stock pynetdicom AE takes it: an int, or a data set where something stands beside it."""
    if not (status.comment or status.error_id is not None):
        return int(status)
    dataset = Dataset()
    dataset.Status = int(status)
    if status.comment:
        dataset.ErrorComment = status.comment
    if status.error_id is not None:
        dataset.ErrorID = status.error_id
    return dataset
