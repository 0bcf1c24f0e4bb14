"""Ego4D moment queries: 110 classes of first-person activities, evaluated on the validation clips."""

from tal.datasets.evaluators import ACTIONFORMER, OPENTAD
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = DetectionProtocol(
    name="ego4d-mq",
    title="Ego4D moment queries",
    subset="val",
    tiou=steps(0.1, 0.5, 5),
    duplicates="remove",
    recall_multiples=(1, 5),
    class_count=110,
    source="happyharrycn/actionformer_release, libs/utils/metrics.py",
    variants={
        "ego4d": Variant(
            settings={"duplicates": "keep", "recall_over": "instances"},
            source="EGO4D/episodic-memory, MQ/Evaluation/ego4d/eval_detection.py and get_retrieval_performance.py",
            about="all ground truth; Recall@kx over all instances with tIoU above the threshold; VSGN's numbers",
        ),
        "actionformer": ACTIONFORMER,
        "opentad": OPENTAD,
    },
)
