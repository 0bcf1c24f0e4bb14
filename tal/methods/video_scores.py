"""Video-level class scores from an external classifier, which give the detections of a class-agnostic model a class."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tal.errors import ConfigError, FeatureError
from tal.segments import Segments

_EXPECTED = '{"VIDEO": {"CLASS": SCORE, ...}, ...}, or {"class": [NAMES], "results": {"VIDEO": [SCORES], ...}}'


def read_video_scores(path: Path, classes: Sequence[str]) -> dict[str, Tensor]:
    """Video -> (K,) scores in the order of `classes`, from json; scores of other classes are left out.

    Either `{VIDEO: {CLASS: score}}`, or what published classifiers' files hold (CUHK's of ActivityNet, as OpenTAD and
    ActionFormer read them): `{"class": [names], "results": {VIDEO: [scores]}}`, the list in another one or not.

    Raises:
        FeatureError: not that, a class without a score, or a score outside [0, 1].
    """
    found = {video: _row(scores, classes, video, path) for video, scores in _by_class(path).items()}
    for video, row in found.items():
        if not bool(((row >= 0) & (row <= 1)).all()):  # NaN is in no range
            raise FeatureError(
                f"{path}: video-level scores of {video!r} from {row.min():g} to {row.max():g}",
                expected="scores in [0, 1]",
                cause="logits in place of probabilities" if bool((row < 0).any()) else "scores on another scale",
                todo="write the softmax of logits, or divide all scores by the largest, which changes no order",
            )
    return found


def _by_class(path: Path) -> dict[str, dict[str, object]]:
    """Video -> class -> score, as written."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FeatureError(f"{path} holds no video-level scores: {error}", expected=_EXPECTED) from error
    if not isinstance(entries, dict):
        raise FeatureError(f"{path} holds a json {type(entries).__name__}", expected=_EXPECTED)
    names = _names(entries.get("class", entries.get("classes")))
    if names and isinstance(entries.get("results"), dict):
        named = {video: _named(scores, names, video, path) for video, scores in entries["results"].items()}
    else:
        named = entries
    for video, scores in named.items():
        if not isinstance(scores, dict):
            raise FeatureError(
                f"{path}: scores of {video!r} without the classes' names",
                expected=_EXPECTED,
                todo='where their order is known: {"class": [NAMES], "results": {VIDEO: [SCORES]}}',
            )
    return named


def _names(found: object) -> list[str]:
    """The classes that a published classifier's file names; none, where that is no list of distinct names."""
    names = [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
    return names if found == names and len(names) == len({*names}) else []


def _named(scores: object, names: list[str], video: str, path: Path) -> dict[str, object]:
    row = scores[0] if isinstance(scores, list) and len(scores) == 1 and isinstance(scores[0], list) else scores
    if not isinstance(row, list) or len(row) != len(names):
        given = f"{len(row)} scores" if isinstance(row, list) else f"a {type(row).__name__}"
        raise FeatureError(f"{path}: {given} of {video!r}", expected=f"a list of {len(names)}, one per class")
    return dict(zip(names, row, strict=True))


def _row(scores: Mapping[str, object], classes: Sequence[str], video: str, path: Path) -> Tensor:
    missing = [name for name in classes if name not in scores]
    if missing:
        close = get_close_matches(missing[0], scores, n=1)
        raise FeatureError(
            f"{path}: no score of class {missing[0]!r} for {video!r}"
            + (f", nor of {len(missing) - 1} more" if len(missing) > 1 else ""),
            expected=f"every class of the model, {len(classes)}",
            cause=f"classes that are written differently: there is {close[0]!r}"
            if close
            else "another data set's classes",
        )
    try:
        return torch.tensor([float(scores[name]) for name in classes], dtype=torch.float32)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise FeatureError(f"{path}: scores of {video!r} that are no numbers: {error}", expected=_EXPECTED) from error


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
