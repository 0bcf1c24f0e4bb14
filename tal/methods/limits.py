"""Columns that a localizer's candidates carry until suppression: where they came from, how long their video is."""

from dataclasses import replace

import numpy as np

from tal.segments import Segments

POINT, DURATION = "point_s", "duration_s"
"""Of `Segments.extra`: the time of the point that proposed a candidate, and its video's duration, seconds."""


def within_video(candidates: Segments) -> Segments:
    """Both ends limited to [0, duration], where that is known; what lies outside of the video is then empty."""
    if DURATION not in candidates.extra:
        return candidates
    limit_s = candidates.extra[DURATION]
    start_s, end_s = np.clip(candidates.start_s, 0.0, limit_s), np.clip(candidates.end_s, 0.0, limit_s)
    return replace(candidates, start_s=start_s, end_s=end_s)


def without_columns(candidates: Segments) -> Segments:
    """Without both columns; others are kept."""
    extra = {name: column for name, column in candidates.extra.items() if name not in (POINT, DURATION)}
    return replace(candidates, extra=extra)
