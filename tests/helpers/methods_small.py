"""Every registered method in a size for tests, and a synthetic batch for any of them.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from methods_small import small_batch, small_method
"""

from dataclasses import fields, replace
from types import MappingProxyType

import numpy as np
import torch

from tal.annotations.moment_results import Query
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

CLASSES = ("run", "jump", "sit")
STREAM, WIDTH, TEXT = "features", 8, 6

# What makes a method small, where its config has a setting of the name.
_COMMON = MappingProxyType(
    {
        "streams": {STREAM: WIDTH},
        "classes": CLASSES,
        "text_width": TEXT,
        "train_snippets": 64,
        "width": 16,
        "heads": 2,
        "branch_layers": 3,
        "window": 5,
        "hidden": 32,
        "evaluator_width": 16,
        "queries": 6,
        "decoder_layers": 2,
    }
)
# What a method needs besides.
_HEARS = {"streams": {STREAM: WIDTH, "audio": 5}, "audio_heads": 2}
_OWN: dict[str, dict] = {"mrav_ff": _HEARS, "mrav_ff_tridet": _HEARS}


def small_config(name, **changes):
    """The config of a registered method with small widths.

    Args:
        name: In `METHODS`.
        changes: Settings, where the config has them.
    """
    kind = METHODS.load(name).Config
    known = {entry.name for entry in fields(kind)}
    wanted = {**_COMMON, **_OWN.get(name, {})}
    values = {key: value for key, value in wanted.items() if key in known}
    if "text_width" in known:
        del values["classes"]
    return replace(kind(**values), **{key: value for key, value in changes.items() if key in known})


def small_method(name, *, seed=0, **changes):
    """A registered method with random weights; `without_chance` are changes that leave nothing random in training."""
    torch.manual_seed(seed)
    return METHODS.load(name)(small_config(name, **changes))


WITHOUT_CHANCE = MappingProxyType(
    {"dropout": 0.0, "drop_path": 0.0, "input_dropout": 0.0, "input_noise": 0.0, "audio_dropout": 0.0}
)


def small_batch(method, videos=4, *, snippets=60, train=True, seed=0):
    """Videos of noise with instances, and queries where the method is asked some.

    A video depends on (seed, its number) alone, so that a batch's halves are batches of the same videos.

    Args:
        method: What reads them.
        videos: How many, or their numbers.
        snippets: Of the first video; each further one is two shorter. Methods of a fixed T get that.
        train: With targets.
        seed: Of everything.
    """
    numbers = range(videos) if isinstance(videos, int) else videos
    return collate([_sample(method, number, snippets, seed) for number in numbers], method.inputs, train=train)


def _sample(method, number, snippets, seed):
    inputs, rng = method.inputs, np.random.default_rng((seed, number))
    count = inputs.resize_to or min(snippets, inputs.window_snippets or snippets) - 2 * number
    grid = SnippetGrid(offset_s=0.0, stride_s=0.5, window_s=0.5, count=count)
    start_s = rng.uniform([0.02, 0.5], [0.1, 0.6]) * grid.end_s
    length_s = rng.uniform(0.15, 0.35, 2) * grid.end_s
    asks = inputs.text is not None
    instances = Segments(
        start_s=start_s,
        end_s=start_s + length_s,
        label=np.full(2, -1) if asks else rng.integers(0, len(method.classes), 2),
        classes=method.classes,
    )
    inside = (grid.centers_s[:, None] > start_s) & (grid.centers_s[:, None] < start_s + length_s)  # (T, 2)
    pairs = np.stack([rng.choice(np.flatnonzero(inside.any(1) == wanted), 2) for wanted in (True, False)])
    text = torch.from_numpy(rng.standard_normal((3 + number % 3, inputs.text or 1)).astype(np.float32))
    return Sample(
        video=f"video{number}",
        streams={
            name: torch.from_numpy(rng.standard_normal((count, width)).astype(np.float32))
            for name, width in inputs.streams.items()
        },
        grid=grid,
        duration_s=grid.end_s,
        instances=instances,
        query=Query(qid=str(number), video=f"video{number}", text="what happens") if asks else None,
        text=text if asks else None,
        saliency_pairs=torch.from_numpy(pairs) if asks else None,
    )
