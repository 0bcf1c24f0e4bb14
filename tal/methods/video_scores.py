"""Video-level class scores from an external classifier, which give the detections of a class-agnostic model a class."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tal.errors import ConfigError, FeatureError
from tal.segments import Segments


def read_video_scores(path: Path, classes: Sequence[str]) -> dict[str, Tensor]:
    """Video -> (K,) scores in the order of `classes`, from json: {video: {class: score}}.

    Raises:
        FeatureError: not that, a class without a score, or a score outside [0, 1].
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = {
            video: torch.tensor([float(scores[name]) for name in classes], dtype=torch.float32)
            for video, scores in entries.items()
        }
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatureError(
            f"{path} holds no video-level scores: {error!r}",
            expected='{"VIDEO": {"CLASS": SCORE, ...}, ...}, every class',
        ) from error
    for video, row in found.items():
        if not bool(((row >= 0) & (row <= 1)).all()):  # NaN is in no range
            raise FeatureError(
                f"{path}: video-level scores of {video!r} from {row.min():g} to {row.max():g}",
                expected="scores in [0, 1]",
                cause="logits in place of probabilities",
            )
    return found


def name_detections(
    detections: Segments, video_scores: Tensor, classes: Sequence[str], *, most: int, geometric: bool
) -> Segments:
    """Every detection once for each of the video's best classes, by falling score.

    Args:
        detections: Of one video.
        video_scores: (K,) in [0, 1].
        classes: K names.
        most: So many classes.
        geometric: The new score is the square root of the product of both, otherwise the product.

    Raises:
        ConfigError: scores of another number of classes.
    """
    if video_scores.shape != (len(classes),):
        raise ConfigError(
            f"video-level scores of shape {tuple(video_scores.shape)}", expected=f"one score per class, {len(classes)}"
        )
    best, labels = video_scores.cpu().double().topk(min(most, len(classes)))
    parts = []
    for score, label in zip(best.tolist(), labels.tolist(), strict=True):
        product = score * detections.score
        named = np.full(len(detections), label)
        parts.append(replace(detections, score=np.sqrt(product) if geometric else product, label=named))
    return Segments.concat(parts).by_score()


def check_covered(videos: Iterable[str], scores: Mapping[str, Tensor]) -> None:
    """Refuse scores that leave out a video.

    Raises:
        FeatureError: videos without scores; the first of them are named.
    """
    missing = [video for video in videos if video not in scores]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FeatureError(
            f"no video-level scores of {', '.join(map(repr, missing[:5]))}{more}",
            expected="scores of every video",
            cause="other ids; the scores are of " + (", ".join(map(repr, list(scores)[:3])) or "no video"),
        )
