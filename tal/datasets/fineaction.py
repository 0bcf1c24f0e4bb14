"""FineAction: 106 fine-grained classes, evaluated on the validation split."""

from tal.datasets.evaluators import COMMON
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="fineaction",
    title="FineAction temporal action localization",
    subset="validation",
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    class_count=106,
    source="activitynet/ActivityNet, Evaluation/eval_detection.py, as the FineAction challenge has it",
    variants=COMMON,
)
