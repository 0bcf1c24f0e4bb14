"""ClipBatcher: frames of many videos in, features out; batches fill across videos, frames are prepared once."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.backbones.base import Backbone, BackboneSpec, FrameStage
from tal.errors import TalError

_FRAMES_IN_A_BATCH = {"cpu": 128, "cuda": 512}


def sampling_fps(spec: BackboneSpec) -> float:
    """The rate at which frames are needed: a clip of one frame needs none of those between two snippets."""
    return 1.0 / spec.stride_s if spec.clip_frames == 1 else spec.fps


def default_batch_clips(spec: BackboneSpec, device: str) -> int:
    """Clips that are worth running at once."""
    return max(1, _FRAMES_IN_A_BATCH["cuda" if device.startswith("cuda") else "cpu"] // spec.clip_frames)


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
    owners: list[tuple[str, int]] = field(default_factory=list)
    count: int = 0


class ClipBatcher:
    """Cuts clips out of the frames of several videos and runs the backbone on full batches.

    Holds, per unfinished video, the frames of one clip and one chunk: memory does not grow with a video's length.

    Args:
        backbone: In inference mode, on its device.
        batch_clips: Clips per run of the network.
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
        self._videos: dict[str, _Video] = {}
        self._waiting = _Batch()
        self._running: tuple[Tensor, list[tuple[str, int]]] | None = None
        self._ready: deque[tuple[str, NDArray[np.float32]]] = deque()

    @torch.inference_mode()
    def feed(self, video: str, pixels: NDArray[np.uint8] | Tensor) -> None:
        """More frames of a video, (N, H, W, 3) uint8, in order; a tensor where they are on the device already."""
        if video not in self._videos:
            self._videos[video] = _Video(stage=self._backbone.stage())
        state = self._videos[video]
        frames = self._normalised(pixels)
        self._cut(video, state, frames if state.stage is None else state.stage.feed(frames))

    def _cut(self, video: str, state: _Video, frames: Tensor) -> None:
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
    def end(self, video: str) -> int:
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

    def drop(self, video: str) -> None:
        """Forget a video that failed; what the network already has of it still comes out of `ready`."""
        self._videos.pop(video, None)

    @torch.inference_mode()
    def flush(self) -> None:
        """Run what waits, full or not."""
        if self._waiting.count:
            self._run(self._waiting.count)
        self._collect()

    def ready(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Finished features: (video, (n, C)), the rows of each video in the order of time."""
        while self._ready:
            yield self._ready.popleft()

    def _normalised(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 on the device, by the spec's mean and deviation."""
        frames = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
        if self._device.type == "cuda" and frames.device.type == "cpu":
            frames = frames.pin_memory().to(self._device, non_blocking=True)
        planes = frames.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.sub_(self._mean).mul_(self._scale)

    def _queue(self, video: str, clips: Tensor) -> None:
        waiting = self._waiting
        waiting.clips.append(clips)
        waiting.owners.append((video, len(clips)))
        waiting.count += len(clips)
        while waiting.count >= self._batch_clips:
            self._run(self._batch_clips)

    def _run(self, count: int) -> None:
        """Start the network on the first `count` waiting clips, then collect the batch before, done by now on a GPU."""
        batch, owners, left = [], [], count
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
        try:
            features = self._backbone(torch.cat(batch))
        except torch.OutOfMemoryError as error:
            raise TalError(
                f"{self._backbone.spec.name} on {count} clips at once: out of memory",
                todo=f"give --batch-clips smaller than {count}",
            ) from error
        self._collect()
        self._running = features, owners

    def _collect(self) -> None:
        if self._running is None:
            return
        features, owners = self._running
        self._running = None
        rows = features.cpu().numpy()
        first = 0
        for video, length in owners:
            self._ready.append((video, rows[first : first + length]))
            first += length
