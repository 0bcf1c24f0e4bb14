"""Benchmarks: `python tools/bench.py nms|evaluate|bmn|train|extract|cores|decode|store [--help]`.

Each prints medians and ratios against a named baseline that is measured in the same run.
"""

import sys
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "nms": "soft NMS and voting against plain torch loops",
    "evaluate": "metrics of THUMOS14, ActivityNet, AVA and QVHighlights size against plain loops, and whole commands",
    "bmn": "BMN's boundary-matching layer against the original's dense mask: time and peak memory",
    "train": "training steps of ActionFormer and TriDet against the originals' scheme",
    "localize": "detections of 200 videos of THUMOS14's length from features on disk: time by part, memory",
    "extract": "extraction against decode-only and network-only rates",
    "decode": "decoders by size, keyframes and sampling: what the decoder auto rests on",
    "cores": "what one core decodes and what it runs through networks, for sizing clusters",
    "store": "a store of very many videos: listing, resuming, opening, packing, per video",
}
PARTS = {"evaluate": ("bench_evaluate", "bench_moments", "bench_ava")}


def main(words: list[str]) -> int:
    """Run the benchmark that the first word names."""
    if not words or words[0] not in BENCHMARKS:
        print(__doc__)
        print("\n".join(f"  {name:<10}{about}" for name, about in BENCHMARKS.items()))
        return 0 if words and words[0] in ("-h", "--help") else 2
    sys.path.insert(0, str(Path(__file__).parent))
    parts = PARTS.get(words[0], (f"bench_{words[0]}",))
    return max(import_module(part).main(words[1:]) or 0 for part in parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
