"""Train the weights of the backbone `tiny` that ship with the package: `python tools/train_tiny.py [--help]`.

Renders playground videos of its own seeds (1000 and up; demo and tests stay below), teaches the network which actions
are under way at three instants of a clip, and writes tal/backbones/tiny.safetensors with its making in the metadata.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

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

OUT = Path(__file__).parents[1] / "tal/backbones/tiny.safetensors"
SEEDS = {"easy": 1000, "hard": 1001}

# Frames of a clip at which the network has to say what is under way: so that its features tell not only which action
# it is, but where in the clip it begins and ends.
INSTANTS = (1, 4, 7)
MIDDLE = INSTANTS.index(tiny.CLIP_FRAMES // 2)


class Video(NamedTuple):
    """changes (N - 1, 36, 48) between N frames at the backbone's rate; under_way (N, K), 1 where an action is."""

    changes: Tensor
    under_way: Tensor


def load(folder: Path) -> tuple[list[Video], tuple[str, ...]]:
    """All videos of a playground folder, and the class names."""
    annotations = read_annotations(folder / "annotations.json")
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (tiny.MEAN, tiny.STD))
    videos = []
    for record in annotations.videos.values():
        path = folder / str(record.path)
        with open_video(path, resize=Resize(exact=tiny.SIZE, interpolation="bilinear"), threads=1) as reader:
            parts = list(reader.sampled(tiny.FPS, 64))
        pixels = torch.from_numpy(np.concatenate([part.pixels for part in parts])).permute(0, 3, 1, 2)
        maps = tiny.changes(((pixels.float() / 255 - mean) / std)[None])[0]
        rows, times_s = record.instances, np.arange(len(pixels))[:, None] / tiny.FPS
        now = (times_s >= rows.start_s) & (times_s < rows.end_s)  # (N, M)
        under_way = now.astype(np.float32) @ np.eye(len(annotations.classes), dtype=np.float32)[rows.label]
        videos.append(Video(maps.half(), torch.from_numpy(under_way.clip(0, 1))))
    return videos, annotations.classes


def clip(video: Video, first: int) -> tuple[Tensor, Tensor]:
    """Maps (8, 36, 48) of a clip, and what is under way at its instants (3, K)."""
    return video.changes[first : first + tiny.CLIP_FRAMES - 1].float(), video.under_way[[first + i for i in INSTANTS]]


def augmented(maps: Tensor, rng: random.Random) -> Tensor:
    """Mirrored, enlarged or shrunk, moved and brightened at random, the whole clip alike."""
    mirror, scale = rng.choice((-1.0, 1.0)), rng.uniform(0.8, 1.2)
    affine = torch.tensor([[mirror * scale, 0.0, rng.uniform(-0.2, 0.2)], [0.0, scale, rng.uniform(-0.12, 0.12)]])
    grid = functional.affine_grid(affine[None], [1, *maps.shape], align_corners=False)
    return functional.grid_sample(maps[None], grid, align_corners=False)[0] * rng.uniform(0.7, 1.4)


def draw(videos: list[Video], size: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """A batch of augmented clips and their answers."""
    chosen = rng.choices(videos, k=size)
    clips = [clip(video, rng.randrange(len(video.under_way) - tiny.CLIP_FRAMES + 1)) for video in chosen]
    return torch.stack([augmented(maps, rng) for maps, _ in clips]), torch.stack([answer for _, answer in clips])


@torch.inference_mode()
def precision(network: tiny.TinyNetwork, head: nn.Module, videos: list[Video]) -> float:
    """Of the clips that the extractor would cut: average precision of the middle instant, mean over classes."""
    scores, truth = [], []
    for video in videos:
        firsts = range(0, len(video.under_way) - tiny.CLIP_FRAMES + 1, tiny.STRIDE_FRAMES)
        clips = [clip(video, first) for first in firsts]
        answers = head(network.features(torch.stack([maps for maps, _ in clips])))
        scores.append(answers.unflatten(1, (len(INSTANTS), -1))[:, MIDDLE].numpy())
        truth.append(torch.stack([answer[MIDDLE] for _, answer in clips]).numpy())
    score, true = np.concatenate(scores), np.concatenate(truth)
    precisions = []
    for column in range(true.shape[1]):
        hits = true[np.argsort(-score[:, column], kind="stable"), column]
        if hits.any():
            precisions.append(float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits > 0].mean()))
    return float(np.mean(precisions))


def train(videos: list[Video], held_out: dict[str, list[Video]], steps: int, size: int) -> tuple[nn.Module, str]:
    """Train; returns the network, and in words what it reached on the held-out videos."""
    torch.manual_seed(0)
    rng, classes = random.Random(0), videos[0].under_way.shape[1]
    network = tiny.TinyNetwork()
    head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(tiny.WIDTH, len(INSTANTS) * classes))
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    began, mean_loss, reached = time.monotonic(), 0.0, ""
    for step in range(1, steps + 1):
        maps, answers = draw(videos, size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            said = head(network.features(maps))
        loss = functional.binary_cross_entropy_with_logits(said.float(), answers.flatten(1)) * classes
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        mean_loss += (0.03 if step > 1 else 1.0) * (loss.item() - mean_loss)
        if step % 250 == 0 or step == steps:
            network.eval(), head.eval()
            reached = ", ".join(f"{name} {precision(network, head, some):.3f}" for name, some in held_out.items())
            network.train(), head.train()
            print(
                f"step {step} of {steps}, {time.monotonic() - began:.0f} s: loss {mean_loss:.3f}; {reached}", flush=True
            )
    return network, reached


def main(argv: list[str]) -> int:
    """Render, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--easy", type=int, default=90, help="easy videos")
    parser.add_argument("--hard", type=int, default=50, help="hard videos")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64, help="clips per step")
    parser.add_argument("--videos", type=Path, help="where to render, and keep; a temporary folder if not given")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    videos: list[Video] = []
    held_out: dict[str, list[Video]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for difficulty, seed in SEEDS.items():
            place, count = (options.videos or Path(temporary)) / difficulty, getattr(options, difficulty)
            generate(place, difficulty=difficulty, seed=seed, videos=count, split="training")
            loaded, classes = load(place)
            videos += loaded[count // 10 :]
            held_out[difficulty] = loaded[: count // 10]
    network, reached = train(videos, held_out, options.steps, options.batch)
    words = " ".join(f"--{name} {getattr(options, name)}" for name in ("easy", "hard", "steps", "batch"))
    about = {
        "made by": f"python tools/train_tiny.py {words}",
        "playground seeds": str(SEEDS),
        "classes": " ".join(classes),
        "average precision on held-out clips": reached,
        "tal": VERSION,
    }
    state = network.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file({name: value.contiguous() for name, value in halves.items()}, options.out, metadata=about)
    print(f"{options.out}: {options.out.stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
