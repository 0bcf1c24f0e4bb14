"""What tools/compare.py measures of a method's detections."""

from collections.abc import Mapping
from dataclasses import replace

from tal.ops.nms import suppress
from tal.pipelines.train_finish import Scorer, in_one_class, is_agnostic
from tal.pipelines.train_samples import TrainingData
from tal.pipelines.train_settings import Recipe
from tal.segments import Segments

PROPOSALS = ("AR@10", "AR@100", "AUC")


def metrics_of(detections: Mapping[str, Segments], recipe: Recipe, data: TrainingData) -> dict[str, float]:
    """The recipe's metrics, where detections have classes; and those of proposals, where classes do not matter.

    Of methods that give classes, detections of all classes together are suppressed once more, by the method's own
    settings: the same segment under two classes is one proposal.
    """
    by_class = {} if is_agnostic(recipe) else Scorer.of(recipe, data)(detections)
    if by_class:
        nms = replace(recipe.model.nms, per_class=False, voting_tiou=0.0)
        detections = {video: suppress(in_one_class(found), nms) for video, found in detections.items()}
    proposals = Scorer.of(replace(recipe, data=replace(recipe.data, protocol="proposals", tiou=())), data)(detections)
    return {**by_class, **{name: proposals[name] for name in PROPOSALS}}
