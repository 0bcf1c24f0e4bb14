"""Any set of sentences of one's own with the moments that answer them."""

from tal.datasets.kinds.grounding import TOOLS, GroundingProtocol

PROTOCOL = GroundingProtocol(
    name="grounding",
    title="moment retrieval",
    source="jiyanggao/TALL, main.py (IoU >= m)",
    variants=TOOLS,
)
