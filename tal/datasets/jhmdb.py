"""JHMDB: 21 actions in short, trimmed clips with one person's tube each; three splits."""

from tal.datasets.kinds.tubes import VARIANTS, TubesProtocol

PROTOCOL = TubesProtocol(
    name="jhmdb",
    title="JHMDB action tubes",
    split_count=3,
    class_count=21,
    variants=VARIANTS,
    source="MCG-NJU/MOC-Detector, src/ACT.py (the evaluator of ACT)",
)
