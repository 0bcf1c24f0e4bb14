"""RepCount: cycles of exercises; see data/repcount.md."""

from tal.datasets.kinds.counting import CountingProtocol

PROTOCOL = CountingProtocol(
    name="repcount",
    title="RepCount repetition counting",
    source="SvipRepetitionCounting/TransRAC, testing/test_looping.py; MAE-plain: MiracleDance/PoseRAC, eval.py",
)

COUNTING = CountingProtocol(
    name="counting",
    title="Repetition counting on one's own videos",
    source="the metrics of RepCount: SvipRepetitionCounting/TransRAC, testing/test_looping.py",
)
