"""Sound to features: the extractor for audio backbones, with the same store, records and resumption as for pictures.

Snippet i stands for [i * stride_s, + window_s] of the video's time: 0 is the first frame, silence stands where the
sound begins later, has gaps or ends earlier, and what lies outside the video is left out. In a file without pictures 0
is the first sample.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tal.audio.base import AudioBackbone, AudioSpec
from tal.audio.reader import RemoteSound, SoundReader
from tal.console import track
from tal.errors import FeatureError, TalError
from tal.features.audio_decoding import BackgroundSound, ExampleReader, Floats, SoundEnded
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.files import WriteError
from tal.features.rows import Rows
from tal.features.store import FeatureStore
from tal.features.summary import Summary
from tal.timeline import SnippetGrid
from tal.video.process import PATIENCE, WorkerProcess

_LOG = logging.getLogger(__name__)

_BATCH = {"cpu": 16, "cuda": 128}


def audio_feature_spec(spec: AudioSpec, *, dtype: Literal["float16", "float32"] = "float16") -> FeatureSpec:
    """The spec of the features that an audio backbone gives."""
    return FeatureSpec(
        backbone=spec.name,
        weights=spec.weights,
        weights_hash=spec.weights_hash,
        width=spec.width,
        stride_s=spec.stride_s,
        window_s=spec.window_s,
        transform={"log_mel": asdict(spec.log_mel), "example_frames": spec.example_frames},
        dtype=dtype,
    )


def audio_grid(spec: AudioSpec, count: int) -> SnippetGrid:
    """The time of `count` snippets of an audio backbone."""
    return SnippetGrid(stride_s=spec.stride_s, window_s=spec.window_s, count=count)


def extract_audio(
    videos: Mapping[str, Path],
    backbone: AudioBackbone,
    store: FeatureStore,
    *,
    batch_examples: int | None = None,
    retry_failed: bool = False,
    decoders: int = 1,
    patience: float = PATIENCE,
    isolate: bool = True,
) -> Summary:
    """Make the features of the sound of many files. May be interrupted or killed at any time, and run again.

    A video without sound is recorded as failed at stage "audio".

    Args:
        videos: id -> path; files of sound alone (m4a, wav, mp3, ...) too.
        backbone: In inference mode, on its device.
        store: Of `audio_feature_spec(backbone.spec)`.
        batch_examples: Examples per run of the network, also of the last run, which is filled up, so that a snippet's
            numbers do not depend on its neighbours (to the last bit for powers of two: others are shared out
            unevenly among threads); None for a number that suits the device.
        retry_failed: Try again what is recorded as failed. A failed or finished video whose file was replaced since is
            always done again.
        decoders: Files decoded at once, each in a process of its own.
        patience: How many times its own duration, and that of two seconds more, a file's decoder may keep us waiting
            before it is ended and the file fails.
        isolate: False: decode in threads, which a decoder that crashes takes down with everything.

    Raises:
        FeatureError: a store of another spec.
        WriteError: the store cannot be written; finished videos are kept.
    """
    different = audio_feature_spec(backbone.spec).differences(store.spec)
    if different:
        rows = [f"{name}: backbone {ours!r}, store {theirs!r}" for name, (ours, theirs) in different.items()]
        raise FeatureError("the store is of another spec:\n    " + "\n    ".join(rows), expected="the backbone's spec")
    threads = max(1, min(decoders, len(videos)))
    batches = _Batches(backbone, batch_examples)
    summary = Summary(decoders=threads, device=str(backbone.device))
    source = BackgroundSound(
        videos,
        backbone.spec,
        store,
        retry_failed=retry_failed,
        threads=threads,
        patience=patience,
        isolate=isolate,
    )
    began = time.monotonic()
    with closing(source), closing(_Run(batches, backbone.spec, store, summary)) as run:
        for _ in track(run.videos(source), "extract", total=len(videos)):
            summary.wall_s, summary.waited_s = time.monotonic() - began, source.waited_s
            summary.decode_s, summary.network_s = source.decode_s, batches.network_s
    return summary


def extract_audio_file(path: Path, backbone: AudioBackbone, *, batch_examples: int | None = None) -> VideoFeatures:
    """The features of one file's sound in memory, float32.

    Raises:
        VideoError: the file cannot be opened or decoded; stage "audio" if it has no sound.
    """
    sound = ExampleReader(SoundReader(path, backbone.spec.sample_rate), backbone.spec)
    features = np.concatenate(list(_rows(path, sound, backbone, batch_examples)))
    grid = audio_grid(backbone.spec, len(features))
    return VideoFeatures(video=path.stem, features=features, grid=grid, duration_s=sound.duration_s)


def stream_audio(
    path: Path,
    backbone: AudioBackbone,
    *,
    video: str | None = None,
    batch_examples: int | None = None,
    isolate: bool = False,
) -> Iterator[VideoFeatures]:
    """The features of one file's sound, piece by piece, in memory that does not grow with its length.

    Args:
        path: The file.
        backbone: In inference mode, on its device.
        video: The id; the file's stem if None.
        batch_examples: Examples per run of the network.
        isolate: Decode in a process of its own, so that a decoder that crashes or stands still costs this file only;
            it takes half a second to start.

    Yields:
        Features of consecutive snippets with the grid of just these. `duration_s` is the video's; None in a file of
        sound alone.

    Raises:
        VideoError: the file cannot be opened or decoded; stage "audio" if it has no sound.
    """
    spec, process, first = backbone.spec, WorkerProcess(), 0
    try:
        sound = ExampleReader(_opened(path, spec, process if isolate else None), spec)
        for rows in _rows(path, sound, backbone, batch_examples):
            grid = audio_grid(spec, first + len(rows)).slice(first, first + len(rows))
            first += len(rows)
            name = path.stem if video is None else video
            yield VideoFeatures(video=name, features=rows, grid=grid, duration_s=sound.duration_s or None)
    finally:
        process.end()


def _opened(path: Path, spec: AudioSpec, process: WorkerProcess | None) -> SoundReader | RemoteSound:
    """The sound, in a process if one is given and can be started."""
    if process is not None:
        try:
            return RemoteSound(path, spec.sample_rate, worker=process)
        except OSError as error:
            _LOG.warning("no process can be started (%s): decoding in this one", error)
    return SoundReader(path, spec.sample_rate)


def _rows(path: Path, sound: ExampleReader, backbone: AudioBackbone, batch_examples: int | None) -> Iterator[Floats]:
    """(n, C) at a time; what could not be decoded is logged at the end."""
    batches = _Batches(backbone, batch_examples)
    for examples in sound.examples():
        yield from (rows for _, rows in batches.add(path.stem, examples))
    yield from (rows for _, rows in batches.flush())
    for loss in sound.losses:
        _LOG.warning("%s: %s", path, loss)


class _Batches:
    """Runs the network on examples of several videos, always as many at once; `network_s`: seconds that it took."""

    def __init__(self, backbone: AudioBackbone, size: int | None) -> None:
        self._backbone, self._device = backbone, backbone.device
        self._size = _BATCH.get(self._device.type, _BATCH["cpu"]) if size is None else size
        if self._size < 1:
            raise TalError(f"batches of {self._size} examples", expected="at least one")
        self._waiting: list[tuple[str, Floats]] = []
        self.network_s = 0.0

    def add(self, video: str, examples: Floats) -> Iterator[tuple[str, Floats]]:
        """(video, (n, C)) that are ready with these examples, in order."""
        if len(examples):
            self._waiting.append((video, examples))
        while sum(len(each) for _, each in self._waiting) >= self._size:
            yield from self._run(self._size)

    def flush(self) -> Iterator[tuple[str, Floats]]:
        """What is left."""
        count = sum(len(each) for _, each in self._waiting)
        if count:
            yield from self._run(count)

    @torch.inference_mode()
    def _run(self, count: int) -> list[tuple[str, Floats]]:
        taken: list[tuple[str, Floats]] = []
        left = count
        while left:
            video, examples = self._waiting.pop(0)
            taken.append((video, examples[:left]))
            if len(examples) > left:
                self._waiting.insert(0, (video, examples[left:]))
            left -= len(taken[-1][1])
        batch = np.zeros((self._size, *taken[0][1].shape[1:]), np.float32)
        np.concatenate([examples for _, examples in taken], out=batch[:count])
        began = time.monotonic()
        rows = self._backbone(torch.from_numpy(batch).to(self._device)).cpu().numpy()[:count]
        self.network_s += time.monotonic() - began
        parts = np.split(rows, np.cumsum([len(examples) for _, examples in taken])[:-1])
        return [(video, part) for (video, _), part in zip(taken, parts, strict=True)]


@dataclass(kw_only=True)
class _Open:
    """A video between its first example and its last feature: examples so far, and how it ended."""

    rows: Rows
    examples: int = 0
    ended: SoundEnded | None = None


class _Run:
    """The bookkeeping of one call of `extract_audio`."""

    def __init__(self, batches: _Batches, spec: AudioSpec, store: FeatureStore, summary: Summary) -> None:
        self._batches, self._store, self._spec, self.summary = batches, store, spec, summary
        self._open: dict[str, _Open] = {}
        self._given_up: set[str] = set()

    def videos(self, source: BackgroundSound) -> Iterator[str]:
        """Ids as they are through, done, skipped or failed."""
        for item in source:
            if item.video in self._given_up:
                continue
            if isinstance(item, SoundEnded):
                yield from self._ended(item)
            else:
                if item.video not in self._open:
                    self._open[item.video] = _Open(rows=self._store.writing(item.video))
                self._open[item.video].examples += len(item.examples)
                yield from self._received(self._batches.add(item.video, item.examples))
        yield from self._received(self._batches.flush())

    def close(self) -> None:
        """Leave nothing of what is not finished."""
        for video in self._open.values():
            video.rows.close()

    def _ended(self, item: SoundEnded) -> Iterator[str]:
        if not item.source:
            known = self._store.failure(item.video) if item.state == "failed" else None
            if known is None:
                self.summary.skipped.append(item.video)
            else:
                self.summary.failed.append(known)
            yield item.video
        elif item.failure is not None:
            self._fail(item.video, *item.failure, item.source)
            yield item.video
        else:
            self._open[item.video].ended = item
            yield from self._received(())

    def _received(self, ready: Iterable[tuple[str, Floats]]) -> Iterator[str]:
        """Write features down; ids that are whole with them."""
        for name, rows in ready:
            if name in self._open:
                try:
                    self._open[name].rows.append(rows)
                except WriteError:
                    raise
                except FeatureError as error:
                    self._given_up.add(name)
                    self._fail(name, "network", error.given, {})
                    yield name
        for name, video in list(self._open.items()):
            if video.ended is not None and video.rows.count == video.examples:
                self._finish(name, video.rows, video.ended)
                yield name

    def _finish(self, name: str, rows: Rows, ended: SoundEnded) -> None:
        grid = audio_grid(self._spec, rows.count)
        try:
            rows.commit(grid, duration_s=ended.duration_s, source=ended.source, losses=ended.losses)
        except WriteError:
            raise
        except FeatureError as error:
            self._fail(name, getattr(error, "stage", "network"), error.given, ended.source)
            return
        del self._open[name]
        self.summary.done.append(name)
        self.summary.video_s += ended.duration_s
        if ended.state == "replaced":
            self.summary.replaced.append(name)
            _LOG.info("%s: its file was replaced since; features made anew", name)
        for loss in ended.losses:
            _LOG.warning("%s: %s", name, loss)

    def _fail(self, name: str, stage: str, reason: str, source: Mapping[str, Any]) -> None:
        if name in self._open:
            self._open.pop(name).rows.close()
        _LOG.warning("%s: %s failed: %s", name, stage, reason)
        self.summary.failed.append(self._store.record_failure(name, stage=stage, error=reason, source=source))
