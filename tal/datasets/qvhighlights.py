"""QVHighlights: moments and highlights for 1,550 validation queries on videos of up to 150 s, in clips of 2 s."""

from tal.datasets.kinds.highlights import HighlightsProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = HighlightsProtocol(
    name="qvhighlights",
    title="QVHighlights moment retrieval and highlight detection",
    tiou=steps(0.5, 0.95, 10),
    lengths_s=(("short", 0, 10), ("middle", 10, 30), ("long", 30, 150)),
    levels=(("Fair", 2), ("Good", 3), ("VeryGood", 4)),
    source="jayleicn/moment_detr, standalone_eval/eval.py",
    variants={
        "cg-detr": Variant(
            settings={"r1_tiou": steps(0.3, 0.95, 14), "mean_iou": True},
            source="wjun0830/CGDETR, standalone_eval/eval.py",
            about="MR-R1 from 0.3 on, and MR-mIoU",
        ),
    },
)
