"""Open-vocabulary temporal detection: classes that Kinetics-400 covers are base, the others novel (STOV-TAL)."""

from tal.datasets import activitynet, fineaction, thumos14
from tal.datasets.kinds.open_vocabulary import OpenVocabularyProtocol
from tal.datasets.protocol import Variant

_SOURCE = "HYUNJS/STOV-TAL, libs/utils/eval_proposal.py and eval_script.py"
_VARIANTS = {
    "stov-tal": Variant(
        settings={"videos": "predicted"},
        source="HYUNJS/STOV-TAL, libs/utils/eval_proposal.py (run_mAP_eval of the released version)",
        about="mAP over the videos with predictions alone, recalls over all; its Gemini tables",
    )
}

# The rule is STOV-TAL's (libs/utils/dataset_format/split_k400_overlap.py): a class is base if one label of
# Kinetics-400 holds all of its lower-cased, lemmatised words. The lists of FineAction (56 base classes) and
# ActivityNet are not published.
THUMOS14_BASE = (
    "BasketballDunk",  # dunking basketball
    "CleanAndJerk",  # clean and jerk
    "CliffDiving",  # diving cliff
    "Diving",  # diving cliff, springboard diving
    "FrisbeeCatch",  # catching or throwing frisbee
    "HammerThrow",  # hammer throw
    "HighJump",  # high jump
    "JavelinThrow",  # javelin throw
    "LongJump",  # long jump
    "PoleVault",  # pole vault
    "Shotput",  # shot put
    "ThrowDiscus",  # throwing discus
)

THUMOS14 = OpenVocabularyProtocol(
    name="thumos14-open",
    title="THUMOS14 open-vocabulary temporal action localization",
    subset="test",
    tiou=thumos14.PROTOCOL.tiou,
    duplicates="remove",
    duplicate_tolerance_s=0.0,
    excluded_classes=thumos14.PROTOCOL.excluded_classes,
    base_classes=THUMOS14_BASE,
    source=_SOURCE,
    variants=_VARIANTS,
)

ACTIVITYNET = OpenVocabularyProtocol(
    name="activitynet-open",
    title="ActivityNet-1.3 open-vocabulary temporal action localization",
    subset="validation",
    tiou=activitynet.PROTOCOL.tiou,
    duplicates="remove",
    duplicate_tolerance_s=0.0,
    source=_SOURCE,
    variants=_VARIANTS,
)

FINEACTION = OpenVocabularyProtocol(
    name="fineaction-open",
    title="FineAction open-vocabulary temporal action localization",
    subset="validation",
    tiou=fineaction.PROTOCOL.tiou,
    duplicates="remove",
    duplicate_tolerance_s=0.0,
    source=_SOURCE,
    variants=_VARIANTS,
)
