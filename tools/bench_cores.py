"""What one core does: `python tools/bench.py cores [--help]`. For sizing clusters; see docs/scale.md.

Decoding alone (frames sampled and resized as the backbone wants them) and the network alone on ready batches, each with
one thread, in seconds of video per second of processor time: a machine that is shared with others tells the same.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from bench_videos import GOPS, SIZES, make_video

from tal.backbones import load_backbone
from tal.backbones.base import Backbone
from tal.features.clips import default_batch_clips, sampling_fps
from tal.features.decoding import CHUNK_FRAMES
from tal.video import open_video

BACKBONES = ("tiny", "torchvision:r3d_18", "open_clip:ViT-B-16")


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), help="weights do not matter: random")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--gops", nargs="+", type=int, default=list(GOPS), help="frames from keyframe to keyframe")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each video")
    parser.add_argument("--rounds", type=int, default=3, help="the median of as many is taken")
    options = parser.parse_args(argv)
    logging.getLogger("tal").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    columns = [f"d {size}/{gop}" for size in options.sizes for gop in options.gops]
    print("seconds of video per second of one core; d SIZE/GOP: decoding, n: the network")
    print(f"{'backbone':<24}{'frames/s':>9}{'n':>9}" + "".join(f"{column:>12}" for column in columns))
    with tempfile.TemporaryDirectory() as temporary:
        paths = [
            make_video(Path(temporary) / f"{size}_{gop}.mp4", SIZES[size], seconds=options.seconds, gop=gop, seed=0)
            for size in options.sizes
            for gop in options.gops
        ]
        for name in options.backbones:
            backbone = load_backbone(name, weights="random")
            network = _rate(partial(_run, backbone), options.rounds)
            decoding = [_rate(partial(_decode, path, backbone), options.rounds) for path in paths]
            rates = f"{sampling_fps(backbone.spec):>9.2f}{network:>9.2f}" + "".join(f"{d:>12.1f}" for d in decoding)
            print(f"{name:<24}{rates}", flush=True)
    return 0


def _rate(work: Callable[[], float], rounds: int) -> float:
    """Seconds of video per second of this process's time; `work` returns the former."""
    work()
    rates = []
    for _ in range(rounds):
        began_s = time.process_time()
        video_s = work()
        rates.append(video_s / (time.process_time() - began_s))
    return median(rates)


def _decode(path: Path, backbone: Backbone) -> float:
    with open_video(path, resize=backbone.spec.resize, threads=1) as reader:
        for _ in reader.sampled(sampling_fps(backbone.spec), CHUNK_FRAMES):
            pass
        return reader.info.duration_s


@torch.inference_mode()
def _run(backbone: Backbone) -> float:
    clips = min(8, default_batch_clips(backbone.spec, "cpu"))
    backbone(backbone.blank(clips))
    return clips * backbone.spec.stride_s
