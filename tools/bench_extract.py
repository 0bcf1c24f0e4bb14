"""Extraction against what its two halves can do alone: `python tools/bench.py extract [--help]`.

d: decoding alone, frames sampled and resized as the backbone wants them; n: the network alone on ready batches; both in
seconds of video per second, measured in the same run, in turn with whole extractions into a store. On a CPU the halves
share the cores: possible is 1 / (1/d + 1/n). On a GPU they do not: possible is min(d, n). The bar is 90 % of that.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from tal.backbones import load_backbone, of_frames
from tal.backbones.base import Backbone
from tal.features.clips import default_batch_clips, sampling_fps
from tal.features.decoding import CHUNK_FRAMES
from tal.features.extractor import extract, feature_spec
from tal.features.store import FeatureStore
from tal.video import open_video
from tal.video.encode import VideoWriter

SIZES = {"360p": (640, 360), "720p": (1280, 720)}
BACKBONES = ("tiny", "torchvision:r3d_18")
FPS = 30


def main(argv: list[str]) -> int:
    """Measure, print, and return 1 if a share is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), help="weights do not matter: random")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each video")
    parser.add_argument("--rounds", type=int, default=3, help="the median of as many is taken")
    parser.add_argument("--decoders", type=int, default=None)
    options = parser.parse_args(argv)
    logging.getLogger("tal").setLevel(logging.ERROR)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoders = options.decoders or (4 if device == "cuda" else 1)
    print(f"{device}, {torch.get_num_threads()} threads; seconds of video per second, median of {options.rounds}")
    print(f"{'backbone':<24}{'video':>8}{'d':>9}{'n':>9}{'possible':>10}{'extract':>9}{'share':>8}  binds")
    worst = 1.0
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            videos = _videos(Path(temporary) / size, SIZES[size], options.videos, options.seconds)
            for name in options.backbones:
                backbone = of_frames(load_backbone(name, weights="random", device=device))
                rates = _rates(videos, backbone, Path(temporary), decoders, options)
                worst = min(worst, _tell(name, size, rates, device))
    print(f"lowest share {worst:.0%}, bar 90 %")
    return 0 if worst >= 0.9 else 1


def _videos(folder: Path, size: tuple[int, int], count: int, seconds: float) -> dict[str, Path]:
    """H.264 clips of textures that move over noise, so that there is something to decode."""
    folder.mkdir()
    width, height = size
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (height // 4, width // 2, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    paths = {f"v{number}": folder / f"v{number}.mp4" for number in range(count)}
    for number, path in enumerate(paths.values()):
        with VideoWriter(path, width=width, height=height, fps=FPS) as writer:
            for frame_idx in range(round(seconds * FPS)):
                left = (3 * frame_idx + 97 * number) % width
                frame = texture[:, left : left + width].copy()
                frame[height // 3 : height // 2, left // 2 : left // 2 + 80] = 255 - frame_idx % 256
                writer.write(frame)
    return paths


def _rates(
    videos: dict[str, Path], backbone: Backbone, folder: Path, decoders: int, options: argparse.Namespace
) -> dict[str, float]:
    """d, n and the whole, seconds of video per second."""
    total_s = options.videos * options.seconds
    network = _network_alone(backbone, round(total_s / backbone.spec.stride_s))
    binding = ""

    def whole() -> None:
        nonlocal binding
        with tempfile.TemporaryDirectory(dir=folder) as place:
            store = FeatureStore.create(Path(place), feature_spec(backbone.spec))
            binding = extract(videos, backbone, store, decoders=decoders).binding

    kinds: dict[str, Callable[[], None]] = {
        "d": lambda: _decode_alone(videos, backbone),
        "n": network,
        "extract": whole,
    }
    network()
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, run in kinds.items():
            began = time.perf_counter()
            run()
            taken[kind].append(total_s / (time.perf_counter() - began))
    rates: dict[str, float] = {kind: median(each) for kind, each in taken.items()}
    return rates | {"decoding binds": float(binding == "decoding")}


def _decode_alone(videos: dict[str, Path], backbone: Backbone) -> None:
    for path in videos.values():
        with open_video(path, resize=backbone.spec.resize) as reader:
            for _ in reader.sampled(sampling_fps(backbone.spec), CHUNK_FRAMES):
                pass


def _network_alone(backbone: Backbone, clips: int) -> Callable[[], None]:
    """Runs the network on ready batches of as many clips in all."""
    spec, device = backbone.spec, next(backbone.parameters()).device
    batch_clips = default_batch_clips(spec, str(device))
    height, width = spec.resize.crop or spec.resize.exact or (224, 224)
    batch = torch.randn(batch_clips, spec.clip_frames, 3, height, width, device=device)

    @torch.inference_mode()
    def run() -> None:
        for first in range(0, clips, batch_clips):
            out = backbone(batch[: min(batch_clips, clips - first)])
        out.cpu()

    return run


def _tell(name: str, size: str, rates: dict[str, float], device: str) -> float:
    d, n, whole = rates["d"], rates["n"], rates["extract"]
    possible = min(d, n) if device == "cuda" else 1 / (1 / d + 1 / n)
    binds = "decoding" if rates["decoding binds"] else "the network"
    share = whole / possible
    print(f"{name:<24}{size:>8}{d:>9.1f}{n:>9.1f}{possible:>10.1f}{whole:>9.1f}{share:>8.0%}  {binds}", flush=True)
    return share
