"""Segments: columns of times, scores and labels. The one type for instances, proposals and detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import ConfigError, TalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """N segments as columns of equal length.

    Faulty segments (reversed, NaN) can be represented: annotations hold them, and it is the caller's choice what
    happens to them.

    Args:
        start_s: (N,) seconds.
        end_s: (N,) seconds.
        score: (N,) confidence; 1 where none is given.
        label: (N,) index into `classes`; -1 for a proposal, which has no class.
        classes: The class names.
        extra: Aligned columns, first axis N, that every operation carries along.

    Raises:
        TalError: columns of different lengths, or a label outside the class list.
    """

    start_s: Floats
    end_s: Floats
    score: Floats = field(default=None)  # type: ignore[arg-type]
    label: Ints = field(default=None)  # type: ignore[arg-type]
    classes: tuple[str, ...] = ()
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = np.size(self.start_s)
        score = np.ones(count) if self.score is None else self.score
        label = np.full(count, -1) if self.label is None else self.label
        columns = {"start_s": self.start_s, "end_s": self.end_s, "score": score}
        for name, column in columns.items():
            object.__setattr__(self, name, np.asarray(column, np.float64).reshape(-1))
        object.__setattr__(self, "label", np.asarray(label, np.int64).reshape(-1))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "extra", {name: np.asarray(column) for name, column in self.extra.items()})
        lengths = {name: len(getattr(self, name)) for name in (*columns, "label")}
        lengths |= {f"extra[{name!r}]": len(column) for name, column in self.extra.items()}
        if set(lengths.values()) != {count}:
            raise TalError(f"columns of different lengths: {lengths}", expected="one value per segment in each column")
        if count and (self.label.min() < -1 or self.label.max() >= max(len(self.classes), 0)):
            raise TalError(
                f"labels from {self.label.min()} to {self.label.max()} with {len(self.classes)} classes",
                expected=f"-1 (no class) or 0 to {len(self.classes) - 1}",
            )

    @classmethod
    def empty(cls, classes: Sequence[str] = ()) -> Segments:
        """No segments of the given classes."""
        return cls(start_s=np.empty(0), end_s=np.empty(0), classes=tuple(classes))

    @classmethod
    def from_names(
        cls,
        start_s: ArrayLike,
        end_s: ArrayLike,
        names: Sequence[str],
        *,
        classes: Sequence[str] | None = None,
        score: ArrayLike | None = None,
        extra: Mapping[str, ArrayLike] | None = None,
    ) -> Segments:
        """Segments from class names; without `classes`, the class list is the sorted set of the names.

        Raises:
            TalError: a name that is not in `classes`.
        """
        known = tuple(sorted(set(names)) if classes is None else classes)
        index = {name: position for position, name in enumerate(known)}
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise TalError(f"labels that are not in the class list: {', '.join(unknown)}")
        return cls(
            start_s=np.asarray(start_s, np.float64),
            end_s=np.asarray(end_s, np.float64),
            score=np.ones(len(names)) if score is None else np.asarray(score, np.float64),
            label=np.array([index[name] for name in names], np.int64),
            classes=known,
            extra={name: np.asarray(column) for name, column in (extra or {}).items()},
        )

    @classmethod
    def concat(cls, parts: Sequence[Segments]) -> Segments:
        """All rows of all parts, in order; the parts share the class list and the extra columns."""
        if not parts:
            return cls.empty()
        first = parts[0]
        for part in parts:
            if part.classes != first.classes or set(part.extra) != set(first.extra):
                raise TalError(
                    "segments with different class lists or extra columns cannot be joined",
                    expected=f"{len(first.classes)} classes and extra columns {sorted(first.extra)}",
                )
        return cls(
            start_s=np.concatenate([part.start_s for part in parts]),
            end_s=np.concatenate([part.end_s for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            label=np.concatenate([part.label for part in parts]),
            classes=first.classes,
            extra={name: np.concatenate([part.extra[name] for part in parts]) for name in first.extra},
        )

    def __len__(self) -> int:
        return len(self.start_s)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer] | Sequence[int]) -> Segments:
        """The chosen rows: a slice, a mask or indices; never a single row."""
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.int64) if rows.dtype != bool else rows
        return Segments(
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
            score=self.score[rows],
            label=self.label[rows],
            classes=self.classes,
            extra={name: column[rows] for name, column in self.extra.items()},
        )

    def __repr__(self) -> str:
        span = f", {np.nanmin(self.start_s):.2f} to {np.nanmax(self.end_s):.2f} s" if len(self) else ""
        extra = f", extra {sorted(self.extra)}" if self.extra else ""
        return f"Segments({len(self)} of {len(self.classes)} classes{span}{extra})"

    @property
    def length_s(self) -> Floats:
        """(N,) end minus start, seconds."""
        return self.end_s - self.start_s

    @property
    def names(self) -> list[str]:
        """The class name of each row; "" for a proposal."""
        return ["" if label < 0 else self.classes[label] for label in self.label]

    def by_score(self) -> Segments:
        """Rows from the highest score to the lowest; ties keep their order."""
        return self[np.argsort(-self.score, kind="stable")]

    def shifted(self, seconds: float) -> Segments:
        """All times moved by `seconds`."""
        return replace(self, start_s=self.start_s + seconds, end_s=self.end_s + seconds)

    def clipped(self, start_s: float, end_s: float) -> Segments:
        """All times limited to [start_s, end_s]; rows are kept, even where nothing is left of them."""
        return replace(self, start_s=self.start_s.clip(start_s, end_s), end_s=self.end_s.clip(start_s, end_s))


def check_threshold(threshold: float | None) -> None:
    """Refuse a lowest score that no score, or every score, would reach: NaN, or outside [0, 1].

    Raises:
        ConfigError: it is neither None nor a number in [0, 1].
    """
    if threshold is not None and not 0 <= threshold <= 1:  # NaN is in no range
        raise ConfigError(f"threshold {threshold}", expected="a score in [0, 1]")


def tiou(
    start_a_s: ArrayLike, end_a_s: ArrayLike, start_b_s: ArrayLike, end_b_s: ArrayLike, *, pairwise: bool = True
) -> Floats:
    """Temporal intersection over union.

    Args:
        start_a_s: (N,) seconds; likewise end_a_s.
        start_b_s: (M,) seconds; likewise end_b_s. Shape (N,) if not `pairwise`.
        pairwise: Every a with every b; otherwise row by row.

    Returns:
        (N, M), or (N,) if not `pairwise`; 0 where the union is not positive (empty or reversed segments, NaN).
    """
    first, last = np.asarray(start_a_s, np.float64), np.asarray(end_a_s, np.float64)
    if pairwise:
        first, last = first[:, None], last[:, None]
    begin, end = np.asarray(start_b_s, np.float64), np.asarray(end_b_s, np.float64)
    inter = np.clip(np.minimum(last, end) - np.maximum(first, begin), 0.0, None)
    union = (last - first) + (end - begin) - inter
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(union > 0, inter / union, 0.0)
