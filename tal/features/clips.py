"""ClipBatcher: frames of many videos in, features out; batches fill across videos, frames are prepared once."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.backbones.base import FEATURES, Backbone, BackboneSpec, FrameStage
from tal.errors import TalError

Key = tuple[str, int]
"""A video, and which attempt at it."""

Outputs = Mapping[str, NDArray[np.float32]]
"""Output of a backbone -> (n, C) or (n, tokens, C)."""

_FRAMES_IN_A_BATCH = {"cpu": 64, "cuda": 512}


def sampling_fps(spec: BackboneSpec) -> float:
    """The rate at which frames are needed: a clip of one frame needs none of those between two snippets."""
    return 1.0 / spec.stride_s if spec.clip_frames == 1 else spec.fps


def default_batch_clips(spec: BackboneSpec, device: str) -> int:
    """Clips that are worth running at once: a power of two.

    Matrix products treat the rows at the end of odd numbers in another way, and a clip's place in its batch would show
    in the last bits of its features (measured with tiny on two threads: 7 clips, but not 4 or 8).
    """
    frames = _FRAMES_IN_A_BATCH["cuda" if device.startswith("cuda") else "cpu"]
    return 1 << max(0, round(math.log2(frames / spec.clip_frames)))


@dataclass(kw_only=True)
class _Video:
    """Frames that later clips still need. `skip`: frames to leave out before the next clip begins."""

    stage: FrameStage | None
    frames: Tensor | None = None
    skip: int = 0
    clips: int = 0


@dataclass(kw_only=True)
class _Batch:
    """Clips that wait for the network, and how many of them are whose."""

    clips: list[Tensor] = field(default_factory=list)
    owners: list[tuple[Key, int]] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A batch that the network has; its features are there when the timer's time is known."""

    features: Mapping[str, Tensor]
    owners: list[tuple[Key, int]]
    timer: "_Timer"


class ClipBatcher:
    """Cuts clips out of the frames of several videos and runs the backbone on batches of one size.

    The last batch is filled up with empty clips, so that a clip's features do not depend on how many others there are.
    Holds, per unfinished video, the frames of one clip and one chunk: memory does not grow with a video's length.

    Args:
        backbone: In inference mode, on its device.
        batch_clips: Clips per run of the network.

    `busy_s` sums the time that the network took, for `clips` clips in all.
    """

    def __init__(self, backbone: Backbone, batch_clips: int) -> None:
        if batch_clips < 1:
            raise TalError(f"batches of {batch_clips} clips", expected="at least one")
        self._backbone, self._batch_clips = backbone, batch_clips
        spec = backbone.spec
        self._clip_frames = spec.clip_frames
        self._stride_frames = 1 if spec.clip_frames == 1 else spec.stride_frames
        self._device = next(backbone.parameters()).device
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(spec.mean, device=self._device).mul(255).reshape(shape)
        self._scale = torch.tensor(spec.std, device=self._device).mul(255).reciprocal().reshape(shape)
        self._videos: dict[Key, _Video] = {}
        self._waiting = _Batch()
        self._running: _Running | None = None
        self._ready: deque[tuple[Key, Outputs]] = deque()
        self.busy_s, self.clips = 0.0, 0

    @torch.inference_mode()
    def feed(self, video: Key, pixels: NDArray[np.uint8] | Tensor) -> None:
        """More frames of a video, (N, H, W, 3) uint8, in order; a tensor where they are on the device already."""
        if video not in self._videos:
            self._videos[video] = _Video(stage=self._backbone.stage())
        state = self._videos[video]
        frames = self._normalised(pixels)
        self._cut(video, state, frames if state.stage is None else state.stage.feed(frames))

    def _cut(self, video: Key, state: _Video, frames: Tensor) -> None:
        """Queue the clips that are whole with these frames, or with the maps that stand for them."""
        if state.frames is not None:
            frames = torch.cat([state.frames, frames])
        dropped = min(state.skip, len(frames))
        frames, state.skip = frames[dropped:], state.skip - dropped
        count = (len(frames) - self._clip_frames) // self._stride_frames + 1
        if count > 0:
            clips = frames.unfold(0, self._clip_frames, self._stride_frames)  # (count, 3, H, W, clip_frames)
            self._queue(video, clips.permute(0, 4, 1, 2, 3))
            state.clips += count
            used = count * self._stride_frames
            state.skip = max(0, used - len(frames))
            frames = frames[used:]
        state.frames = frames.clone() if count > 0 else frames

    @torch.inference_mode()
    def end(self, video: Key) -> int:
        """No more frames of this video. Returns its number of snippets T.

        A video shorter than one clip gives one snippet: its last frame is repeated until the clip is full. Frames at
        the end that fill no further clip are left out.
        """
        state = self._videos.pop(video)
        if state.stage is not None:
            self._cut(video, state, state.stage.end())
        if state.clips == 0 and state.frames is not None and len(state.frames):
            short = self._clip_frames - len(state.frames)
            padded = torch.cat([state.frames, state.frames[-1:].expand(short, -1, -1, -1)])
            self._queue(video, padded[None])
            state.clips = 1
        return state.clips

    def drop(self, video: Key) -> None:
        """Forget a video that failed; what the network already has of it still comes out of `ready`."""
        self._videos.pop(video, None)

    @torch.inference_mode()
    def flush(self) -> None:
        """Run what waits, full or not."""
        if self._waiting.count:
            self._run(self._waiting.count)
        self._collect()

    def ready(self) -> Iterator[tuple[Key, Outputs]]:
        """Finished features, n snippets of a video at a time, each video's in the order of time."""
        while self._ready:
            yield self._ready.popleft()

    def _normalised(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 on the device, by the spec's mean and deviation."""
        frames = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
        if self._device.type == "cuda" and frames.device.type == "cpu":
            frames = frames.pin_memory().to(self._device, non_blocking=True)
        planes = frames.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.sub_(self._mean).mul_(self._scale)

    def _queue(self, video: Key, clips: Tensor) -> None:
        waiting = self._waiting
        waiting.clips.append(clips)
        waiting.owners.append((video, len(clips)))
        waiting.count += len(clips)
        while waiting.count >= self._batch_clips:
            self._run(self._batch_clips)

    def _run(self, count: int) -> None:
        """Take the first `count` waiting clips for the network."""
        batch: list[Tensor] = []
        owners: list[tuple[Key, int]] = []
        left = count
        waiting = self._waiting
        while left:
            clips, (video, length) = waiting.clips[0], waiting.owners[0]
            taken = min(left, length)
            batch.append(clips[:taken])
            owners.append((video, taken))
            if taken == length:
                waiting.clips.pop(0)
                waiting.owners.pop(0)
            else:
                waiting.clips[0], waiting.owners[0] = clips[taken:], (video, length - taken)
            left -= taken
        waiting.count -= count
        started = self._start(batch, owners, count)
        self._collect()  # the batch before: a GPU has the next one by now
        self._running = started

    def _start(self, batch: list[Tensor], owners: list[tuple[Key, int]], count: int) -> _Running:
        """Run the network on these clips, and on empty ones beside them up to the size of a batch."""
        if count < self._batch_clips:
            batch.append(batch[0].new_zeros(self._batch_clips - count, *batch[0].shape[1:]))
        timer = _Timer(self._device)
        try:
            found = self._backbone(torch.cat(batch))
        except torch.OutOfMemoryError as error:
            raise TalError(
                f"{self._backbone.spec.name} on {self._batch_clips} clips at once: out of memory",
                todo=f"give --batch-clips smaller than {self._batch_clips}",
            ) from error
        given = found if isinstance(found, Mapping) else {FEATURES: found}
        features = {name: _to_memory(values[:count].float()) for name, values in given.items()}
        timer.stop()
        self.clips += count
        return _Running(features=features, owners=owners, timer=timer)

    def _collect(self) -> None:
        """Take the features of the batch that runs; on a GPU, wait for them."""
        running, self._running = self._running, None
        if running is None:
            return
        self.busy_s += running.timer.elapsed_s()
        first = 0
        for video, length in running.owners:
            rows = {name: values[first : first + length].numpy() for name, values in running.features.items()}
            self._ready.append((video, rows))
            first += length


class _Timer:
    """How long the device takes for what is asked of it between here and `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        self._began = self._stopped = time.monotonic()
        if self._events:
            self._events[0].record()

    def stop(self) -> None:
        self._stopped = time.monotonic()
        if self._events:
            self._events[1].record()

    def elapsed_s(self) -> float:
        """Waits until the device is there."""
        if not self._events:
            return self._stopped - self._began
        self._events[1].synchronize()
        return float(self._events[0].elapsed_time(self._events[1])) / 1000


def _to_memory(values: Tensor) -> Tensor:
    """A copy that a GPU writes to while we go on: wait for it before reading."""
    if not values.is_cuda:
        return values
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
