"""TACoS: sentences for moments of cooking videos, 4,001 queries on 25 test videos.

The default is 2D-TAN's evaluator, whose split, in frames at 29.4 per second, is the one that papers use.
"""

from tal.datasets.kinds.grounding import TOOLS, GroundingProtocol

PROTOCOL = GroundingProtocol(
    name="tacos",
    title="TACoS moment retrieval",
    tiou=(0.1, 0.3, 0.5, 0.7),
    compare="exceed",
    nms=0.5,
    spans="clipped",
    source=TOOLS["2d-tan"].source,
    variants=TOOLS,
)
