"""Queries as what is trained on: sentences with the moments that answer them, and with salient clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tal.annotations import read_annotations
from tal.annotations.moment_results import Query
from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.datasets.protocol import Protocol
from tal.errors import AnnotationError, ConfigError, FeatureError
from tal.evaluation import evaluate
from tal.features import open_features
from tal.features.text import TextFolder
from tal.methods.answers import moment_table
from tal.methods.base import Inputs, Sample
from tal.methods.batching import resize_sample
from tal.pipelines.train_samples import Samples, TrainingData
from tal.pipelines.train_settings import DataSettings, QuerySettings, Recipe
from tal.registry import PROTOCOLS
from tal.segments import Segments
from tal.timeline import SnippetGrid

PAIRS = 2
"""Saliency pairs per query: a hard one, from within what answers it, and an easy one."""


class QuerySamples(Samples):
    """Queries as samples: a video's features, a query's tokens, and the moments that answer it as instances.

    Args:
        videos: The videos' features, loaded when they are asked for.
        records: One per query, with its only moment.
        text: The tokens.
    """

    def __init__(self, videos: Samples, records: Sequence[VideoRecord], text: TextFolder) -> None:
        super().__init__(records, videos.sources, memory_gib=videos.memory_gib)
        self.videos, self.text = videos, text
        self._row = {record.video: row for row, record in enumerate(videos.records)}

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Sample]": ...
    def __getitem__(self, index: int | slice) -> "Sample | list[Sample]":
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        record = self.records[index]
        query = query_of(record)
        return replace(
            self.videos[self._row[record.video]],
            instances=record.instances,
            query=query,
            text=torch.from_numpy(self.text.load(query)),
        )

    def moment(self, index: int) -> Moment:
        """The query with all that answers it, as published."""
        return self.records[index].moments[0]

    def subset(self, indices: Sequence[int]) -> "QuerySamples":
        """The chosen queries; what is loaded stays loaded."""
        return QuerySamples(self.videos, [self.records[index] for index in indices], self.text)


def query_of(record: VideoRecord) -> Query:
    """Of a record with one moment."""
    moment = record.moments[0]
    return Query(qid=moment.qid, video=record.video, text=moment.text)


class QueryDraws(Dataset[Sample]):
    """Queries of an epoch: some of many moments, and pairs of a salient and a less salient snippet.

    Every draw is a function of (seed, epoch, query).

    Args:
        samples: The queries.
        inputs: What the method reads.
        settings: How much is drawn.
        seed: Of the training.
    """

    def __init__(self, samples: QuerySamples, inputs: Inputs, settings: QuerySettings, seed: int) -> None:
        self.samples, self.inputs, self.settings, self.seed = samples, inputs, settings, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, where: tuple[int, int]) -> Sample:
        epoch, index = where
        rng = np.random.default_rng((self.seed, epoch, index))
        sample = self.samples[index]
        if self.inputs.resize_to is not None:
            sample = resize_sample(sample, self.inputs.resize_to)
        read = sample.grid.slice(0, min(sample.grid.count, self.inputs.train_snippets))
        moments = sample.instances
        if moments is None or sample.text is None:
            raise FeatureError(f"{sample.video} is asked nothing", expected="a query")
        moment = self.samples.moment(index)
        if read.count < sample.grid.count:  # the rest of the video is not read
            moments = moments.clipped(read.offset_s, read.end_s)
            moments = moments[moments.length_s > 0]
            moment = until(moment, read.end_s, self.settings.clip_s)
        if len(moments) > self.settings.max_moments:
            moments = moments[rng.permutation(len(moments))[: self.settings.max_moments]]
        pairs = saliency_pairs(moment, read, self.settings.clip_s, rng)
        text = dropped_tokens(sample.text[: self.inputs.text_tokens], self.settings.token_dropout, rng)
        return replace(sample, instances=moments, saliency_pairs=torch.from_numpy(pairs), text=text)


def until(moment: Moment, end_s: float, clip_s: float) -> Moment:
    """What of a moment's spans, and of its clips of `clip_s` seconds by their centres, lies before `end_s`."""
    kept = [row for row, clip in enumerate(moment.clips) if (clip + 0.5) * clip_s < end_s]
    return replace(
        moment,
        spans_s=tuple((first_s, min(last_s, end_s)) for first_s, last_s in moment.spans_s if first_s < end_s),
        clips=tuple(moment.clips[row] for row in kept),
        saliency=tuple(moment.saliency[row] for row in kept),
    )


def dropped_tokens(text: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Tokens (L, C) of which a share, rounded to whole ones, is zero."""
    count = round(len(text) * share)
    if not count:
        return text
    kept = text.clone()
    kept[rng.choice(len(text), size=count, replace=False)] = 0
    return kept


def saliency_pairs(moment: Moment, grid: SnippetGrid, clip_s: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """(2, PAIRS) snippets: those that should score higher, those that should not.

    With annotated saliency, the best against the worst of the clips that answer the query, and any of them against any
    other clip; without, two snippets within the moments against two outside (both as in jayleicn/moment_detr,
    start_end_dataset.py). Where there is nothing to draw from, a snippet stands against itself, which teaches nothing.

    Args:
        moment: With clips and saliency, or with spans alone.
        grid: Of the snippets that are read.
        clip_s: Length of the clips that are annotated.
        rng: Source of the draws.
    """
    if moment.clips:
        centres_s = (np.array(moment.clips) + 0.5) * clip_s
        answering = np.rint(grid.to_idx(centres_s)).astype(np.int64).clip(0, grid.count - 1)
        order = np.argsort(np.array(moment.saliency).sum(1), kind="stable")
        hard = answering[order[[-1, 0]]]
    else:
        answering = _within(moment.spans_s, grid)
        hard = np.zeros(2, np.int64)
    others = np.setdiff1d(np.arange(grid.count), answering)
    if not len(answering):
        return np.zeros((2, PAIRS), np.int64)
    if not moment.clips:
        within = rng.choice(answering, PAIRS, replace=len(answering) < PAIRS)
        outside = rng.choice(others, PAIRS, replace=len(others) < PAIRS) if len(others) else within
        return np.stack([within, outside])
    easy = np.array([rng.choice(answering), rng.choice(others)]) if len(others) else hard
    return np.stack([hard, easy], axis=1)


def _within(spans_s: Sequence[tuple[float, float]], grid: SnippetGrid) -> NDArray[np.int64]:
    """Snippets whose cells the spans cover from their first to their last; at least one of each span."""
    found = []
    for start_s, end_s in spans_s:
        first, stop = np.floor(grid.to_idx([start_s, end_s]) + 0.5 + 1e-6).astype(np.int64)
        last = min(max(stop - 1, first), grid.count - 1)
        found.append(np.arange(max(min(first, last), 0), last + 1))
    return np.unique(np.concatenate([*found, np.empty(0, np.int64)]))


def open_queries(settings: DataSettings, folder: Path) -> TrainingData:
    """Read the annotations, open the features of videos and text.

    Args:
        settings: Of the recipe.
        folder: That of the text features.

    Raises:
        TalError: files that are missing or damaged, splits that do not exist, videos or queries without features.
    """
    sources = {name: open_features(each.folder, layout=each.layout) for name, each in settings.features.items()}
    queries = settings.queries
    text = TextFolder(folder, prefix=queries.text_prefix, key=queries.text_key)
    parts, published, notes = {}, {}, []
    for split, annotations in _splits(settings, queries).items():
        published[split] = annotations
        usable = [record for record in annotations.videos.values() if record.moments]
        videos = Samples(usable, sources, memory_gib=settings.memory_gib)
        records = [_of_moment(record, moment) for record in usable for moment in record.moments]
        kept = [record for record in records if split == "validation" or len(record.instances)]
        if len(kept) < len(records):
            notes.append(f"{len(records) - len(kept)} {split} queries without a moment of any length are left out")
        _check_features(kept, videos, text, settings)
        parts[split] = QuerySamples(videos, sorted(kept, key=lambda record: record.moments[0].place), text)
        notes.append(f"{split}: {len(kept)} queries on {len({record.video for record in kept})} videos")
    return TrainingData(
        classes=(),
        annotations=published["validation"] if len(parts["validation"]) else published["train"],
        specs={name: source.spec for name, source in sources.items()},
        notes=tuple(notes),
        text=text.spec,
        **parts,
    )


def _splits(settings: DataSettings, queries: QuerySettings) -> dict[str, Annotations]:
    """Annotations of training and of validation."""
    whole = read_annotations(settings.annotations, format=settings.format)
    if not any(record.moments for record in whole.videos.values()):
        raise AnnotationError(f"{settings.annotations} holds no queries", expected="sentences with their moments")
    if queries.validation is not None:
        return {"train": whole, "validation": read_annotations(queries.validation, format=settings.format)}
    subsets = {name.lower() for name in whole.subsets}
    chosen = {"train": settings.train_subsets, "validation": settings.validation_subsets}
    unknown = [name for names in chosen.values() for name in names if name.lower() not in subsets]
    if unknown:
        raise ConfigError(
            f"{settings.annotations} has no subset {unknown[0]!r}",
            expected="one of " + ", ".join(map(repr, whole.subsets)),
            todo="name the file of the validation queries as data.queries.validation",
        )
    return {split: _of_subsets(whole, {name.lower() for name in names}) for split, names in chosen.items()}


def _of_subsets(annotations: Annotations, names: set[str]) -> Annotations:
    videos = {video: each for video, each in annotations.videos.items() if each.subset.lower() in names}
    return replace(annotations, videos=videos)


def _of_moment(record: VideoRecord, moment: Moment) -> VideoRecord:
    """A record of one query; its spans are the instances, those of no length left out."""
    spans = np.array([span for span in moment.spans_s if span[1] > span[0]], np.float64).reshape(-1, 2)
    return replace(record, moments=(moment,), instances=Segments(start_s=spans[:, 0], end_s=spans[:, 1]))


def _check_features(records: Sequence[VideoRecord], videos: Samples, text: TextFolder, settings: DataSettings) -> None:
    """Refuse queries that lack features of their video or of their text."""
    known = [set(source.ids()) for source in videos.sources.values()]
    without = {
        "videos": sorted({each.video for each in records if not all(each.video in ids for ids in known)}),
        "queries": [query_of(each).qid or each.video for each in records if not text.has(query_of(each))],
    }
    for kind, names in without.items():
        if names:
            folders = text.folder if kind == "queries" else ", ".join(str(s.folder) for s in settings.features.values())
            raise FeatureError(
                f"{len(names)} {kind} have no features: {', '.join(names[:5])}",
                expected=f"each of them in {folders}",
                todo="make them with tal extract" + (" --text" if kind == "queries" else ""),
            )


@dataclass(frozen=True, kw_only=True)
class QueryScorer:
    """Answers to all queries of some videos -> metrics, by the recipe's protocol.

    "mAP", by which the best epoch is chosen, is MR-mAP where the protocol has it, else the mean of its R@1.

    Args:
        protocol: Of the recipe.
        annotations: Of the queries that are scored, as published.
    """

    protocol: Protocol
    annotations: Annotations

    @classmethod
    def of(cls, recipe: Recipe, data: TrainingData) -> "QueryScorer":
        """For the recipe's validation queries."""
        judged = data.validation if len(data.validation) else data.train
        moments: dict[str, list[Moment]] = {}
        for record in judged.records:
            moments.setdefault(record.video, []).extend(record.moments)
        videos = {
            video: replace(data.annotations.videos[video], moments=tuple(each), subset="")
            for video, each in moments.items()
        }
        protocol = PROTOCOLS.load(recipe.data.protocol)
        changes: dict[str, Any] = {"subset": None} | ({"unrounded": True} if hasattr(protocol, "unrounded") else {})
        if recipe.data.tiou:
            changes["tiou"] = recipe.data.tiou
        return cls(protocol=replace(protocol, **changes), annotations=replace(data.annotations, videos=videos))

    def __call__(self, answers: Mapping[str, Segments]) -> dict[str, float]:
        """Metric name -> value, "mAP" among them."""
        found = evaluate(self.protocol, self.annotations, moment_table(answers.values()))
        metrics = {name: float(value) for name, value in found.metrics.items()}
        first = [value for name, value in metrics.items() if name.startswith("R1@")]
        metrics.setdefault("mAP", metrics.get("MR-mAP", float(np.mean(first)) if first else 0.0))
        return metrics
