"""THUMOS14: sports actions, 20 classes; trained on the 200 validation videos, evaluated on the test videos."""

from tal.datasets.evaluators import COMMON
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="thumos14",
    title="THUMOS14 temporal action localization",
    subset="test",
    tiou=steps(0.3, 0.7, 5),
    duplicates="remove",
    excluded_classes=(("Ambiguous", "marks what the annotators could not decide; not an action"),),
    class_count=20,
    source="happyharrycn/actionformer_release, libs/utils/metrics.py; thresholds as the field reports them",
    variants=COMMON,
)
