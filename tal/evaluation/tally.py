"""What an evaluation leaves out, and what a reader of its numbers should know."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts everything that does not reach the metric.

    Args:
        dropped: Reason -> number of predictions.
        excluded: Reason -> number of rows of ground truth.
        warnings: What a reader should know.
        missing: Ids of the videos without predictions; set by `counts`.
    """

    dropped: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()

    def drop(self, reason: str, count: int) -> None:
        """Predictions that are left out; a count of 0 is not kept."""
        _add(self.dropped, reason, count)

    def exclude(self, reason: str, count: int) -> None:
        """Ground truth that is left out; a count of 0 is not kept."""
        _add(self.excluded, reason, count)

    def warn(self, text: str) -> None:
        """A sentence for the reader of the numbers."""
        self.warnings.append(text)

    def counts(
        self,
        *,
        videos: Collection[str],
        with_predictions: Collection[str],
        ground_truth: int,
        predictions: int,
        predictions_evaluated: int,
        duplicates_removed: int = 0,
        **further: Any,
    ) -> dict[str, Any]:
        """What was evaluated, and what was left out.

        Args:
            videos: Ids in the evaluated split, in order.
            with_predictions: Ids that the predictions name.
            ground_truth: Rows of ground truth that were evaluated.
            predictions: Rows that were read.
            predictions_evaluated: Those of them that reached the metric.
            duplicates_removed: Rows of ground truth that the duplicate rule removed.
            further: Counts that only this kind of task has.
        """
        found = set(with_predictions)
        self.missing = tuple(video for video in videos if video not in found)
        return {
            "videos": len(videos),
            "videos_with_predictions": len(videos) - len(self.missing),
            "missing_videos": len(self.missing),
            **further,
            "ground_truth": ground_truth,
            "duplicates_removed": duplicates_removed,
            "ground_truth_excluded": self.excluded,
            "predictions": predictions,
            "predictions_evaluated": predictions_evaluated,
            "predictions_dropped": self.dropped,
        }


def _add(counts: dict[str, int], reason: str, count: int) -> None:
    if count:
        counts[reason] = counts.get(reason, 0) + int(count)


def some(names: Collection[str]) -> str:
    """The first names of many, quoted, for messages."""
    first = [name for name, _ in zip(names, range(3), strict=False)]
    return ", ".join(map(repr, first)) + (", ..." if len(names) > 3 else "")
