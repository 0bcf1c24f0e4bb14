"""Rules of public evaluators of temporal detection that several benchmarks are scored with."""

from tal.datasets.protocol import Variant

ACTIVITYNET_TOOLKIT = Variant(
    settings={"duplicates": "keep"},
    source="activitynet/ActivityNet, Evaluation/eval_detection.py",
    about="all ground truth as published; BSN, BMN, G-TAD, AFSD and most work before ActionFormer",
)
ACTIONFORMER = Variant(
    settings={"duplicates": "remove"},
    source="happyharrycn/actionformer_release, libs/utils/metrics.py",
    about="duplicated and near-empty ground truth removed; ActionFormer, TriDet, TemporalMaxer and their kin",
)
OPENTAD = Variant(
    settings={"duplicates": "opentad"},
    source="sming256/OpenTAD, opentad/evaluations/mAP.py",
    about="duplicated ground truth removed, short instances kept if they have any length; OpenTAD's tables",
)
POINTTAD = Variant(
    settings={"duplicates": "keep", "union_margin_s": 1e-4},
    source="MCG-NJU/PointTAD, datasets/evaluate.py",
    about="all ground truth, 1e-4 added to every union; PointTAD and its kin",
)
COMMON = {"activitynet-toolkit": ACTIVITYNET_TOOLKIT, "actionformer": ACTIONFORMER, "opentad": OPENTAD}
"""The evaluators that are used on every benchmark of segments; one of them is the protocol's own rule."""
