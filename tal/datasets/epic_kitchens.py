"""EPIC-KITCHENS-100 action detection: verbs, nouns and actions in first-person kitchens, on the validation videos."""

from tal.datasets.kinds.epic import EpicProtocol
from tal.datasets.protocol import Variant, steps

PROTOCOL = EpicProtocol(
    name="epic-kitchens",
    title="EPIC-KITCHENS-100 action detection",
    subset=None,
    tiou=steps(0.1, 0.5, 5),
    duplicates="keep",
    source="epic-kitchens/C2-Action-Detection, EvaluationCode/evaluate_detection_json_ek100.py",
    variants={
        "c2-2022": Variant(
            settings={"absent_classes": "renumber"},
            source="epic-kitchens/C2-Action-Detection before b006220 (August 2023), evaluate_detection_json_ek100.py",
            about="predictions of classes without ground truth count for other classes, by mistake",
        ),
        "actionformer": Variant(
            settings={"duplicates": "remove", "absent_classes": "renumber"},
            source="happyharrycn/actionformer_release, libs/utils/metrics.py",
            about="as c2-2022, without duplicated ground truth; ActionFormer, TriDet and TemporalMaxer",
        ),
        "opentad": Variant(
            settings={"absent_classes": "renumber"},
            source="sming256/OpenTAD, opentad/evaluations/mAP_epic.py",
            about="as c2-2022; OpenTAD's tables",
        ),
    },
)
