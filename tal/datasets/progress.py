"""Progress of tasks, as Generative Value Learning (GVL) evaluates it."""

from tal.datasets.kinds.progress import ProgressProtocol
from tal.datasets.protocol import Variant

PROTOCOL = ProgressProtocol(
    name="progress",
    title="Progress per frame, value-order correlation",
    source="Generative Value Learning, arXiv 2411.04549 (its code is not public)",
    variants={
        "opengvl": Variant(
            settings={"undefined": "zero", "constant": "close"},
            source="budzianowski/opengvl, opengvl/metrics/voc.py and opengvl/utils/inference.py",
            about="an undefined correlation counts as 0; nearly constant values are constant",
        ),
    },
)
