"""Any set of one's own: the classes and videos that the annotations hold."""

from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="generic",
    title="temporal action localization",
    subset=None,
    tiou=steps(0.3, 0.7, 5),
    duplicates="remove",
    recall_multiples=(1, 5),
    source="happyharrycn/actionformer_release, libs/utils/metrics.py",
)
