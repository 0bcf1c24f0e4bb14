"""Features: our store, and folders that others made, through one door. Nothing here imports torch."""

from pathlib import Path

from tal.errors import FeatureError
from tal.features.base import FeatureSource, FeatureSpec, VideoFeatures
from tal.features.foreign import ForeignFolder
from tal.features.layout import Layout
from tal.features.store import FeatureStore

__all__ = ["FeatureSource", "FeatureSpec", "FeatureStore", "ForeignFolder", "Layout", "VideoFeatures", "open_features"]


def open_features(folder: Path | str, *, layout: Layout | None = None) -> FeatureStore | ForeignFolder:
    """Open a folder of features: a store that `tal extract` wrote, or a foreign folder with its layout.

    Raises:
        FeatureError: no such folder, no features in it, a foreign folder without layout or a store with one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FeatureError(f"feature folder {folder} does not exist", todo="make features with tal extract")
    is_store = (folder / "spec.json").exists()
    if is_store and layout is not None:
        raise FeatureError(
            f"{folder} is a store that tal extract wrote, and a layout was given",
            expected="a layout only for folders that others made: a store knows its own times",
        )
    if is_store:
        return FeatureStore.open(folder)
    if layout is None:
        raise FeatureError(
            f"{folder} has no spec.json, and no layout was given",
            cause="features that others made do not say which time each row stands for",
            todo="describe them: stride_frames, window_frames and fps, or resampled_to",
        )
    return ForeignFolder(folder, layout)
