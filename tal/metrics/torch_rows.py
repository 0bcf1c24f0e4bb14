"""What the torchmetrics faces share: rows are gathered over batches and processes, and metrics computed on all of them.

The numbers come from the functions on arrays that the command line uses too, so that both agree to the last digit.
"""

from collections.abc import Mapping, Sequence, Sized
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from tal.errors import ConfigError

Ints = NDArray[np.int64]
Column = NDArray[Any]

_UNNAMED, _HASHED = 1 << 61, 1 << 62  # numbers of a caller are below the first, of names above the second
_ITEMS = "items"
_TYPES = {"i": np.int64, "f": np.float64}


class RowMetric(Metric):
    """Keeps rows about items (videos or queries), whatever the number of rows per item and per process.

    An item that was given twice, as a DistributedSampler does to make processes equal, counts once, the one that the
    first process gave. Items are taken in the order of their numbers, so that the result does not depend on how they
    were shared among processes; names are ordered by their hashes, items without either by process and time.

    States are lists of int64 tensors that are concatenated over processes; float64 columns are kept by their bits,
    which makes them exact on devices that lack float64 and safe from a change of the module's precision.

    Args:
        tables: Name -> a letter per column, "i" for int64 and "f" for float64.
        settings: Of torchmetrics.Metric.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, tables: Mapping[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self._columns = {_ITEMS: "ii"} | {name: f"i{kinds}" for name, kinds in tables.items()}
        self._visits = 0
        for name in self._columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def sync(self, *arguments: Any, **settings: Any) -> None:
        """As torchmetrics does, with an empty table where this process has no rows: its default has another shape."""
        for name in self._columns:
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, [self._table(name, np.empty((0, len(self._columns[name])), np.int64))])
        super().sync(*arguments, **settings)

    def set_dtype(self, dst_type: str | torch.dtype) -> "RowMetric":
        """Nothing: the states hold no numbers of the module's precision."""
        return self

    def _add_items(self, count: int, items: Sequence[str | int] | Tensor | None) -> Ints:
        """(count,) a number for each item of this update, to put before its rows.

        Raises:
            ConfigError: another number of items than of predictions, or a negative one.
        """
        numbered = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if numbered else 0
        visit = (rank << 40) + self._visits + np.arange(count)
        self._visits += count
        if items is None:
            identity = _UNNAMED + visit
        else:
            listed = items.tolist() if isinstance(items, Tensor) else list(items)
            if len(listed) != count:
                raise ConfigError(f"{len(listed)} names for {count} predictions", expected="one per prediction")
            identity = np.array([_number(item) for item in listed], np.int64)
        self._add(_ITEMS, visit, identity)
        return visit

    def _add_rows(self, table: str, visit: Ints, *columns: Column) -> None:
        self._add(table, visit, *columns)

    def _add_parts(self, table: str, visit: Ints, parts: Sequence[Sequence[Column]]) -> None:
        """Rows of items that have several, or none: per item its columns."""
        if parts:
            columns = [np.concatenate(each) for each in zip(*parts, strict=True)]
            self._add_rows(table, np.repeat(visit, [len(part[0]) for part in parts]), *columns)

    def _add_tables(self, items: Sequence[str | int] | Tensor | None, **tables: Sequence[Sequence[Column]]) -> None:
        """Rows of several tables, each of which says something of every item: per table and item its columns."""
        visit = self._add_items(len(next(iter(tables.values()))), items)
        for table, parts in tables.items():
            self._add_parts(table, visit, parts)

    def _add(self, table: str, *columns: Column) -> None:
        kinds = self._columns[table]
        bits = [
            np.ascontiguousarray(each, _TYPES[kind]).view(np.int64) for kind, each in zip(kinds, columns, strict=True)
        ]
        getattr(self, table).append(self._table(table, np.stack(bits, axis=1)))

    def _table(self, table: str, bits: Ints) -> Tensor:
        return torch.from_numpy(bits).to(self.device)

    def _gathered(self, table: str) -> list[Column]:
        state = getattr(self, table)
        parts = [state] if isinstance(state, Tensor) else state  # synchronisation leaves one tensor
        kinds = self._columns[table]
        bits = np.concatenate([np.empty((0, len(kinds)), np.int64), *(part.cpu().numpy() for part in parts)])
        return [np.ascontiguousarray(bits[:, place]).view(_TYPES[kind]) for place, kind in enumerate(kinds)]

    def _item_visits(self) -> Ints:
        """The visit that counts of each item, in the order of the items."""
        visit, identity = self._gathered(_ITEMS)
        order = np.lexsort((visit, identity))
        chosen: Ints = visit[order[np.flatnonzero(np.diff(identity[order], prepend=-1))]]
        return chosen

    def _item_count(self) -> int:
        """Number of different items."""
        return len(self._item_visits())

    def _rows(self, table: str) -> list[Column]:
        """[item index of each row, the table's columns], in the order of the items; rows of repeated items left out."""
        visits = self._item_visits()
        place = np.argsort(visits)
        visit, *columns = self._gathered(table)
        position = np.searchsorted(visits[place], visit)
        known = position < len(visits)
        known[known] = visits[place][position[known]] == visit[known]
        item = place[position[known]]
        order = np.argsort(item, kind="stable")
        return [item[order], *(column[known][order] for column in columns)]


class PairMetric(RowMetric):
    """Keeps a predicted and a true number per video.

    Args:
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__({"pairs": "ff"}, **settings)

    def update(
        self,
        predictions: ArrayLike | Tensor,
        truth: ArrayLike | Tensor,
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add videos.

        Args:
            predictions: (N,) predicted numbers.
            truth: (N,) true ones.
            videos: (N,) names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: other shapes, or NaN.
        """
        predicted, true = to_array(predictions).reshape(-1), to_array(truth).reshape(-1)
        check_counts("videos", predicted, true)
        refuse_nan("predictions or truth", predicted, true)
        self._add_rows("pairs", self._add_items(len(true), videos), predicted, true)

    def _pairs(self) -> tuple[Column, Column]:
        """(N,) predicted and (N,) true numbers."""
        _, predicted, true = self._rows("pairs")
        return predicted, true


def _number(item: str | int) -> int:
    if isinstance(item, str):
        return _HASHED + (int.from_bytes(blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 2)
    if not 0 <= item < _UNNAMED:
        raise ConfigError(f"item {item!r}", expected="a name, or a number from 0")
    return int(item)


def to_array(values: ArrayLike | Tensor, dtype: type = np.float64) -> Column:
    """A tensor of any device, or anything that numpy takes, as an array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values, dtype)


def check_counts(items: str, predictions: Sized, truth: Sized) -> None:
    """Raise ConfigError unless there is one entry per item on both sides."""
    if len(predictions) != len(truth):
        raise ConfigError(f"predictions of {len(predictions)} {items} and truth of {len(truth)}")


def check_labels(label: Column, class_count: int) -> None:
    """Raise ConfigError if a label is no class."""
    if len(label) and not 0 <= label.min() <= label.max() < class_count:
        raise ConfigError(f"labels from {label.min()} to {label.max()}", expected=f"0 to {class_count - 1}")


def refuse_nan(name: str, *columns: Column) -> None:
    """Raise ConfigError if a number is NaN: it could be neither ranked nor placed."""
    if any(np.isnan(column).any() for column in columns):
        raise ConfigError(f"{name} with NaN", expected="numbers", cause="a run that diverged")
