"""ActivityNet-1.3: 200 everyday activities, evaluated on the validation split."""

from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="activitynet",
    title="ActivityNet-1.3 temporal action localization",
    subset="validation",
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    class_count=200,
    source="activitynet/ActivityNet, Evaluation/eval_detection.py",
)
