"""What feature folders give, ours or others': a spec, and per video an array with its time grid."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError
from tal.timeline import SnippetGrid
from tal.version import STORE_SCHEMA


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """All that decides a feature's numbers; two features can be mixed only if their specs are equal.

    Args:
        backbone: The backbone's name, or what a user says a foreign folder holds.
        weights, weights_hash: Source and SHA-256 (first 16 hex digits) of the weights; "" if not known.
        width: C.
        clip_frames, fps, stride_s, window_s: Of a clip; seconds where named so. `fps` is None where it differs per
            video (foreign features described in frames of each video's own rate).
        transform: How frames became the network's input (size, mode, mean, std); empty for foreign features.
        dtype: On disk.
        resampled_to: T of features resampled to a fixed length; None otherwise.
        schema: Version of this format.
    """

    backbone: str
    weights: str = ""
    weights_hash: str = ""
    width: int
    clip_frames: int | None = None
    fps: float | None = None
    stride_s: float | None = None
    window_s: float | None = None
    transform: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    resampled_to: int | None = None
    schema: int = STORE_SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """The inverse of `as_dict`.

        Raises:
            FeatureError: written by another version, or not a spec.
        """
        known = {entry.name for entry in fields(cls)}
        if values.get("schema") != STORE_SCHEMA:
            raise FeatureError(
                f"feature spec of schema {values.get('schema')!r}",
                expected=f"schema {STORE_SCHEMA}",
                cause="written by another version of tal",
            )
        if not {"backbone", "width"} <= set(values) <= known:
            raise FeatureError(f"feature spec with keys {sorted(values)}", expected=f"keys among {sorted(known)}")
        return cls(**values)

    def differences(self, other: "FeatureSpec") -> dict[str, tuple[Any, Any]]:
        """Name -> (ours, theirs) for every entry that differs; dtype on disk does not decide compatibility."""
        ours, theirs = self.as_dict(), other.as_dict()
        return {
            name: (ours[name], theirs[name])
            for name in ours
            if name != "dtype" and _plain(ours[name]) != _plain(theirs[name])
        }


def _plain(value: Any) -> Any:
    """Values as json would give them back: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFeatures:
    """One video's features.

    Args:
        video: The id.
        features: (T, C) float.
        grid: Time of the T snippets.
        duration_s: The video's duration; None where the folder does not know it.
    """

    video: str
    features: NDArray[np.floating]
    grid: SnippetGrid
    duration_s: float | None


class FeatureSource(Protocol):
    """A folder of features."""

    spec: FeatureSpec

    def ids(self) -> Sequence[str]:
        """Ids of the videos that have features, sorted."""

    def load(self, video: str, *, duration_s: float | None = None, fps: float | None = None) -> VideoFeatures:
        """One video's features with their grid.

        Args:
            video: The id.
            duration_s: From the annotations: the grid is checked against it, and fixed-length features need it.
            fps: The video's rate from the annotations, for features that are described in frames of each video.

        Raises:
            FeatureError: missing, damaged, of another width, or with NaN.
            GridError: the grid does not fit the duration.
        """
