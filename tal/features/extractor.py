"""Videos to features: a whole set into a store, or one video in bounded memory.

Frames are taken at 0, 1/fps, 2/fps, ... seconds of the video, each the one with the nearest pts. Snippet i is made of
the sampled frames from i * stride_frames on, clip_frames of them: it spans [i * stride_s, + clip_frames / fps].
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tal.backbones.base import FEATURES, Backbone, BackboneSpec
from tal.console import track
from tal.errors import FeatureError
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.clips import ClipBatcher, Key, default_batch_clips, sampling_fps
from tal.features.decoding import CHUNK_FRAMES, BackgroundDecoder, Chunk, DecodeSettings, Ended
from tal.features.store import FeatureStore, State
from tal.features.summary import Summary
from tal.features.writer import Finished, Writer
from tal.timeline import SnippetGrid
from tal.video import VideoReader, open_video, safe_name
from tal.video.process import PATIENCE

__all__ = [
    "Summary",
    "create_stores",
    "extract",
    "extract_video",
    "feature_spec",
    "snippet_grid",
    "stream_video",
]

_LOG = logging.getLogger(__name__)


def feature_spec(
    spec: BackboneSpec, output: str = FEATURES, *, dtype: Literal["float16", "float32"] = "float16"
) -> FeatureSpec:
    """The spec of the features that a backbone gives.

    Args:
        spec: Of the backbone.
        output: Which of its outputs.
        dtype: On disk.
    """
    given = spec.output(spec.outputs[0] if output == FEATURES and output not in spec.outputs else output)
    marks = {
        "output": given.name if given.name != FEATURES else None,
        "tokens": given.tokens,
        "precision": spec.dtype if spec.dtype != "float32" else None,
    }
    transform = {**asdict(spec.resize), "mean": list(spec.mean), "std": list(spec.std), **spec.stage}
    return FeatureSpec(
        backbone=spec.name,
        weights=spec.weights,
        weights_hash=spec.weights_hash,
        width=given.width,
        clip_frames=spec.clip_frames,
        fps=spec.fps,
        stride_s=spec.stride_s,
        window_s=spec.window_s,
        transform=transform | {name: value for name, value in marks.items() if value is not None},
        dtype=dtype,
    )


def create_stores(
    out: Path, spec: BackboneSpec, *, dtype: Literal["float16", "float32"] = "float16"
) -> dict[str, FeatureStore]:
    """Output of the backbone -> its store: OUT itself, or OUT/NAME of each where there are several.

    Raises:
        FeatureError: a folder that holds a store of another spec, or other files.
        WriteError: a folder cannot be written.
    """
    several = len(spec.outputs) > 1
    return {
        output: FeatureStore.create(
            out / safe_name(output, dots=True) if several else out, feature_spec(spec, output, dtype=dtype)
        )
        for output in spec.outputs
    }


def extract(
    videos: Mapping[str, Path],
    backbone: Backbone,
    store: FeatureStore | Mapping[str, FeatureStore],
    *,
    batch_clips: int | None = None,
    retry_failed: bool = False,
    decoders: int = 1,
    decoder: str = "pyav",
    patience: float = PATIENCE,
    isolate: bool = True,
) -> Summary:
    """Make the features of many videos. May be interrupted or killed at any time, and run again.

    Decoders, the way to a GPU, the network and the writer work at the same time, and wait for each other.

    Args:
        videos: id -> path.
        backbone: In inference mode, on its device.
        store: Of the backbone's spec; of each of its outputs by name where there are several (`create_stores`).
        batch_clips: Clips per run of the network; None for a number that suits the device.
        retry_failed: Try again what is recorded as failed. A failed or finished video whose file was replaced since is
            always done again.
        decoders: Videos decoded at once, each in a process of its own.
        decoder: A name in `tal.video.DECODERS`, or "auto": by the rules of `tal.video.auto`, and where one fails, the
            next; torchcodec decodes where the backbone is, and on the CPU where that fails.
        patience: How many times its own duration, and that of two seconds more, a video's decoder may keep us waiting
            before it is ended and the video fails.
        isolate: False: decode in threads, which a decoder that crashes takes down with everything.

    Raises:
        FeatureError: a store of another spec.
        WriteError: a store cannot be written; finished videos are kept.
    """
    spec = backbone.spec
    stores = {spec.outputs[0]: store} if isinstance(store, FeatureStore) else dict(store)
    check_stores(stores, spec)
    batcher = clip_batcher(backbone, batch_clips)
    settings = DecodeSettings(
        resize=spec.resize,
        fps=sampling_fps(spec),
        device=next(backbone.parameters()).device,
        decoder=decoder,
        patience=patience,
        isolate=isolate,
        retry_failed=retry_failed,
    )
    workers = max(1, min(decoders, len(videos)))
    source = BackgroundDecoder(videos.items(), settings, state=partial(joint_state, stores), workers=workers)
    writer = Writer(stores, partial(snippet_grid, spec))
    run = Run(batcher, writer, stores)
    summary = run.summary
    summary.decoders, summary.device = workers, settings.device.type
    began = time.monotonic()
    try:
        for _ in track(run.videos(source), "extract", total=len(videos)):
            pass
    finally:
        source.close()
        writer.close()
        summary.wall_s, summary.waited_s = time.monotonic() - began, source.waited_s
        summary.decode_s, summary.network_s = source.busy_s, batcher.busy_s
    return summary


def stream_video(
    path: Path,
    backbone: Backbone,
    *,
    video: str | None = None,
    batch_clips: int | None = None,
    isolate: bool = False,
) -> Iterator[VideoFeatures]:
    """One video's features, piece by piece, in memory that does not grow with its length: the backbone's first output.

    Args:
        path: The file.
        backbone: In inference mode, on its device.
        video: The id; the file's stem if None.
        batch_clips: Clips per run of the network; None for a number that suits the device.
        isolate: Decode in a process of its own, so that a decoder that crashes or stands still costs this video only;
            it takes half a second to start.

    Yields:
        Features of consecutive snippets with the grid of just these. `duration_s` is the whole video's.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    spec, name = backbone.spec, path.stem if video is None else video
    batcher = clip_batcher(backbone, batch_clips)
    first = 0

    def ready() -> Iterator[VideoFeatures]:
        nonlocal first
        for _, outputs in batcher.ready():
            rows = next(iter(outputs.values()))
            whole = snippet_grid(spec, first + len(rows))
            grid = whole.slice(first, first + len(rows))
            first += len(rows)
            yield VideoFeatures(video=name, features=rows, grid=grid, duration_s=duration_s)

    with _opened(path, spec, isolate) as reader:
        duration_s = reader.info.duration_s
        for frames in reader.sampled(sampling_fps(spec), CHUNK_FRAMES):
            batcher.feed((name, 0), frames.pixels)
            yield from ready()
        batcher.end((name, 0))
        batcher.flush()
        yield from ready()
        for loss in reader.losses:
            _LOG.warning("%s: %s", path, loss)


def _opened(path: Path, spec: BackboneSpec, isolate: bool) -> VideoReader:
    """The reader, in a process if asked and if there can be one."""
    if isolate:
        try:
            return open_video(path, resize=spec.resize, isolate=True)
        except OSError as error:
            _LOG.warning("no process can be started (%s): decoding in this one", error)
    return open_video(path, resize=spec.resize)


def extract_video(
    path: Path,
    backbone: Backbone,
    *,
    video: str | None = None,
    batch_clips: int | None = None,
    isolate: bool = False,
) -> VideoFeatures:
    """One video's features in memory, float32; see `stream_video`."""
    parts = list(stream_video(path, backbone, video=video, batch_clips=batch_clips, isolate=isolate))
    features = np.concatenate([part.features for part in parts])
    grid = snippet_grid(backbone.spec, len(features))
    return VideoFeatures(video=parts[0].video, features=features, grid=grid, duration_s=parts[0].duration_s)


def snippet_grid(spec: BackboneSpec, count: int) -> SnippetGrid:
    """The time of `count` snippets of a backbone."""
    return SnippetGrid(stride_s=spec.stride_s, window_s=spec.window_s, count=count)


def clip_batcher(backbone: Backbone, batch_clips: int | None) -> ClipBatcher:
    """Batches of so many clips, or of a number that suits the backbone's device."""
    device = str(next(backbone.parameters()).device)
    return ClipBatcher(backbone, default_batch_clips(backbone.spec, device) if batch_clips is None else batch_clips)


def check_stores(stores: Mapping[str, FeatureStore], spec: BackboneSpec) -> None:
    """Refuse stores that are not those of the backbone.

    Raises:
        FeatureError: with the differences.
    """
    if set(stores) != set(spec.outputs):
        raise FeatureError(
            f"stores of {', '.join(sorted(stores))} for a backbone that gives {', '.join(sorted(spec.outputs))}",
            expected="one store per output",
        )
    for output, store in stores.items():
        different = feature_spec(spec, output).differences(store.spec)
        if different:
            rows = [f"{name}: backbone {ours!r}, store {theirs!r}" for name, (ours, theirs) in different.items()]
            raise FeatureError(
                "the store is of another spec:\n    " + "\n    ".join(rows), expected="the backbone's spec"
            )


_FIRST_OF: tuple[State, ...] = ("replaced", "damaged", "failed", "new", "done")


def joint_state(stores: Mapping[str, FeatureStore], video: str, path: Path) -> State:
    """Where a video stands: done when it is in every store."""
    states = {store.state(video, path) for store in stores.values()}
    return next(state for state in _FIRST_OF if state in states)


@dataclass(kw_only=True)
class _Open:
    """A video between its first frame and its last feature: how many snippets the writer has, and how many come."""

    source: Mapping[str, Any]
    duration_s: float
    count: int = 0
    total: int | None = None
    losses: tuple[str, ...] = ()
    state: State = "new"


class Run:
    """The bookkeeping of one call of `extract`: what decoders give goes through the network to the writer."""

    def __init__(self, batcher: ClipBatcher, writer: Writer, stores: Mapping[str, FeatureStore]) -> None:
        self._batcher, self._writer, self._stores = batcher, writer, stores
        self._open: dict[Key, _Open] = {}
        self.summary = Summary()

    def videos(self, decoder: Iterable[Chunk | Ended]) -> Iterator[str]:
        """Ids as they are through, done, skipped or failed."""
        for item in decoder:
            if isinstance(item, Chunk):
                self._feed(item)
            else:
                yield from self._ended(item)
            self._write()
            yield from self._through()
        self._batcher.flush()
        self._write()
        self._writer.end()
        yield from self._through()

    def _feed(self, chunk: Chunk) -> None:
        key = chunk.video, chunk.attempt
        if key not in self._open:
            self.forget(chunk.video)
            self._open[key] = _Open(source=chunk.source, duration_s=chunk.info.duration_s)
        self._batcher.feed(key, chunk.frames.here())

    def forget(self, video: str) -> None:
        """Drop what an attempt before gave, or one that comes to nothing."""
        for key in [key for key in self._open if key[0] == video]:
            del self._open[key]
            self._batcher.drop(key)
            self._writer.drop(video)

    def _ended(self, item: Ended) -> Iterator[str]:
        key = item.video, item.attempt
        if item.state == "done":
            self.summary.skipped.append(item.video)
            yield item.video
        elif item.state == "failed" and not item.source:
            known = (store.failure(item.video) for store in self._stores.values())
            self.summary.failed.extend([failure for failure in known if failure is not None][:1])
            yield item.video
        elif item.failure is not None:
            self.forget(item.video)
            self._writer.fail(item.video, *item.failure, item.source)
        elif key in self._open:
            video = self._open[key]
            video.losses, video.state = item.losses, item.state
            video.total = self._batcher.end(key)
            self._write()
            if key in self._open:
                self._finish_if_whole(key, video)

    def _write(self) -> None:
        """Hand what the network gave to the writer."""
        for key, outputs in self._batcher.ready():
            video = self._open.get(key)
            if video is not None:
                self._writer.append(key[0], outputs)
                video.count += len(next(iter(outputs.values())))
                self._finish_if_whole(key, video)

    def _finish_if_whole(self, key: Key, video: _Open) -> None:
        if video.count == video.total:
            del self._open[key]
            finished = Finished(
                duration_s=video.duration_s, source=video.source, losses=video.losses, state=video.state
            )
            self._writer.finish(key[0], finished)

    def _through(self) -> Iterator[str]:
        """Take note of what the writer has done."""
        for outcome in self._writer.outcomes():
            if outcome.failure is not None:
                self.summary.failed.append(outcome.failure)
            elif outcome.finished is not None:
                self._done(outcome.video, outcome.finished)
            yield outcome.video

    def _done(self, name: str, finished: Finished) -> None:
        self.summary.done.append(name)
        self.summary.video_s += finished.duration_s
        if finished.state == "replaced":
            self.summary.replaced.append(name)
            _LOG.info("%s: its file was replaced since; features made anew", name)
        for tried in finished.source.get("tried", ()):
            _LOG.warning("%s: %s: %s failed: %s", name, tried["decoder"], tried["stage"], tried["error"])
        for loss in finished.losses:
            _LOG.warning("%s: %s", name, loss)
