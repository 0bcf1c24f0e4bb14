"""What instances are like: length, coverage, how many there are; and the buckets that these are sorted into.

The buckets of THUMOS14 and ActivityNet are DETAD's (src/sensitivity_analysis.py); for other sets quantiles serve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal.metrics.detection import Rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scheme = Literal["auto", "thumos14", "activitynet", "quantiles"]

LENGTH, COVERAGE, INSTANCES = "length", "coverage", "instances"
ABOUT = {
    LENGTH: "seconds",
    COVERAGE: "share of the video",
    INSTANCES: "of the same class in the video",
}

_INF = float("inf")
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "thumos14": {
        LENGTH: (0, 3, 6, 12, 18, _INF),
        COVERAGE: (0, 0.02, 0.04, 0.06, 0.08, 1),
        INSTANCES: (0, 1, 40, 80, _INF),
    },
    "activitynet": {
        LENGTH: (0, 30, 60, 120, 180, _INF),
        COVERAGE: (0, 0.2, 0.4, 0.6, 0.8, 1),
        INSTANCES: (0, 1, 4, 8, _INF),
    },
}
_NAMES = {
    1: ("all",),
    2: ("S", "L"),
    3: ("S", "M", "L"),
    4: ("XS", "S", "M", "L"),
    5: ("XS", "S", "M", "L", "XL"),
}
_CROWDED = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Buckets:
    """One characteristic, its buckets, and which instance is in which.

    Args:
        name: The characteristic.
        edges: (B + 1,) bucket b holds the values above edges[b] up to edges[b + 1]; the first holds its lower edge too.
        scheme: Whose buckets: "thumos14" or "activitynet" of DETAD, or "quantiles".
        of: (G,) bucket of each instance; -1 where the value is unknown or outside the edges.
    """

    name: str
    edges: tuple[float, ...]
    scheme: str
    of: Ints

    @property
    def names(self) -> tuple[str, ...]:
        """XS, S, M, L, XL, or fewer."""
        return _NAMES[len(self.edges) - 1]


def measure(truth: Rows, durations_s: Sequence[float | None]) -> dict[str, Floats]:
    """Characteristic -> (G,) value of each instance; NaN where it is unknown.

    Instances are counted within their class and video. The characteristics that DETAD publishes for THUMOS14 have the
    same lengths and coverage, but count the instances of all classes in the video.

    Args:
        truth: Ground truth; `video_idx` is a position in `durations_s`.
        durations_s: Of each video, seconds; None where it is not known.
    """
    length = truth.end_s - truth.start_s
    duration = np.array([np.nan if each is None or each <= 0 else each for each in durations_s], np.float64)
    pairs = np.stack([truth.video_idx, truth.label])
    _, inverse, counts = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    return {
        LENGTH: length,
        COVERAGE: length / duration[truth.video_idx],
        INSTANCES: counts[inverse.reshape(-1)].astype(np.float64),
    }


def sort_into_buckets(values: Mapping[str, Floats], *, protocol: str, scheme: Scheme = "auto") -> list[Buckets]:
    """The buckets of each characteristic; one whose values are all unknown is left out.

    Args:
        values: As `measure` gives them.
        protocol: Its name; THUMOS14 and ActivityNet have published buckets.
        scheme: "auto" takes the protocol's published buckets, if it has some and none of them holds over 90 % of the
            instances, otherwise five quantiles; fewer where values repeat.
    """
    known = {name: each for name, each in values.items() if not np.isnan(each).all()}
    return [_sorted(name, each, protocol if scheme == "auto" else scheme, scheme) for name, each in known.items()]


def _sorted(name: str, values: Floats, wanted: str, scheme: Scheme) -> Buckets:
    if wanted in PUBLISHED:
        edges = PUBLISHED[wanted][name]
        of = _bucket_of(values, edges)
        fullest = np.bincount(of[of >= 0], minlength=1).max() / max(int((of >= 0).sum()), 1)
        if scheme != "auto" or fullest <= _CROWDED:
            return Buckets(name=name, edges=edges, scheme=wanted, of=of)
    edges = _quantiles(values[~np.isnan(values)])
    return Buckets(name=name, edges=edges, scheme="quantiles", of=_bucket_of(values, edges))


def _quantiles(values: Floats) -> tuple[float, ...]:
    """Edges at fifths of the values, each a value that occurs; the lowest has a bucket alone if it is so frequent."""
    fifths = np.quantile(values, np.arange(6) / 5, method="inverted_cdf")
    edges = np.unique(fifths).tolist()
    return tuple([edges[0], *edges] if fifths[1] == fifths[0] else edges)


def _bucket_of(values: Floats, edges: Sequence[float]) -> Ints:
    """(G,) index of the bucket that is open below and closed above; -1 for NaN and values outside."""
    of = np.searchsorted(np.asarray(edges), values, "left") - 1
    of = np.where(values == edges[0], 0, of)
    inside = (values >= edges[0]) & (values <= edges[-1])
    return np.where(inside, of, -1)
