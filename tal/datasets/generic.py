"""Any set of one's own: the classes and videos that the annotations hold."""

from tal.datasets.evaluators import COMMON, POINTTAD
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.frames import FramesProtocol
from tal.datasets.kinds.proposals import ProposalsProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = DetectionProtocol(
    name="generic",
    title="temporal action localization",
    subset=None,
    tiou=steps(0.3, 0.7, 5),
    duplicates="remove",
    recall_multiples=(1, 5),
    source="happyharrycn/actionformer_release, libs/utils/metrics.py",
    variants={**COMMON, "pointtad": POINTTAD},
)

PROPOSALS = ProposalsProtocol(
    name="proposals",
    title="temporal action proposals",
    subset=None,
    tiou=steps(0.5, 0.95, 10),
    duplicates="keep",
    source="activitynet/ActivityNet, Evaluation/eval_proposal.py",
    variants={
        "bsn-thumos14": Variant(
            settings={
                "rule": "shares",
                "tiou": steps(0.5, 1.0, 11),
                "numbers": (50, 100, 200),
                "inclusive_frames": True,
            },
            source="MCG-NJU/RTD-Action, datasets/thumos14_eval.py, as DAPs, TURN and BSN have it",
            about="THUMOS14 proposal papers: shares of each video's proposals, inclusive frames, videos with proposals",
        )
    },
)

FRAMES = FramesProtocol(
    name="frames",
    title="per-frame action detection",
    subset=None,
    sampling="rows",
    ends="closed",
    empty_classes="exclude",
    source="the ranking's average precision, as in Charades_v1_localize.m",
)
