"""Zero-shot temporal detection: ten random splits into seen and unseen classes (EffPrompt, STALE)."""

from typing import Any

from tal.datasets import activitynet, thumos14
from tal.datasets.kinds.open_vocabulary import EVERY_SUBSET, ZeroShotProtocol
from tal.datasets.protocol import Variant

_SOURCE = (
    "the splits of EffPrompt and STALE (lists in benedettaliberatori/T3AL, splits/), unseen classes alone; "
    "activitynet/ActivityNet, Evaluation/eval_detection.py"
)


def _t3al(**further: Any) -> Variant:
    return Variant(
        settings={"subset": EVERY_SUBSET, "videos": "predicted", "rounded": True, **further},
        source="benedettaliberatori/T3AL, src/evaluate.py and src/data/components/dataset.py",
        about="every annotated video that the predictions name, AP of each class rounded to 0.1 per cent"
        + ("; tIoU 0.5, 0.75 and 0.95 alone" if further else "; --subset test for the test videos alone"),
    )


THUMOS14 = ZeroShotProtocol(
    name="thumos14-zeroshot",
    title="THUMOS14 zero-shot temporal action localization",
    subset="test",
    tiou=thumos14.PROTOCOL.tiou,
    duplicates="keep",
    excluded_classes=thumos14.PROTOCOL.excluded_classes,
    source=_SOURCE,
    variants={"t3al": _t3al()},
)

ACTIVITYNET = ZeroShotProtocol(
    name="activitynet-zeroshot",
    title="ActivityNet-1.3 zero-shot temporal action localization",
    subset="validation",
    tiou=activitynet.PROTOCOL.tiou,
    duplicates="keep",
    source=_SOURCE,
    variants={"t3al": _t3al(tiou=(0.5, 0.75, 0.95))},
)
