"""Feature folders that others made: npy, npz and pt files with a described time."""

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError, GridError
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.checks import checked
from tal.features.layout import Layout
from tal.timeline import SnippetGrid

_SUFFIXES = (".npy", ".npz", ".pt", ".pth")
_TRIED, _ASKED = 32, 3


class ForeignFolder:
    """A `FeatureSource` over a flat folder with one file per video.

    Args:
        folder: Holds PREFIX + ID + ".npy", ".npz", ".pt" or ".pth", all of one kind.
        layout: What the files do not say.

    Raises:
        FeatureError: no such folder, no feature files, files of several kinds, or none of the first can be read.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        self._paths = _paths(folder, layout.prefix)
        self.spec = self._spec()

    def __repr__(self) -> str:
        return f"ForeignFolder({str(self.folder)!r}, {len(self._paths)} videos, width {self.spec.width})"

    def ids(self) -> Sequence[str]:
        """Ids of the videos that have a file, sorted."""
        return list(self._paths)

    def path(self, video: str) -> Path | None:
        """The video's file, if it has one."""
        return self._paths.get(video)

    def load(self, video: str, *, duration_s: float | None = None, fps: float | None = None) -> VideoFeatures:
        """One video's features with their grid; see `FeatureSource.load`."""
        features = checked(self._read(video), name=str(self._paths[video]), width=self.spec.width, nan=self.layout.nan)
        grid = self._grid(video, len(features), duration_s, fps)
        if duration_s is not None:
            grid.check_duration(duration_s, name=f"features of {video}")
        return VideoFeatures(video=video, features=features, grid=grid, duration_s=duration_s)

    def _spec(self) -> FeatureSpec:
        """What most of a few files are; a damaged or foreign one among them is its video's fault alone."""
        kinds: Counter[tuple[int, str]] = Counter()
        wrong: list[FeatureError] = []
        for video in islice(self._paths, _TRIED):
            try:
                found = self._read(video)
                checked(found, name=str(self._paths[video]), width=None, nan=self.layout.nan)
            except FeatureError as error:
                wrong.append(error)
                continue
            kinds[found.shape[-1], str(found.dtype)] += 1
            if kinds.total() == _ASKED:
                break
        if not kinds:
            raise wrong[0]
        ((width, dtype), _), *_ = kinds.most_common(1)
        return layout_spec(self.layout, width=width, dtype=dtype)

    def _read(self, video: str) -> NDArray[np.generic]:
        path = self._paths.get(video)
        if path is None:
            raise missing(self.folder, video, self._paths)
        array = _read_array(path, self.layout.key)
        if self.layout.axes == "CT":
            if array.ndim != 2:
                raise FeatureError(f"{path}: features of shape {array.shape}", expected="(C, T)")
            array = array.T
        return array if self.layout.columns is None else self._columns(array, path)

    def _columns(self, array: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
        first, end = self.layout.columns or (0, array.shape[-1])
        if end > array.shape[-1]:
            raise FeatureError(
                f"{path}: {array.shape[-1]} channels",
                expected=f"at least {end}, for the layout's columns {first} to {end}",
            )
        return array[..., first:end]

    def _grid(self, video: str, count: int, duration_s: float | None, fps: float | None) -> SnippetGrid:
        layout = self.layout
        if layout.resampled_to is not None:
            if count != layout.resampled_to:
                raise GridError(f"features of {video}: {count} rows", expected=f"resampled to {layout.resampled_to}")
            if duration_s is None:
                raise GridError(
                    f"features of {video} are resampled to {count} rows, and the video's duration is not known",
                    todo="give annotations that state durations",
                )
            return SnippetGrid.spanning(duration_s, count)
        rate = layout.fps or fps
        if rate is None:
            raise GridError(
                f"features of {video} are described in frames, and neither the layout nor the annotations state a rate",
                todo="give the layout's fps",
            )
        return SnippetGrid.from_frames(
            count=count,
            fps=rate,
            stride_frames=layout.stride_frames or 0.0,
            window_frames=layout.window_frames or 0.0,
            offset_frames=layout.offset_frames,
        )


def missing(folder: Path, video: str, known: Mapping[str, object]) -> FeatureError:
    """The error for a video without features, with the closest ids there are."""
    close = get_close_matches(video, known, n=3, cutoff=0.6)
    return FeatureError(
        f"no features of video {video!r} in {folder}",
        expected=f"one of its {len(known)} videos" + (f", such as {' or '.join(close)}" if close else ""),
        cause="extraction did not include it, or ids are written differently (prefix, suffix, folder)",
    )


def _paths(folder: Path, prefix: str) -> dict[str, Path]:
    """Video id -> file, sorted by id."""
    if not folder.is_dir():
        raise FeatureError(f"feature folder {folder} does not exist", expected="a folder with one file per video")
    paths = [
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.name.startswith(prefix) and not path.name.startswith(".")
    ]
    kinds = Counter(path.suffix for path in paths)
    if len(kinds) != 1:
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no such file"
        raise FeatureError(
            f"feature folder {folder} holds {found}" + (f" beginning with {prefix!r}" if prefix else ""),
            expected="files of one kind among " + ", ".join(_SUFFIXES),
        )
    return {path.stem.removeprefix(prefix): path for path in sorted(paths, key=lambda path: path.stem)}


def layout_spec(layout: Layout, *, width: int, dtype: str = "float32") -> FeatureSpec:
    """The spec of features that `layout` describes."""
    stride, window, fps = layout.stride_frames, layout.window_frames, layout.fps
    return FeatureSpec(
        backbone=layout.name,
        width=width,
        clip_frames=None if window is None else round(window),
        fps=fps,
        stride_s=stride / fps if stride and fps else None,
        window_s=window / fps if window and fps else None,
        dtype=dtype,
        resampled_to=layout.resampled_to,
    )


def _read_array(path: Path, key: str | None) -> NDArray[np.generic]:
    """The array in a file, never unpickled."""
    if path.suffix in (".pt", ".pth"):
        return _read_torch(path, key)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return np.asarray(_only(dict(content), key, path))
    except OSError as error:
        raise FeatureError(f"{path} cannot be read: {error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        pickled = "pickle" in str(error)  # numpy's words advise to load it nevertheless
        objects = "Python objects pickled into it, which could run foreign code"
        raise FeatureError(
            f"{path} is not a plain array file" + ("" if pickled else f": {error}"),
            expected="numbers saved by numpy.save or numpy.savez",
            cause=f"a damaged file, or {objects}" if pickled else "a damaged file",
            todo="save it again as a plain float array" if pickled else "",
        ) from error


def _read_torch(path: Path, key: str | None) -> NDArray[np.generic]:
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise FeatureError(
            f"{path} holds no plain tensors: {_first_line(error)}",
            expected="a tensor, or a dict of tensors, saved by torch.save",
            cause="a damaged file, or Python objects pickled into it, which could run foreign code",
        ) from error
    if isinstance(content, Mapping):
        content = _only(dict(content), key, path)
    if not isinstance(content, torch.Tensor):
        raise FeatureError(f"{path} holds a {type(content).__name__}", expected="a tensor, or a dict of tensors")
    tensor = content.detach().cpu()
    return np.asarray(tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _only(entries: dict[Any, Any], key: str | None, path: Path) -> Any:
    """The entry called `key`, or the only one."""
    if key is None and len(entries) == 1:
        return next(iter(entries.values()))
    if key not in entries:
        raise FeatureError(
            f"{path} holds {sorted(map(str, entries))}" + ("" if key is None else f", not {key!r}"),
            todo="give the layout's key",
        )
    return entries[key]
