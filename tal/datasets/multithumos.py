"""MultiTHUMOS: the THUMOS14 videos with 65 dense classes, evaluated on the test videos."""

from tal.datasets.evaluators import COMMON, POINTTAD
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.frames import FramesProtocol
from tal.datasets.protocol import steps

PROTOCOL = DetectionProtocol(
    name="multithumos",
    title="MultiTHUMOS temporal action localization",
    subset="test",
    tiou=steps(0.1, 0.9, 9),
    duplicates="remove",
    class_count=65,
    source="happyharrycn/actionformer_release, libs/utils/metrics.py, as TuanTNG/TemporalMaxer uses it",
    variants={**COMMON, "pointtad": POINTTAD},
)

FRAMES = FramesProtocol(
    name="multithumos-frames",
    title="MultiTHUMOS per-frame action detection",
    subset="test",
    sampling="rows",
    ends="open",
    empty_classes="zero",
    class_count=65,
    source="piergiaj/super-events-cvpr18, multithumos_i3d_per_video.py and apmeter.py",
)
