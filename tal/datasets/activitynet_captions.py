"""ActivityNet Captions: sentences for moments of ActivityNet's validation videos, annotated twice (val_1, val_2).

The default is 2D-TAN's evaluator, as most papers that report on this set use it: validated on val_1, tested on val_2.
"""

from tal.datasets.kinds.grounding import TOOLS, GroundingProtocol

PROTOCOL = GroundingProtocol(
    name="activitynet-captions",
    title="ActivityNet Captions moment retrieval",
    tiou=(0.3, 0.5, 0.7),
    compare="exceed",
    nms=0.5,
    spans="clipped",
    source=TOOLS["2d-tan"].source,
    variants=TOOLS,
)
