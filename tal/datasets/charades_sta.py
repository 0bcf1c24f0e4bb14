"""Charades-STA: sentences for moments of the Charades videos, 3,720 queries on 1,334 test videos.

The default counts IoU >= m without suppression: CTRL, which made the set, counts so, and so do the papers since
Moment-DETR, whose windows are not suppressed.
"""

from tal.datasets.kinds.grounding import TOOLS, GroundingProtocol

PROTOCOL = GroundingProtocol(
    name="charades-sta",
    title="Charades-STA moment retrieval",
    source="jiyanggao/TALL, main.py (IoU >= m); thresholds as the field reports them",
    variants=TOOLS,
)
