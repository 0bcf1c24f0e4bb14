"""RepCount: cycles of exercises; see data/repcount.md."""

from tal.datasets.kinds.counting import CountingProtocol
from tal.datasets.protocol import Variant

PROTOCOL = CountingProtocol(
    name="repcount",
    title="RepCount repetition counting",
    source="SvipRepetitionCounting/TransRAC, testing/test_looping.py; MAE-plain: MiracleDance/PoseRAC, eval.py",
    variants={
        "transrac": Variant(
            settings={"truth": "density"},
            source="SvipRepetitionCounting/TransRAC, testing/test_looping.py with dataset/RepCountA_Loader.py",
            about="the true count is the rounded sum of the density targets; needs the numbers of frames",
        ),
    },
)

COUNTING = CountingProtocol(
    name="counting",
    title="Repetition counting on one's own videos",
    source="the metrics of RepCount: SvipRepetitionCounting/TransRAC, testing/test_looping.py",
)
