"""Decoders by size, distance of keyframes and sampling: `python tools/bench.py decode [--help]`.

What the rules of `tal.video.auto` rest on: seconds of video per second of processor time, one thread each, frames
scaled and cropped to a square.
"""

import argparse
import itertools
import resource
import tempfile
from pathlib import Path

from bench_videos import GOPS, SIZES, make_video

from tal.errors import TalError
from tal.video import DECODERS, Resize, decoder_version, open_video


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--gops", nargs="+", type=int, default=list(GOPS))
    parser.add_argument("--fps", nargs="+", type=float, default=[0.5, 2.0, 8.0, 30.0])
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args(argv)
    usable = [name for name in DECODERS if _works(name)]
    print("seconds of video per second of processor time, one thread")
    print(f"{'video':<8}{'gop':>6}{'fps':>8}" + "".join(f"{name:>12}" for name in usable))
    resize = Resize(short_side=options.side, crop=(options.side, options.side))
    with tempfile.TemporaryDirectory() as temporary:
        for size, gop in itertools.product(options.sizes, options.gops):
            path = make_video(Path(temporary) / f"{size}{gop}.mp4", SIZES[size], seconds=options.seconds, gop=gop)
            for name in usable:
                _cpu_s(path, name, 0.5, resize)  # Libraries load.
            for fps in options.fps:
                rates = [options.seconds / _cpu_s(path, name, fps, resize) for name in usable]
                print(f"{size:<8}{gop:>6}{fps:>8.1f}" + "".join(f"{rate:>12.1f}" for rate in rates), flush=True)
    return 0


def _works(name: str) -> bool:
    try:
        decoder_version(name)
    except TalError as error:
        print(f"{name} is left out: {error.given}")
        return False
    return True


def _cpu_s(path: Path, decoder: str, fps: float, resize: Resize) -> float:
    """Processor time of this process and of those that it started and that ended."""
    before = _used_s()
    with open_video(path, resize=resize, decoder=decoder, threads=1) as reader:
        for _ in reader.sampled(fps, 32):
            pass
    return _used_s() - before


def _used_s() -> float:
    usages = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
