"""The stores that one run of tal extract wrote: one, or one per output of the backbone."""

from pathlib import Path

from tal.features.store import FeatureStore


def open_stores(folder: Path) -> list[FeatureStore]:
    """The store in a folder, or those below it, where a backbone with several outputs was used.

    Raises:
        FeatureError: no store there.
    """
    if not (folder / "spec.json").exists() and folder.is_dir():
        below = sorted(path.parent for path in folder.glob("*/spec.json"))
        if below:
            return [FeatureStore.open(path) for path in below]
    return [FeatureStore.open(folder)]
