"""The built-in benchmark: generated videos of articulated figures that act, and everything there is to know about them.

>>> from tal.playground import generate
>>> annotations = generate("runs/playground", difficulty="easy", seed=0, videos=40)

A dataset is a folder with `videos/ID.mp4` (H.264 and AAC; frame i is at i / fps), `dataset.json` (its settings) and
`annotations.json` in ActivityNet's style (`tal.read_annotations`): `classes`, and a `database` of entries with

- `subset` (training, validation or testing), `duration` in seconds, `fps`, `resolution`, `path` (from the folder),
- `annotations`: instances by start: `id`, `label`, `label_id`, `segment` [start, end], `actor`, `quality` in [0, 1],
  and for repetitive classes `cycles`, a [start, end] per repetition,
- `steps`: the labels in their order; `quality`: the mean of the instances',
- `moments`: sentences and the `spans` that answer them,
- `tubes`: boxes [left, top, right, bottom] as fractions of the picture, per `actor` and frame (`times`): one with label
  "" over the whole video, and one per instance; frames in which the actor is out of sight are left out, those in which
  another actor hides it are not,
- `cuts`: times at which another shot begins; `sounds`: what is heard when.

All times are seconds rounded to milliseconds. Figures, places and camera are drawn by chance, independently of the
actions, which differ by motion alone. It is synthetic and never stands in for a benchmark's published number.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tal.playground.dataset import generate

__all__ = ["generate"]


def __getattr__(name: str) -> Any:
    if name != "generate":
        raise AttributeError(f"module 'tal.playground' has no attribute {name!r}")
    from tal.playground.dataset import generate

    return generate
