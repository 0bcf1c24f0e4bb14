"""Video-level class scores from an external classifier, which give the detections of a class-agnostic model a class."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tal.errors import FeatureError


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
