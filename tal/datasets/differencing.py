"""VidDiffBench: differences between two videos of one action."""

from tal.datasets.kinds.differencing import DifferencingProtocol
from tal.datasets.protocol import Variant

PROTOCOL = DifferencingProtocol(
    name="differencing",
    title="Video action differencing, VidDiffBench",
    source="jmhb0/viddiff, eval_viddiff.py; the limits on statements and matches as the paper states them",
    variants={
        "viddiff": Variant(
            settings={"excess": "keep", "matched_twice": "every"},
            source="jmhb0/viddiff, eval_viddiff.py, whose checks of both limits never fire",
            about="statements beyond the allowed number and matches of one statement to several differences count",
        ),
    },
)
