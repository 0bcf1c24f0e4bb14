"""ActivityNet-1.3: 200 everyday activities, evaluated on the validation split."""

from tal.datasets.evaluators import COMMON
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.proposals import ProposalsProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = DetectionProtocol(
    name="activitynet",
    title="ActivityNet-1.3 temporal action localization",
    subset="validation",
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    class_count=200,
    source="activitynet/ActivityNet, Evaluation/eval_detection.py",
    variants=COMMON,
)

PROPOSALS = ProposalsProtocol(
    name="activitynet-proposals",
    title="ActivityNet-1.3 temporal action proposals",
    subset="validation",
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    source="activitynet/ActivityNet, Evaluation/eval_proposal.py",
    variants={
        "opentad": Variant(
            settings={"duplicates": "opentad"},
            source="sming256/OpenTAD, opentad/evaluations/recall.py",
            about="duplicated ground truth removed",
        )
    },
)
