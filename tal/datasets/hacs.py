"""HACS Segments (v1.1.1): 200 classes of ActivityNet in 50,000 videos, evaluated on the validation split."""

from tal.datasets.evaluators import COMMON
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="hacs",
    title="HACS Segments temporal action localization",
    subset="validation",
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    class_count=200,
    source="activitynet/ActivityNet, Evaluation/eval_detection.py, as the HACS challenge has it",
    variants=COMMON,
)
