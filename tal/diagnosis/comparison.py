"""Two sides on the same ground truth: differences with intervals and p values, and the videos that changed most."""

import numpy as np

from tal.diagnosis import bootstrap, compare
from tal.diagnosis.area import Floats, Ints
from tal.diagnosis.result import Comparison, Difference, VideoChange
from tal.diagnosis.side import Side, named_means, ranked, units_of

_CHANGED_VIDEOS = 10
_PERMUTATION_SEED = 1


def compare_sides(first: Side, second: Side, *, resamples: int, seed: int) -> Comparison:
    """Hold the second set of predictions against the first.

    Args:
        first, second: Judged on the same ground truth.
        resamples: Draws of videos, and exchanges of the permutation test.
        seed: Of both.
    """
    units = units_of([first, second])
    weights = bootstrap.draws(len(units), resamples, seed=seed)
    one, two = ranked(first, units), ranked(second, units)
    before, after = (bootstrap.weighted_precision(side, weights) for side in (one, two))
    metrics = {
        name: _difference(first.evaluation.metrics[name], second.evaluation.metrics[name], old, new)
        for (name, old), new in zip(
            named_means(first, before).items(), named_means(second, after).values(), strict=True
        )
    }
    exchanges = np.random.default_rng([seed, _PERMUTATION_SEED]).random((resamples, len(units))) < 0.5
    gained, lost = _changes(first, second)
    return Comparison(
        first=first.source,
        second=second.source,
        metrics=metrics,
        per_class=_per_class(first, second, before, after),
        p_permutation=compare.permutation_p(one, two, metrics["mAP"].second - metrics["mAP"].first, exchanges),
        gained=gained,
        lost=lost,
    )


def _difference(first: float, second: float, before: Floats, after: Floats) -> Difference:
    interval, p = compare.paired_bootstrap(second - first, after - before)
    return Difference(first=first, second=second, interval=interval, p=p)


def _per_class(first: Side, second: Side, before: Floats, after: Floats) -> dict[str, Difference]:
    one, two = (side.judged.average_precision.mean(axis=0) for side in (first, second))
    return {
        first.classes[label]: _difference(
            float(one[label]), float(two[label]), before[:, :, label].mean(axis=1), after[:, :, label].mean(axis=1)
        )
        for label in np.flatnonzero(first.judged.instances).tolist()
    }


def _changes(first: Side, second: Side) -> tuple[tuple[VideoChange, ...], tuple[VideoChange, ...]]:
    """(videos that gained, videos that lost), those that changed most first."""
    videos = list(first.records)
    before, after = (compare.precision_per_video(side.judged, len(videos)) for side in (first, second))
    instances = np.bincount(first.judged.truth.video_idx, minlength=len(videos))
    change = np.nan_to_num(after - before)
    rising = np.argsort(change, kind="stable")

    def told(rows: Ints) -> tuple[VideoChange, ...]:
        return tuple(
            VideoChange(
                video=videos[row], instances=int(instances[row]), first=float(before[row]), second=float(after[row])
            )
            for row in rows[:_CHANGED_VIDEOS].tolist()
        )

    return told(rising[::-1][change[rising[::-1]] > 0]), told(rising[change[rising] < 0])
