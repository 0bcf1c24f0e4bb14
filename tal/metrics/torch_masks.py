"""Segmentation of acting objects as torchmetrics: IoU of positive and negative objects, gIoU and accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics.masks import mask_scores, overlap_areas
from tal.metrics.torch_rows import Column, RowMetric, check_counts, to_array


class MaskIoU(RowMetric):
    """p-mIoU, n-mIoU, p-cIoU, n-cIoU, gIoU and Acc as `tal.metrics.masks` computes them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__({"objects": "iiii"}, **settings)

    def update(
        self,
        predictions: Sequence[ArrayLike | Tensor],
        truth: Sequence[ArrayLike | Tensor],
        objects: Sequence[Mapping[int, bool]],
        frames: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add frames.

        Args:
            predictions: Per frame an index map (H, W), values from 0 (background) to 255.
            truth: The same.
            objects: Per frame index -> whether the object takes part in the action.
            frames: Names or numbers of the frames, of all videos; a frame that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, maps of different sizes, or other values.
        """
        check_counts("frames", predictions, truth)
        check_counts("frames", objects, truth)
        parts = [_columns(*each) for each in zip(predictions, truth, objects, strict=True)]
        self._add_parts("objects", self._add_items(len(truth), frames), parts)

    def compute(self) -> dict[str, float]:
        """All six; a mean over nothing is NaN."""
        _, *areas, positive = self._rows("objects")
        return mask_scores(np.stack(areas, axis=1), positive).named()


def _columns(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor, objects: Mapping[int, bool]) -> list[Column]:
    """Common, predicted and true pixels of each object, and whether it acts."""
    found, true = to_array(predicted, np.int64), to_array(truth, np.int64)
    if found.shape != true.shape:
        raise ConfigError(f"index maps of shapes {found.shape} and {true.shape}", expected="one size")
    indices = [*objects, *(int(value) for each in (found, true) if each.size for value in (each.min(), each.max()))]
    if indices and not 0 <= min(indices) <= max(indices) <= 255:
        raise ConfigError(f"indices from {min(indices)} to {max(indices)}", expected="0 to 255")
    return [*overlap_areas(found, true, list(objects)).T, np.array(list(objects.values()), np.int64)]
