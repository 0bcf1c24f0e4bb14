"""Boxes on keyframes of a set of one's own: all classes of the ground truth, or those of a label map."""

from tal.datasets.kinds.boxes import FrameBoxProtocol

PROTOCOL = FrameBoxProtocol(
    name="frame-boxes",
    title="boxes on keyframes, frame mAP",
    source="activitynet/ActivityNet, Evaluation/ava/object_detection_evaluation.py (PASCAL VOC's rule)",
)
