"""Videos to features: a whole set into a store, or one video in bounded memory.

Frames are taken at 0, 1/fps, 2/fps, ... seconds of the video, each the one with the nearest pts. Snippet i is made of
the sampled frames from i * stride_frames on, clip_frames of them: it spans [i * stride_s, + clip_frames / fps].
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tal.backbones.base import Backbone, BackboneSpec
from tal.console import track
from tal.errors import FeatureError
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.clips import ClipBatcher, default_batch_clips, sampling_fps
from tal.features.decoding import CHUNK_FRAMES, BackgroundDecoder, Chunk, Ended
from tal.features.files import WriteError
from tal.features.store import Failure, FeatureStore
from tal.timeline import SnippetGrid
from tal.video import open_video

_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Summary:
    """What became of the videos.

    Args:
        done: Ids whose features were made now.
        skipped: Ids that were finished before.
        failed: Failures of now, and those of before that were not tried again.
        replaced: Ids whose file was another one than the store's record says; their features were made anew.
        video_s: Seconds of video in `done`.
        wall_s: Seconds that it took.
        waited_s: Of these, seconds in which the network had to wait for frames.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    video_s: float = 0.0
    wall_s: float = 0.0
    waited_s: float = 0.0

    @property
    def binding(self) -> Literal["decoding", "the network"]:
        """What a faster machine would have to do faster."""
        return "decoding" if self.waited_s > 0.5 * self.wall_s else "the network"


def feature_spec(spec: BackboneSpec, *, dtype: Literal["float16", "float32"] = "float16") -> FeatureSpec:
    """The spec of the features that a backbone gives."""
    return FeatureSpec(
        backbone=spec.name,
        weights=spec.weights,
        weights_hash=spec.weights_hash,
        width=spec.width,
        clip_frames=spec.clip_frames,
        fps=spec.fps,
        stride_s=spec.stride_s,
        window_s=spec.window_s,
        transform={**asdict(spec.resize), "mean": list(spec.mean), "std": list(spec.std), **spec.stage},
        dtype=dtype,
    )


def extract(
    videos: Mapping[str, Path],
    backbone: Backbone,
    store: FeatureStore,
    *,
    batch_clips: int | None = None,
    retry_failed: bool = False,
    decoders: int = 1,
    decoder: str = "pyav",
) -> Summary:
    """Make the features of many videos. May be interrupted or killed at any time, and run again.

    Args:
        videos: id -> path.
        backbone: In inference mode, on its device.
        store: Of the backbone's spec.
        batch_clips: Clips per run of the network; None for a number that suits the device.
        retry_failed: Try again what is recorded as failed. A failed or finished video whose file was replaced since is
            always done again.
        decoders: Videos decoded at once, in threads.
        decoder: A name in `tal.video.DECODERS`; torchcodec decodes where the backbone is.

    Raises:
        FeatureError: a store of another spec.
        WriteError: the store cannot be written; finished videos are kept.
    """
    spec = backbone.spec
    _check_spec(store.spec, spec)
    batcher = _batcher(backbone, batch_clips)
    source = BackgroundDecoder(
        videos,
        resize=spec.resize,
        fps=sampling_fps(spec),
        store=store,
        retry_failed=retry_failed,
        threads=max(1, min(decoders, len(videos))),
        decoder=decoder,
        device=str(next(backbone.parameters()).device) if decoder == "torchcodec" else "cpu",
    )
    run = _Run(batcher, store, spec)
    began = time.monotonic()
    try:
        for _ in track(run.videos(source), "extract", total=len(videos)):
            run.summary.wall_s, run.summary.waited_s = time.monotonic() - began, source.waited_s
    finally:
        source.close()
    return run.summary


def stream_video(
    path: Path, backbone: Backbone, *, video: str | None = None, batch_clips: int | None = None
) -> Iterator[VideoFeatures]:
    """One video's features, piece by piece, in memory that does not grow with its length.

    Args:
        path: The file.
        backbone: In inference mode, on its device.
        video: The id; the file's stem if None.
        batch_clips: Clips per run of the network; None for a number that suits the device.

    Yields:
        Features of consecutive snippets with the grid of just these. `duration_s` is the whole video's.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    spec, name = backbone.spec, path.stem if video is None else video
    batcher = _batcher(backbone, batch_clips)
    first = 0

    def ready() -> Iterator[VideoFeatures]:
        nonlocal first
        for _, rows in batcher.ready():
            whole = snippet_grid(spec, first + len(rows))
            grid = whole.slice(first, first + len(rows))
            first += len(rows)
            yield VideoFeatures(video=name, features=rows, grid=grid, duration_s=duration_s)

    with open_video(path, resize=spec.resize) as reader:
        duration_s = reader.info.duration_s
        for frames in reader.sampled(sampling_fps(spec), CHUNK_FRAMES):
            batcher.feed(name, frames.pixels)
            yield from ready()
        batcher.end(name)
        batcher.flush()
        yield from ready()
        for loss in reader.losses:
            _LOG.warning("%s: %s", path, loss)


def extract_video(
    path: Path, backbone: Backbone, *, video: str | None = None, batch_clips: int | None = None
) -> VideoFeatures:
    """One video's features in memory, float32; see `stream_video`."""
    parts = list(stream_video(path, backbone, video=video, batch_clips=batch_clips))
    features = np.concatenate([part.features for part in parts])
    grid = snippet_grid(backbone.spec, len(features))
    return VideoFeatures(video=parts[0].video, features=features, grid=grid, duration_s=parts[0].duration_s)


def snippet_grid(spec: BackboneSpec, count: int) -> SnippetGrid:
    """The time of `count` snippets of a backbone."""
    return SnippetGrid(stride_s=spec.stride_s, window_s=spec.window_s, count=count)


def _batcher(backbone: Backbone, batch_clips: int | None) -> ClipBatcher:
    device = str(next(backbone.parameters()).device)
    return ClipBatcher(backbone, default_batch_clips(backbone.spec, device) if batch_clips is None else batch_clips)


def _check_spec(stored: FeatureSpec, spec: BackboneSpec) -> None:
    different = feature_spec(spec).differences(stored)
    if different:
        rows = [f"{name}: backbone {ours!r}, store {theirs!r}" for name, (ours, theirs) in different.items()]
        raise FeatureError("the store is of another spec:\n    " + "\n    ".join(rows), expected="the backbone's spec")


@dataclass(kw_only=True)
class _Open:
    """A video between its first frame and its last feature. `rows`: room for the features, `count` of them there."""

    source: Mapping[str, Any]
    duration_s: float
    rows: NDArray[np.floating]
    count: int = 0
    total: int | None = None
    losses: tuple[str, ...] = ()
    replaced: bool = False


class _Run:
    """The bookkeeping of one call of `extract`."""

    def __init__(self, batcher: ClipBatcher, store: FeatureStore, spec: BackboneSpec) -> None:
        self._batcher, self._store, self._spec = batcher, store, spec
        self._open: dict[str, _Open] = {}
        self.summary = Summary()

    def videos(self, decoder: BackgroundDecoder) -> Iterator[str]:
        """Ids as they are through, done, skipped or failed."""
        for item in decoder:
            if isinstance(item, Chunk):
                self._begin(item)
                self._batcher.feed(item.video, item.pixels)
            else:
                yield from self._ended(item)
            yield from self._received()
        self._batcher.flush()
        yield from self._received()

    def _begin(self, chunk: Chunk) -> None:
        if chunk.video not in self._open:
            expected = int(chunk.info.duration_s / self._spec.stride_s) + 2
            rows = np.empty((expected, self._spec.width), self._store.spec.dtype)
            self._open[chunk.video] = _Open(source=chunk.source, duration_s=chunk.info.duration_s, rows=rows)

    def _ended(self, item: Ended) -> Iterator[str]:
        if item.state == "done":
            self.summary.skipped.append(item.video)
            yield item.video
            return
        known = self._store.failure(item.video) if item.state == "failed" else None
        if known is not None and not item.source:
            self.summary.failed.append(known)
            yield item.video
        elif item.failure is not None:
            self._batcher.drop(item.video)
            self._open.pop(item.video, None)
            self._fail(item.video, *item.failure, item.source)
            yield item.video
        elif item.video in self._open:
            video = self._open[item.video]
            video.losses, video.replaced = item.losses, item.state == "replaced"
            video.total = self._batcher.end(item.video)

    def _received(self) -> Iterator[str]:
        for name, rows in self._batcher.ready():
            video = self._open.get(name)
            if video is None:
                continue
            stop = video.count + len(rows)
            if stop > len(video.rows):
                video.rows = np.concatenate([video.rows, np.empty_like(video.rows)])
            with np.errstate(over="ignore"):
                video.rows[video.count : stop] = rows
            video.count = stop
        for name in [name for name, video in self._open.items() if video.count == video.total]:
            self._finish(name, self._open.pop(name))
            yield name

    def _finish(self, name: str, video: _Open) -> None:
        try:
            self._store.write(
                name,
                video.rows[: video.count],
                snippet_grid(self._spec, video.count),
                duration_s=video.duration_s,
                source=video.source,
                losses=video.losses,
            )
        except WriteError:
            raise
        except FeatureError as error:
            self._fail(name, "network", error.given, video.source)
            return
        self.summary.done.append(name)
        self.summary.video_s += video.duration_s
        if video.replaced:
            self.summary.replaced.append(name)
            _LOG.info("%s: its file was replaced since; features made anew", name)
        for loss in video.losses:
            _LOG.warning("%s: %s", name, loss)

    def _fail(self, name: str, stage: str, reason: str, source: Mapping[str, Any]) -> None:
        _LOG.warning("%s: %s failed: %s", name, stage, reason)
        self.summary.failed.append(self._store.record_failure(name, stage=stage, error=reason, source=source))
