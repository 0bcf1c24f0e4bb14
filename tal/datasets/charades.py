"""Charades: 157 everyday indoor actions that overlap, evaluated on the test videos."""

from tal.datasets.evaluators import COMMON, POINTTAD
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.frames import FramesProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = DetectionProtocol(
    name="charades",
    title="Charades temporal action localization",
    subset="testing",
    tiou=steps(0.1, 0.9, 9),
    duplicates="opentad",
    class_count=157,
    source="sming256/OpenTAD, opentad/evaluations/mAP.py",
    variants={**COMMON, "pointtad": POINTTAD},
)

FRAMES = FramesProtocol(
    name="charades-frames",
    title="Charades per-frame action localization",
    subset="testing",
    sampling="times",
    ends="closed",
    empty_classes="exclude",
    class_count=157,
    source="Charades_v1_localize.m of the Charades release",
    variants={
        "super-events": Variant(
            settings={"sampling": "rows", "ends": "open", "empty_classes": "zero"},
            source="piergiaj/super-events-cvpr18, charades_i3d_per_video.py and apmeter.py",
            about="every row of the scores is a frame",
        ),
        "ms-tct": Variant(
            settings={"sampling": "strided", "ends": "open", "empty_classes": "zero"},
            source="dairui01/MS-TCT, Evaluation.py and utils.py (sampled_25_inference)",
            about="of each video with more than 25 rows every int(rows / 25)-th from the second on, at most 25",
        ),
    },
)
