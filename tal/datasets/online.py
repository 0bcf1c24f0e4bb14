"""Online temporal detection: THUMOS14, EGTEA Gaze+, and any set of one's own."""

from tal.datasets import thumos14
from tal.datasets.kinds.online import OnlineProtocol
from tal.datasets.protocol import Variant, steps

_SIMON = Variant(
    settings={"duplicates": "remove"},
    source="TuanTNG/SimOn, tools/Evaluation/eval_detection.py",
    about="start detection without duplicated ground truth (both ends within 1e-3 s)",
)

PROTOCOL = OnlineProtocol(
    name="online",
    title="online temporal action localization",
    subset=None,
    tiou=steps(0.3, 0.7, 5),
    duplicates="keep",
    source="YHKimGithub/OAT-OSN, Evaluation/eval_detection_gentime.py; F1: musicalOffering/ActionSwitch-release, "
    "oracle_hungarian.py; start detection: TuanTNG/SimOn, tools/Evaluation/eval_detection.py",
    variants={"simon": _SIMON},
)

THUMOS14 = OnlineProtocol(
    name="thumos14-online",
    title="THUMOS14 online temporal action localization",
    subset="test",
    tiou=thumos14.PROTOCOL.tiou,
    duplicates="keep",
    excluded_classes=thumos14.PROTOCOL.excluded_classes,
    class_count=20,
    source=PROTOCOL.source,
    variants={
        "actionswitch": Variant(
            settings={
                "excluded_videos": (
                    ("video_test_0000270", "left out by ActionSwitch's mAP"),
                    ("video_test_0001496", "left out by ActionSwitch's mAP"),
                )
            },
            source="musicalOffering/ActionSwitch-release, compute.py",
            about="average precisions without video_test_0000270 and video_test_0001496; F1 with them",
        ),
        "simon": _SIMON,
    },
)

EGTEA = OnlineProtocol(
    name="egtea-online",
    title="EGTEA Gaze+ online temporal action localization",
    subset="test",
    tiou=steps(0.1, 0.5, 5),
    duplicates="keep",
    class_count=22,
    source="sakibreza/ECCV24-HAT, Evaluation/eval_detection_gentime.py and data/egtea_annotations_split*.json",
)
