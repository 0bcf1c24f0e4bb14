"""Cross-validate a recipe on its training split: how settings are chosen without looking at validation.

    python tools/cross_validate.py RECIPE [--folds 5] [--group REGEX] [--section.setting VALUE ...]

The training videos are dealt into folds; for each fold a model is trained on the others and scored on it. Videos that
belong together (the same person, the same tape) stay in one fold: --group is a regular expression whose match in the
video's id names the group, such as '^[^_]+' for everything before the first underscore. Detections of all folds are
scored together, so that every training video counts once.
"""

import logging
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tal.errors import TalError
from tal.pipelines.train import fit, recipe_of_words
from tal.pipelines.train_derive import derive
from tal.pipelines.train_finish import Scorer
from tal.pipelines.train_samples import TrainingData, open_data
from tal.pipelines.train_settings import Recipe
from tal.segments import Segments

_log = logging.getLogger("tal.train")


def fold_indices(ids: Sequence[str], *, folds: int, group: str, seed: int) -> list[list[int]]:
    """Positions of the videos in each fold; whole groups, dealt in an order that the seed decides.

    Raises:
        TalError: fewer groups than folds, or an id that the expression does not match.
    """
    found = {video: re.search(group, video) for video in ids}
    strange = [video for video, match in found.items() if match is None]
    if strange:
        raise TalError(f"--group {group} does not match {', '.join(strange[:5])}")
    names = [found[video][0] for video in ids]  # type: ignore[index]
    groups = sorted(set(names))
    if not 2 <= folds <= len(groups):
        raise TalError(
            f"{folds} folds of {len(groups)} groups of videos", expected="at least 2, at most a fold per group"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    fold_of = {groups[place]: rank % folds for rank, place in enumerate(order)}
    return [[index for index, name in enumerate(names) if fold_of[name] == fold] for fold in range(folds)]


def cross_validate(recipe: Recipe, data: TrainingData, *, folds: int, group: str) -> dict[str, float]:
    """Metrics of all folds' detections together."""
    ids = [record.video for record in data.train.records]
    detections: dict[str, Segments] = {}
    for fold, held_out in enumerate(fold_indices(ids, folds=folds, group=group, seed=recipe.trainer.seed)):
        part = data.fold(held_out)
        part = replace(part, classes=data.classes)
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "checkpoints").mkdir()
            trained = fit(derive(recipe, part), part, Path(scratch))
        _log.info("fold %d of %d: mAP %.4f", fold + 1, folds, trained.metrics["mAP"])
        detections |= trained.detections
    everything = replace(data, validation=data.train)
    return dict(Scorer.of(recipe, everything)(detections))


def _add_options(parser: Any) -> None:
    parser.add_argument("--folds", type=int, default=5, help="number of folds")
    parser.add_argument("--group", type=str, default=".+", help="expression whose match in a video's id is its group")


def run(words: Sequence[str]) -> int:
    """Print the metrics of all folds together."""
    recipe, options = recipe_of_words(words, "cross_validate", _add_options)
    if recipe.data.queries.text is not None:
        raise TalError(f"{words[0]} learns from sentences", expected="a recipe for segments with classes")
    recipe = replace(recipe, trainer=replace(recipe.trainer, validate_every=0, keep="last"))
    data = open_data(recipe.data)
    metrics = cross_validate(recipe, data, folds=options["folds"], group=options["group"])
    for name, value in metrics.items():
        print(f"{name:<18} {value:.4f}")
    return 0


def main(words: Sequence[str]) -> int:
    """As a command: errors are told, not traced."""
    try:
        return run(words)
    except TalError as error:
        print(f"cross_validate: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
