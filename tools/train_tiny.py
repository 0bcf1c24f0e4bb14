"""Train the weights of the backbone `tiny` that ship with the package: `python tools/train_tiny.py [--help]`.

Renders playground videos of its own seeds (1000 and up; demo and tests stay below), teaches the network which actions
are under way at several instants of a clip, and writes tal/backbones/tiny.safetensors with its making in the metadata.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tal.annotations import read_annotations
from tal.backbones import tiny
from tal.playground import generate
from tal.version import VERSION
from tal.video import Resize, open_video

ROOT = Path(__file__).parents[1]
OUT = ROOT / "tal/backbones/tiny.safetensors"
SEEDS = {"easy": 1000, "hard": 1001}

# Instants of a clip at which the network has to say what is under way, as fractions of its window: so that its
# features tell not only which action it is, but where in the clip it begins and ends.
INSTANTS = (0.1, 0.3, 0.5, 0.7, 0.9)

WINDOW_CLIPS = 6
WINDOW_FRAMES = WINDOW_CLIPS + tiny.CLIP_FRAMES - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """Frames (N, 72, 96, 3) uint8 at the backbone's rate, and instances: start_s, end_s (M,), label (M,)."""

    frames: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    label: np.ndarray


def load(folder: Path) -> tuple[list[Video], tuple[str, ...]]:
    """All videos of a playground folder, and the class names."""
    annotations = read_annotations(folder / "annotations.json")
    videos = []
    for name, record in annotations.videos.items():
        path = folder / (record.path or f"videos/{name}.mp4")
        with open_video(path, resize=Resize(exact=tiny.SIZE, interpolation="bilinear")) as reader:
            frames = np.concatenate([part.pixels for part in reader.sampled(tiny.FPS, 64)])
        rows = record.instances
        videos.append(Video(frames=frames, start_s=rows.start_s, end_s=rows.end_s, label=rows.label))
    return videos, annotations.classes


def targets(video: Video, first_idx: int, classes: int) -> np.ndarray:
    """(instants, K): 1 where an action is under way."""
    window_s = tiny.CLIP_FRAMES / tiny.FPS
    instants_s = first_idx / tiny.FPS + np.array(INSTANTS) * window_s
    under_way = (instants_s[:, None] >= video.start_s) & (instants_s[:, None] < video.end_s)  # (instants, M)
    out = np.zeros((len(INSTANTS), classes), np.float32)
    for row, column in zip(*np.nonzero(under_way), strict=True):
        out[row, video.label[column]] = 1
    return out


def batches(videos: list[Video], classes: int, size: int, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented windows (B, WINDOW_FRAMES, 3, H, W) normalised, and their clips' targets (B, clips, instants, K)."""
    while True:
        windows, labels = [], []
        for _ in range(size):
            video = rng.choice(videos)
            first = rng.randrange(len(video.frames) - WINDOW_FRAMES + 1)
            windows.append(_augmented(video.frames[first : first + WINDOW_FRAMES], rng))
            labels.append([targets(video, first + shift, classes) for shift in range(WINDOW_CLIPS)])
        yield torch.stack(windows), torch.from_numpy(np.array(labels))


def clip_features(network: tiny.TinyNetwork, windows: Tensor) -> Tensor:
    """(B, WINDOW_FRAMES, 3, H, W) -> (B, clips, C): as from clips cut out one by one, each frame looked at once."""
    frames = network.frames(windows)  # (B, 128, WINDOW_FRAMES - 1)
    clips = frames.unfold(2, tiny.CLIP_FRAMES - 1, 1).transpose(1, 2)  # (B, clips, 128, CLIP_FRAMES - 1)
    return network.summary(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def _augmented(frames: np.ndarray, rng: random.Random) -> Tensor:
    """Mirrored, cropped, recoloured and relit at random, the whole clip alike."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    if rng.random() < 0.5:
        pixels = pixels.flip(3)
    height, width = tiny.SIZE
    scale = rng.uniform(0.8, 1.0)
    rows, columns = round(height * scale), round(width * scale)
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    pixels = pixels[:, :, top : top + rows, left : left + columns]
    pixels = functional.interpolate(pixels, tiny.SIZE, mode="bilinear", align_corners=False)
    pixels = pixels[:, rng.sample(range(3), 3)]
    pixels = (pixels * rng.uniform(0.7, 1.3) + rng.uniform(-0.15, 0.15)).clamp(0, 1)
    return normalised(pixels)


def normalised(pixels: Tensor) -> Tensor:
    """(T, 3, H, W) in [0, 1] by the backbone's mean and deviation."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (tiny.MEAN, tiny.STD))
    return (pixels - mean) / std


@torch.inference_mode()
def middle_accuracy(network: tiny.TinyNetwork, head: nn.Module, videos: list[Video], classes: int) -> dict[str, float]:
    """On clips that the extractor would cut: average precision of the middle instant, mean over classes."""
    network.eval()
    scores, truth = [], []
    for video in videos:
        firsts = range(0, len(video.frames) - tiny.CLIP_FRAMES + 1, tiny.STRIDE_FRAMES)
        pixels = normalised(torch.from_numpy(video.frames).permute(0, 3, 1, 2).float() / 255)
        clips = torch.stack([pixels[first : first + tiny.CLIP_FRAMES] for first in firsts])
        middle = head(functional.relu(network(clips))).view(len(clips), len(INSTANTS), classes)[:, len(INSTANTS) // 2]
        scores.append(middle.numpy())
        truth.append(np.stack([targets(video, first, classes)[len(INSTANTS) // 2] for first in firsts]))
    network.train()
    score, true = np.concatenate(scores), np.concatenate(truth)
    precisions = []
    for column in range(classes):
        order = np.argsort(-score[:, column], kind="stable")
        hits = true[order, column]
        if hits.any():
            precisions.append(float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits > 0].mean()))
    return {"clip_mAP": float(np.mean(precisions))}


def train(
    videos: list[Video],
    held_out: dict[str, list[Video]],
    classes: int,
    steps: int,
    size: int,
    save: Callable[[tiny.TinyNetwork, int], None],
) -> None:
    """Train, and save now and then and at the end."""
    torch.manual_seed(0)
    network, head = tiny.TinyNetwork(), nn.Linear(tiny.WIDTH, len(INSTANTS) * classes)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.02)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))),
    )
    feed = batches(videos, classes, size, random.Random(0))
    began, mean_loss = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        windows, labels = next(feed)
        features = functional.relu(clip_features(network, windows))
        logits = head(functional.dropout(features, 0.2)).view(labels.shape)
        loss = functional.binary_cross_entropy_with_logits(logits, labels) * classes
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        value = loss.item()
        mean_loss = value if step == 1 else 0.98 * mean_loss + 0.02 * value
        if step % 100 == 0 or step == steps:
            print(f"step {step} of {steps}: loss {mean_loss:.3f}, {time.monotonic() - began:.0f} s", flush=True)
        if step % 500 == 0 or step == steps:
            for name, some in held_out.items():
                print(f"  {name}: {middle_accuracy(network, head, some, classes)}", flush=True)
            save(network, step)


def main(argv: list[str]) -> int:
    """Render, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--easy", type=int, default=90, help="easy videos")
    parser.add_argument("--hard", type=int, default=50, help="hard videos")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=12, help="windows per step")
    parser.add_argument("--videos", type=Path, help="where to render, and keep; a temporary folder if not given")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.videos or Path(temporary)
        videos, held_out, classes = [], {}, ()
        for difficulty, seed in SEEDS.items():
            place = folder / difficulty
            generate(place, difficulty=difficulty, seed=seed, videos=getattr(options, difficulty), split="training")
            loaded, classes = load(place)
            kept = len(loaded) // 10
            videos += loaded[kept:]
            held_out[difficulty] = loaded[:kept]
    words = [f"--{name} {getattr(options, name)}" for name in ("easy", "hard", "steps", "batch")]
    made = " ".join(["python tools/train_tiny.py", *words])

    def save(network: tiny.TinyNetwork, step: int) -> None:
        state = {
            name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in network.state_dict().items()
        }
        about = {"made by": made, "steps done": str(step), "playground seeds": str(SEEDS)}
        save_file(state, options.out, metadata=about | {"classes": " ".join(classes), "tal": VERSION})

    train(videos, held_out, len(classes), options.steps, options.batch, save)
    print(f"{options.out}: {options.out.stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
