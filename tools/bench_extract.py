"""Extraction against what its two halves can do alone: `python tools/bench.py extract [--help]`.

d: decoding alone, frames sampled and resized as the backbone wants them; n: the network alone on ready batches; both in
seconds of video per second, measured in the same run, in turn with whole extractions into a store. On a CPU the halves
share the cores: possible is 1 / (1/d + 1/n). On a GPU they do not: possible is min(d, n). The bar is 90 % of that.
"processor" is the same share in processor time, (d's + n's) / the whole's: it says more on a machine with other users.
On a GPU also: its own decoder against the CPU's, and ViT-B-like and ViT-L-like video models against a plain loop.
"""

import argparse
import logging
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from bench_models import vit
from bench_videos import GOPS, SIZES, make_video

from tal.backbones import load_backbone
from tal.backbones.base import Backbone
from tal.features.clips import default_batch_clips, sampling_fps
from tal.features.decoding import CHUNK_FRAMES, THREADS, BackgroundDecoder, DecodeSettings
from tal.features.extractor import create_stores, extract
from tal.features.summary import Summary
from tal.video import open_video

BACKBONES = ("tiny", "torchvision:r3d_18")


def main(argv: list[str]) -> int:
    """Measure, print, and return 1 if a share is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), help="weights do not matter: random")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--gops", nargs="+", type=int, default=list(GOPS), help="frames from keyframe to keyframe")
    parser.add_argument("--decoder", default="pyav")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each video")
    parser.add_argument("--rounds", type=int, default=3, help="the median of as many is taken")
    parser.add_argument("--decoders", type=int, default=None)
    options = parser.parse_args(argv)
    logging.getLogger("tal").setLevel(logging.ERROR)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.decoders = options.decoders or (4 if device == "cuda" else 1)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{device}, {name}; seconds of video per second, median of {options.rounds}")
    columns = (("d", 9), ("n", 9), ("possible", 10), ("extract", 9), ("share", 8), ("processor", 11))
    titles = "".join(f"{column:>{width}}" for column, width in columns)
    print(f"{'backbone':<24}{'video':>8}{'gop':>6}{titles}  binds")
    worst = 1.0
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            for gop in options.gops:
                videos = _videos(Path(temporary) / f"{size}_{gop}", size, gop, options)
                for backbone in options.backbones:
                    network = load_backbone(backbone, weights="random", device=device)
                    rates, summary = _rates(videos, network, Path(temporary), options)
                    worst = min(worst, _tell(f"{backbone:<24}{size:>8}{gop:>6}", rates, summary))
                if device == "cuda":
                    _gpu_decoder(videos, options)
        print(f"lowest share {worst:.0%}, bar 90 %")
        if device == "cpu":
            print("no GPU here: its decoder and the ViT-like models against a plain loop are left out")
        else:
            _against_plain_loop(Path(temporary), options)
    return 0 if worst >= 0.9 else 1


def _videos(folder: Path, size: str, gop: int, options: argparse.Namespace) -> dict[str, Path]:
    names = (f"v{number}" for number in range(options.videos))
    return {
        name: make_video(folder / f"{name}.mp4", SIZES[size], seconds=options.seconds, gop=gop, seed=seed)
        for seed, name in enumerate(names)
    }


def _rates(
    videos: dict[str, Path], backbone: Backbone, folder: Path, options: argparse.Namespace
) -> tuple[dict[str, float], Summary]:
    """d, n and the whole, seconds of video per second, and what the last extraction tells."""
    total_s = options.videos * options.seconds
    network = _network_alone(backbone, round(total_s / backbone.spec.stride_s))
    summary = Summary()

    def whole() -> None:
        nonlocal summary
        with tempfile.TemporaryDirectory(dir=folder) as place:
            stores = create_stores(Path(place), backbone.spec)
            summary = extract(videos, backbone, stores, decoders=options.decoders, decoder=options.decoder)

    on_gpu = next(backbone.parameters()).is_cuda
    kinds: dict[str, Callable[[], None]] = {
        "d": (lambda: _decode_beside(videos, backbone, options)) if on_gpu else (lambda: _decode(videos, backbone)),
        "n": network,
        "extract": whole,
    }
    network()
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, run in kinds.items():
            wall_s, cpu_s = time.perf_counter(), _cpu_s()
            run()
            taken[kind].append((time.perf_counter() - wall_s, _cpu_s() - cpu_s))
    rates = {kind: total_s / median(wall_s for wall_s, _ in pairs) for kind, pairs in taken.items()}
    cpu_s = {kind: median(cpu_s for _, cpu_s in pairs) for kind, pairs in taken.items()}
    return rates | {"processor": (cpu_s["d"] + cpu_s["n"]) / cpu_s["extract"]}, summary


def _cpu_s() -> float:
    """Processor time of this process and of those that it started and that ended."""
    usages = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _median_s(run: Callable[[], None], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return median(taken)


def _decode(videos: dict[str, Path], backbone: Backbone) -> None:
    """One video after the other, in this process, with one thread, as extraction does."""
    for path in videos.values():
        with open_video(path, resize=backbone.spec.resize, threads=THREADS) as reader:
            for _ in reader.sampled(sampling_fps(backbone.spec), CHUNK_FRAMES):
                pass


def _decode_beside(videos: dict[str, Path], backbone: Backbone, options: argparse.Namespace) -> None:
    """As extraction decodes, many at once and to the GPU, without a network."""
    device = next(backbone.parameters()).device
    spec = backbone.spec
    settings = DecodeSettings(resize=spec.resize, fps=sampling_fps(spec), device=device, decoder=options.decoder)
    source = BackgroundDecoder(videos.items(), settings, state=lambda *_: "new", workers=options.decoders)
    try:
        for _ in source:
            pass
    finally:
        source.close()


def _network_alone(backbone: Backbone, clips: int) -> Callable[[], None]:
    """Runs the network on ready batches of as many clips in all."""
    device = next(backbone.parameters()).device
    batch_clips = default_batch_clips(backbone.spec, str(device))
    batch = torch.randn_like(backbone.blank(batch_clips)).to(device)

    @torch.inference_mode()
    def run() -> None:
        out = None
        for _ in range(0, clips, batch_clips):
            out = backbone(batch)
        if isinstance(out, torch.Tensor):
            out.cpu()

    return run


def _tell(head: str, rates: dict[str, float], summary: Summary) -> float:
    d, n, whole = rates["d"], rates["n"], rates["extract"]
    possible = min(d, n) if summary.device == "cuda" else 1 / (1 / d + 1 / n)
    share = whole / possible
    numbers = f"{d:>9.1f}{n:>9.1f}{possible:>10.1f}{whole:>9.1f}{share:>8.0%}{rates['processor']:>11.0%}"
    print(f"{head}{numbers}  {summary.binding}", flush=True)
    print(f"    to go faster: {summary.advice}", flush=True)
    return share


def _gpu_decoder(videos: dict[str, Path], options: argparse.Namespace) -> None:
    """Frames to the GPU at 30 fps, by the CPU's decoder and by the GPU's own."""
    backbone = vit("B").to("cuda")
    total_s = options.videos * options.seconds
    rates = {}
    for decoder in ("pyav", "torchcodec"):
        chosen = argparse.Namespace(**{**vars(options), "decoder": decoder})
        rates[decoder] = total_s / _median_s(lambda: _decode_beside(videos, backbone, chosen), options.rounds)  # noqa: B023
    print("    frames to the GPU: " + ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), flush=True)


def _against_plain_loop(folder: Path, options: argparse.Namespace) -> None:
    """Clips per second from file to store."""
    videos = _videos(folder / "plain", "360p", 12, options)
    for size in ("B", "L"):
        backbone = vit(size).to("cuda")
        clips = options.videos * options.seconds / backbone.spec.stride_s

        def ours(backbone: Backbone = backbone) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                stores = create_stores(Path(place), backbone.spec)
                extract(videos, backbone, stores, decoders=options.decoders, decoder=options.decoder)

        def plain(backbone: Backbone = backbone) -> None:
            _plain_loop(videos, backbone)

        ours()
        rates = [clips / _median_s(run, options.rounds) for run in (ours, plain)]
        print(f"ViT-{size}-like: {rates[0]:.1f} clips/s, a plain loop {rates[1]:.1f}: {rates[0] / rates[1]:.1f} times")


@torch.inference_mode()
def _plain_loop(videos: dict[str, Path], backbone: Backbone) -> None:
    """What one would write first: a video at a time, each clip put together, sent and computed when it is there."""
    spec, device = backbone.spec, next(backbone.parameters()).device
    batch_clips = default_batch_clips(spec, str(device))
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (spec.mean, spec.std))
    for path in videos.values():
        with open_video(path, resize=spec.resize) as reader:
            chunks = list(reader.sampled(spec.fps, CHUNK_FRAMES))
        frames = [torch.from_numpy(pixels).permute(2, 0, 1) for chunk in chunks for pixels in chunk.pixels]
        starts = range(0, len(frames) - spec.clip_frames + 1, spec.stride_frames)
        clips = [frames[start : start + spec.clip_frames] for start in starts]
        for first in range(0, len(clips), batch_clips):
            batch = [
                torch.stack([(frame / 255 - mean) / std for frame in clip])
                for clip in clips[first : first + batch_clips]
            ]
            backbone(torch.stack(batch).to(device)).cpu()
