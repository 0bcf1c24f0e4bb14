"""UCF101-24: 24 sports in untrimmed videos, several tubes each, corrected annotations (v2); one split."""

from tal.datasets.kinds.tubes import VARIANTS, TubesProtocol

PROTOCOL = TubesProtocol(
    name="ucf101-24",
    title="UCF101-24 action tubes",
    split_count=1,
    class_count=24,
    variants=VARIANTS,
    source="MCG-NJU/MOC-Detector, src/ACT.py (the evaluator of ACT)",
)
