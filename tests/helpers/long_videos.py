"""Features of videos of any length, a chunk at a time.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from long_videos import GRID, features_of, stream
"""

import numpy as np

from tal.methods.windows import FeatureStream
from tal.timeline import SnippetGrid

GRID = SnippetGrid(offset_s=0.5, stride_s=0.2, window_s=0.8, count=0)


def stream(features, chunk=37, video="v"):
    chunks = [features[first : first + chunk] for first in range(0, len(features), chunk)]
    duration_s = GRID.offset_s + len(features) * GRID.stride_s + 1.0
    return FeatureStream(video=video, chunks={"a": iter(chunks)}, grid=GRID, duration_s=duration_s)


def features_of(count):
    return np.random.default_rng(count).normal(size=(count, 6)).astype(np.float32)
