"""After the last epoch: score the chosen weights, choose thresholds, write the model package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tal.annotations.records import Annotations
from tal.console import track
from tal.datasets.protocol import Protocol
from tal.evaluation import evaluate
from tal.methods.base import Method
from tal.methods.batching import collate
from tal.methods.inference import predict_whole
from tal.metrics.matching import MATCH_TIOU, best_threshold, match
from tal.pipelines.train_data import WholeVideos
from tal.pipelines.train_samples import ONE_CLASS, Samples, TrainingData, as_one_class
from tal.pipelines.train_settings import Recipe
from tal.registry import PROTOCOLS
from tal.segments import Segments

_SCORED = "validation"  # several splits may be validated on together


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Detections of some videos -> metrics, by the recipe's protocol, on the annotations as published.

    Args:
        protocol: Of the recipe; its subset is left out, since the annotations hold the chosen videos only.
        tiou: Thresholds; empty: the protocol's own.
        annotations: Of the videos that are scored.
        agnostic: Detections without a class are scored against instances of one class.
    """

    protocol: Protocol
    tiou: tuple[float, ...]
    annotations: Annotations
    agnostic: bool

    @classmethod
    def of(cls, recipe: Recipe, data: TrainingData) -> "Scorer":
        """For the recipe's validation videos."""
        published = data.annotations.videos
        videos = {each.video: replace(published[each.video], subset=_SCORED) for each in data.validation.records}
        annotations = replace(data.annotations, videos=videos)
        agnostic = is_agnostic(recipe)
        protocol = PROTOCOLS.load(recipe.data.protocol).with_options(variant=recipe.data.variant)
        return cls(
            protocol=replace(protocol, subset=None),
            tiou=recipe.data.tiou,
            annotations=as_one_class(annotations) if agnostic else annotations,
            agnostic=agnostic,
        )

    def __call__(self, detections: Mapping[str, Segments]) -> dict[str, float]:
        """Metric name -> value, "mAP" among them."""
        if self.agnostic:
            detections = {video: in_one_class(found) for video, found in detections.items()}
        found = evaluate(self.protocol, self.annotations, detections, tiou=self.tiou or None)
        return {name: float(value) for name, value in found.metrics.items()}


def is_agnostic(recipe: Recipe) -> bool:
    """Whether the method's detections have no class: a class-agnostic one without video-level scores."""
    return bool(getattr(recipe.model, "class_agnostic", False)) and recipe.data.video_scores is None


def in_one_class(segments: Segments) -> Segments:
    """The segments as instances of one class."""
    return replace(segments, label=np.zeros(len(segments), np.int64), classes=ONE_CLASS)


@torch.no_grad()
def detect(method: Method, samples: Samples) -> dict[str, Segments]:
    """Detections of whole videos, one at a time; by query where they answer queries."""
    method.eval()
    device = next(method.parameters()).device
    videos = WholeVideos(samples, method.inputs)
    found = {}
    for index in track(range(len(videos)), "detecting"):
        batch = collate([videos[index]], method.inputs, train=False).to(device)
        found[batch.names[0]] = predict_whole(method, batch)[0]
    return found


def choose_thresholds(
    detections: Mapping[str, Segments], instances: Mapping[str, Segments], classes: Sequence[str]
) -> dict[str, float]:
    """Per class, the score from which on detections give the highest F1 at tIoU 0.5.

    A class without a true detection takes the threshold that is best for all classes together. Detections without a
    class are judged without regard to classes.

    Args:
        detections: Video -> detections with labels among `classes`.
        instances: Video -> instances; their class names are what is compared.
        classes: The class names.
    """
    if any(map(len, detections.values())) and all((each.label < 0).all() for each in detections.values()):
        merged = [{video: in_one_class(part) for video, part in parts.items()} for parts in (detections, instances)]
        return dict.fromkeys(classes, choose_thresholds(merged[0], merged[1], ONE_CLASS)[ONE_CLASS[0]])
    if not detections:
        return dict.fromkeys(classes, 0.0)
    videos = sorted(detections)
    label = np.array([name for video in videos for name in detections[video].names], object)
    score = np.concatenate([detections[video].score for video in videos])
    right = np.concatenate([match(detections[video], instances[video]) >= 0 for video in videos])
    names = [name for video in videos for name in instances[video].names]
    overall = best_threshold(score, right, len(names)) or 0.0
    chosen = {}
    for name in classes:
        rows = label == name
        best = best_threshold(score[rows], right[rows], names.count(name))
        chosen[name] = overall if best is None else best
    return chosen


def card(recipe: Recipe, data: TrainingData, metrics: Mapping[str, Any], command: str) -> str:
    """The model card: what it was trained on, what it reaches, how to make it again."""
    split = ", ".join(recipe.data.train_subsets)
    against = ", ".join(recipe.data.validation_subsets)
    rules = f"{recipe.data.protocol} as {recipe.data.variant}" if recipe.data.variant else recipe.data.protocol
    streams = "\n".join(
        f"- {name}: {spec.backbone}, width {spec.width}, weights {spec.weights or 'not stated'}"
        for name, spec in data.specs.items()
    )
    scores = "\n".join(f"- {name}: {value:.4f}" for name, value in metrics.items() if isinstance(value, float))
    learned = f"{len(data.train)} videos of {split}, {len(data.classes)} classes: {', '.join(data.classes)}"
    shown = f"Thresholds per class: the highest F1 at tIoU {MATCH_TIOU} on {against or split}."
    if data.text is not None:
        streams += f"\n- text: {data.text.backbone}, width {data.text.width}"
        learned, shown = f"{len(data.train)} queries", "All answers are shown, by falling score."
    return f"""# {recipe.method} on {recipe.data.annotations.name}

## Data
{learned}.
Annotations: {recipe.data.annotations.name}. Their licence is not stated: look it up before the model is passed on.

## Features
{streams}

The licence of the backbone's weights is not stated: look it up before the model is passed on.

## Result
{"On " + against if against else "Not validated"}, protocol {rules}, seed {recipe.trainer.seed}, \
{recipe.trainer.keep} epoch of {recipe.trainer.max_epochs}, running mean of the weights:
{scores or "- none"}

{shown}

## Made by
```
{command}
```
"""
