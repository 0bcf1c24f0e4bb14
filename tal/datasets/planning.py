"""Procedure planning on CrossTask, COIN and NIV, as PDPP and MTID evaluate it."""

from tal.datasets.kinds.planning import PlanningProtocol
from tal.datasets.protocol import Variant

PROTOCOL = PlanningProtocol(
    name="planning",
    title="Procedure planning: success rate, accuracy, mIoU",
    source="WiserZhou/MTID, utils/accuracy.py (mIoU is its MIoU2), as MCG-NJU/PDPP",
    variants={
        "mtid-miou1": Variant(
            settings={"batch": 256},
            source="WiserZhou/MTID, utils/accuracy.py, MIoU1 with the batches of its recipes",
            about="reports mIoU over the sets of whole batches too, which depends on their size",
        ),
    },
)
