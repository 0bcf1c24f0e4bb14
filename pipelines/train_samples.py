"""The videos that a recipe trains and validates on: annotations cleaned, features opened, everything counted."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from torch import Tensor

from tal.annotations import read_annotations
from tal.annotations.faults import clean
from tal.annotations.records import Annotations, VideoRecord
from tal.console import track
from tal.errors import ConfigError, FeatureError
from tal.features import open_features
from tal.features.base import FeatureSource, FeatureSpec
from tal.methods.augment import FeatureStats
from tal.methods.base import Sample
from tal.methods.batching import join_streams
from tal.methods.video_scores import check_covered, read_video_scores
from tal.pipelines.train_settings import DataSettings
from tal.segments import Segments

ONE_CLASS = ("action",)
_FLAT = 1e-6


class Samples(Sequence[Sample]):
    """Videos as samples, loaded when asked for, and kept as far as they fit into memory.

    Args:
        records: The videos, with instances as they are to be trained on.
        sources: Stream name -> features.
        memory_gib: Keep loaded samples while they take less than this together; what comes later is loaded every time.
        video_scores: Video -> (K,) scores; not of every video where they are only learnt from.
        lacking: Stream -> videos without it, which are loaded without it.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        sources: Mapping[str, FeatureSource],
        *,
        memory_gib: float,
        video_scores: Mapping[str, Tensor] | None = None,
        lacking: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.records, self.sources, self.memory_gib = list(records), dict(sources), memory_gib
        self._video_scores, self._lacking = video_scores, dict(lacking or {})
        self._kept: dict[int, Sample] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Sample]": ...
    def __getitem__(self, index: int | slice) -> "Sample | list[Sample]":
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index not in self._kept:
            sample = self._load(self.records[index])
            size = sum(x.numel() * x.element_size() for x in sample.streams.values())
            if self._bytes + size > self.memory_gib * 2**30:
                return sample
            self._kept[index], self._bytes = sample, self._bytes + size
        return self._kept[index]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def _load(self, record: VideoRecord) -> Sample:
        features = {
            name: source.load(record.video, duration_s=record.duration_s, fps=record.fps)
            for name, source in self.sources.items()
            if record.video not in self._lacking.get(name, ())
        }
        if record.duration_s is None and len(record.instances):  # then the last instance says how long it is at least
            last_s = float(record.instances.end_s.max())
            for name, each in features.items():
                if last_s > each.grid.end_s:
                    each.grid.check_duration(last_s, name=f"{record.video}, {name} (its last instance ends the video)")
        return join_streams(
            features,
            duration_s=record.duration_s,
            instances=record.instances,
            video_scores=None if self._video_scores is None else self._video_scores.get(record.video),
        )

    def subset(self, indices: Sequence[int]) -> "Samples":
        """The chosen videos; what is loaded stays loaded."""
        chosen = Samples(
            [self.records[index] for index in indices],
            self.sources,
            memory_gib=self.memory_gib,
            video_scores=self._video_scores,
            lacking=self._lacking,
        )
        chosen._kept = {row: self._kept[index] for row, index in enumerate(indices) if index in self._kept}
        chosen._bytes = self._bytes
        return chosen


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What a recipe's data section names.

    Args:
        classes: The class names that the model learns.
        train, validation: The videos.
        annotations: As published, faults included: what validation is scored against.
        specs: Stream name -> spec.
        notes: What was counted on the way: cleaned instances, videos left out, classes without instances.
        text: Spec of the queries' token features; None where nothing is asked.
    """

    classes: tuple[str, ...]
    train: Samples
    validation: Samples
    annotations: Annotations
    specs: Mapping[str, FeatureSpec]
    notes: tuple[str, ...]
    text: FeatureSpec | None = None

    def fold(self, held_out: Sequence[int]) -> "TrainingData":
        """Training videos as both splits: those held out are validated on, the others trained on."""
        rest = sorted(set(range(len(self.train))) - set(held_out))
        return replace(self, train=self.train.subset(rest), validation=self.train.subset(held_out))


def open_data(settings: DataSettings) -> TrainingData:
    """Read the annotations and open the features; arrays are read when they are needed.

    Raises:
        TalError: files that are missing or damaged, splits that do not exist, videos without features.
    """
    if settings.queries.text is not None:
        from tal.pipelines.train_queries import open_queries

        return open_queries(settings, settings.queries.text)
    published = read_annotations(settings.annotations, format=settings.format)
    _check_subsets(published, settings)
    sources = {name: open_features(each.folder, layout=each.layout) for name, each in settings.features.items()}
    annotations, report = clean(published, settings.cleaning)
    notes = [f"annotations: {report}"]
    ids = {name: frozenset(source.ids()) for name, source in sources.items()}
    optional = [name for name, each in settings.features.items() if each.optional]
    lacking: dict[str, frozenset[str]] = {}
    chosen: dict[str, list[VideoRecord]] = {}
    for split, subsets in (("train", settings.train_subsets), ("validation", settings.validation_subsets)):
        wanted = {name.lower() for name in subsets}
        records = [record for record in annotations.videos.values() if record.subset.lower() in wanted]
        chosen[split], left_out = _with_features(records, ids, settings)
        if left_out:
            notes.append(f"{len(left_out)} {split} videos have no features and are left out: {_some(left_out)}")
        for name in optional:
            without = [record.video for record in chosen[split] if record.video not in ids[name]]
            lacking[name] = lacking.get(name, frozenset()) | set(without)
            if without:
                notes.append(f"{len(without)} {split} videos have no {name}, and are used without: {_some(without)}")
    used = {split: {name for record in records for name in record.instances.names} for split, records in chosen.items()}
    classes = tuple(name for name in annotations.classes if name in used["train"] | used["validation"])
    never = sorted(set(classes) - used["train"])
    if never:
        notes.append(f"{len(never)} classes have no training instance: {_some(never)}")
    scores = None if settings.video_scores is None else read_video_scores(settings.video_scores, classes)
    if scores is not None:  # learning does not need them
        check_covered([record.video for record in chosen["validation"] or chosen["train"]], scores)
    parts = {
        split: Samples(
            [replace(record, instances=_renumbered(record.instances, classes)) for record in records],
            sources,
            memory_gib=settings.memory_gib,
            video_scores=scores,
            lacking=lacking,
        )
        for split, records in chosen.items()
    }
    return TrainingData(
        classes=classes,
        annotations=published,
        specs={name: source.spec for name, source in sources.items()},
        notes=tuple(notes),
        train=parts["train"],
        validation=parts["validation"],
    )


def _check_subsets(annotations: Annotations, settings: DataSettings) -> None:
    known = annotations.subsets
    spelt = {name.lower() for name in known}
    for name in (*settings.train_subsets, *settings.validation_subsets):
        if name.lower() not in spelt:
            raise ConfigError(
                f"{settings.annotations} has no subset {name!r}",
                expected="one of " + ", ".join(f"{each!r} ({count} videos)" for each, count in known.items()),
                todo="set data.train_subsets and data.validation_subsets",
            )


def _with_features(
    records: Sequence[VideoRecord], ids: Mapping[str, frozenset[str]], settings: DataSettings
) -> tuple[list[VideoRecord], list[str]]:
    """Records that have every stream but the optional ones, and the ids of those that have not.

    Args:
        records: Of a split.
        ids: Stream -> videos that have it.
        settings: Which streams are optional, and what happens to videos without the others.

    Raises:
        FeatureError: some have not, and the settings do not allow it.
    """
    needed = {name: each for name, each in settings.features.items() if not each.optional}
    missing = [record.video for record in records if not all(record.video in ids[name] for name in needed)]
    if missing and (settings.missing == "error" or len(missing) == len(records)):
        folders = ", ".join(str(stream.folder) for stream in needed.values())
        raise FeatureError(
            f"{len(missing)} of {len(records)} videos have no features: {_some(missing)}",
            expected=f"each of them in {folders}",
            cause="extraction failed for them or was not run, or ids are written differently (layout.prefix)",
            todo="extract them, or set data.missing to skip",
        )
    gone = set(missing)
    return [record for record in records if record.video not in gone], missing


def as_one_class(annotations: Annotations) -> Annotations:
    """Every instance as the one class "action"."""

    def merged(record: VideoRecord) -> VideoRecord:
        instances = record.instances
        return replace(
            record, instances=replace(instances, label=np.zeros(len(instances), np.int64), classes=ONE_CLASS)
        )

    videos = {video: merged(record) for video, record in annotations.videos.items()}
    return replace(annotations, classes=ONE_CLASS, videos=videos)


def _renumbered(instances: Segments, classes: tuple[str, ...]) -> Segments:
    return Segments.from_names(
        instances.start_s,
        instances.end_s,
        instances.names,
        classes=classes,
        score=instances.score,
        extra=instances.extra,
    )


def feature_stats(samples: Samples) -> FeatureStats:
    """Mean and standard deviation of every channel over all snippets of all videos; a constant channel's is 1."""
    sums: dict[str, tuple[int, Tensor, Tensor]] = {}
    for sample in track(samples, "feature statistics"):
        for name, x in sample.streams.items():
            wide = x.double()
            count, total, squares = sums.get(name, (0, torch.zeros(()), torch.zeros(())))
            sums[name] = (count + len(x), total + wide.sum(0), squares + wide.square().sum(0))
    mean = {name: total / count for name, (count, total, _) in sums.items()}
    variance = {name: squares / count - mean[name].square() for name, (count, _, squares) in sums.items()}
    std = {name: each.clamp(min=0).sqrt() for name, each in variance.items()}
    return FeatureStats(
        mean={name: each.float() for name, each in mean.items()},
        std={name: torch.where(each > _FLAT, each, 1.0).float() for name, each in std.items()},
    )


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
