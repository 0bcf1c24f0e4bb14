"""Zero-shot temporal detection: mAP of the unseen classes, averaged over the splits into seen and unseen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tal.annotations.labels import parse_classes
from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable
from tal.annotations.subsets import in_subset
from tal.datasets.kinds.open_vocabulary import EVERY_SUBSET, ZeroShotProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.detection import Scored, score
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import read_predictions
from tal.evaluation.narrowing import check_classes, merge, of_classes, refuse_foreign, without_videos
from tal.evaluation.result import Evaluation, threshold_name
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import Tally
from tal.metrics.open_vocabulary import rounded_percent
from tal.segments import Segments

_LISTS = (".list", ".txt", ".json")
_RESULTS = (".json", ".csv")


def run(
    protocol: ZeroShotProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, Segments] | ResultTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score segments split by split; of each, only the unseen classes and the videos that show one.

    Args:
        protocol: The rules, with the folder of splits.
        annotations: A file in any format that is read, or records.
        predictions: ActivityNet results JSON or CSV, or segments per video, for all splits; or a folder with such a
            file per split.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, no lists of classes, two files for one split, an unknown subset,
            predictions with NaN, or nothing to evaluate.
    """
    annotations = _of_every_subset(protocol, inputs.annotations(annotations))
    protocol = replace(protocol, subset=None if protocol.subset == EVERY_SUBSET else protocol.subset)
    lists, told = _lists(protocol, annotations, inputs)
    tables, missing = _tables(predictions, lists, inputs)
    told += _told_splits(protocol, len(lists), missing)
    results = [_split(protocol, annotations, lists[number], *tables[number]) for number in sorted(tables)]
    names = [f"split_{number}" for number in sorted(tables)]
    whole = _counted(results)
    for text in [*told, *_told_results(dict(zip(names, results, strict=True)))]:
        whole.warn(text)
    counts = whole.counts(
        videos={video: None for result in results for video in result.scored.joined.records},
        with_predictions={video for result in results for video in result.predicted},
        classes=len({name for result in results for name in result.per_class}),
        splits=len(results),
        splits_missing=len(missing),
        ground_truth=sum(len(result.scored.joined.truth) for result in results),
        duplicates_removed=sum(result.scored.joined.duplicates_removed for result in results),
        predictions=sum(result.given for result in results),
        predictions_evaluated=sum(len(result.scored.joined.predictions) for result in results),
        predictions_outside=sum(result.scored.joined.outside for result in results),
    )
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described()
        | {
            "subset": results[0].scored.subset or EVERY_SUBSET,
            "annotation_format": annotations.format,
            "counts": "summed over splits",
        },
        inputs=inputs.hashes,
        counts=counts,
        metrics=_means(protocol, results, names),
        per_class=_class_means(results),
        missing=whole.missing,
        warnings=tuple(whole.warnings),
    )


def _of_every_subset(protocol: ZeroShotProtocol, annotations: Annotations) -> Annotations:
    """The annotations, as of one split where the protocol means every video."""
    if protocol.subset != EVERY_SUBSET:
        return annotations
    videos = {video: replace(record, subset="") for video, record in annotations.videos.items()}
    return replace(annotations, videos=videos)


def _number(path: Path) -> int | None:
    """The split that a file's name tells: the number after "split", else the last one."""
    found = re.findall(r"split[ _-]?(\d+)", path.stem.lower()) or re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None


def _numbered_files(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """Split -> its file, in order.

    Raises:
        AnnotationError: no such folder, no such file in it, or two files of one split.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise AnnotationError(f"{folder}: {what}", expected=f"a folder with one {' or '.join(suffixes)} file per split")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        number = _number(path)
        if path.suffix not in suffixes or number is None:
            continue
        if number in found:
            raise AnnotationError(f"{folder}: {found[number].name} and {path.name} are both of split {number}")
        found[number] = path
    if not found:
        raise AnnotationError(
            f"{folder}: no file whose name tells a split's number",
            expected=f"split_0{suffixes[0]}, split_1{suffixes[0]}, ...",
        )
    return dict(sorted(found.items()))


def _lists(
    protocol: ZeroShotProtocol, annotations: Annotations, inputs: Inputs
) -> tuple[dict[int, tuple[str, ...]], list[str]]:
    """(split -> its unseen classes, what a reader should know); a list of all classes is not one of a split."""
    if protocol.splits is None:
        raise ConfigError(
            f"protocol {protocol.name} needs the splits into seen and unseen classes",
            expected="a folder with one list of unseen classes per split",
            todo="give it with --splits FOLDER; those of EffPrompt are in benedettaliberatori/T3AL, splits/",
        )
    folder = protocol.splits / "test" if (protocol.splits / "test").is_dir() else protocol.splits
    if folder.name == "train":
        raise ConfigError(f"{folder} holds the seen classes", expected="the unseen ones", todo="give the folder test")
    lists, told = {}, []
    everything = set(annotations.classes) - {name for name, _ in protocol.excluded_classes}
    for number, path in _numbered_files(folder, _LISTS).items():
        names, _ = parse_classes(inputs.read(path), path)
        check_classes(names, annotations, path)
        if everything <= set(names):
            told.append(f"{path.name} names every class: it is no split into seen and unseen, and left out of the mean")
        else:
            lists[number] = names
    if not lists:
        raise AnnotationError(f"{folder}: no list leaves a class to be seen", expected="lists of the unseen classes")
    return lists, told


def _tables(
    predictions: Mapping[str, Segments] | ResultTable | Path | str, lists: Mapping[int, object], inputs: Inputs
) -> tuple[dict[int, tuple[ResultTable, str]], list[int]]:
    """(split -> predictions and what messages call them, splits without)."""
    if not isinstance(predictions, Path | str) or not Path(predictions).is_dir():
        table = read_predictions(predictions, inputs)
        return dict.fromkeys(lists, table), []
    files = _numbered_files(Path(predictions), _RESULTS)
    tables = {number: read_predictions(files[number], inputs) for number in lists if number in files}
    if not tables:
        raise AnnotationError(
            f"{predictions}: files of splits {', '.join(map(str, files))}",
            expected=f"files of splits {', '.join(map(str, lists))}",
        )
    return tables, [number for number in lists if number not in files]


def _told_splits(protocol: ZeroShotProtocol, lists: int, missing: list[int]) -> list[str]:
    told = []
    if lists != protocol.split_count:
        told.append(f"{lists} splits are listed, the benchmark has {protocol.split_count}")
    if missing:
        names = ", ".join(f"split_{number}" for number in missing)
        told.append(f"no predictions for {len(missing)} splits: {names}; the mean is over the others")
    return told


@dataclass(frozen=True, kw_only=True, eq=False)
class _Split:
    """The numbers of one split.

    Args:
        scored: Of its unseen classes.
        per_class: Those that the mean is over.
        predicted: Ids of the videos with predictions.
        given: Predictions before anything was left out.
    """

    scored: Scored
    per_class: Mapping[str, Mapping[str, float]]
    predicted: frozenset[str]
    given: int


def _split(
    protocol: ZeroShotProtocol, annotations: Annotations, classes: tuple[str, ...], given: ResultTable, source: str
) -> _Split:
    """Score the unseen classes of one split."""
    tally = Tally()
    subset, _ = present_subset(annotations, protocol.subset)
    wanted, named = set(classes), set(given.videos)
    left_out, records = {}, in_subset(annotations, subset)
    refuse_foreign(annotations, records, given, source)
    for video, record in records.items():
        if not wanted & set(record.instances.names):
            left_out[video] = "video without an unseen class"
        elif protocol.videos == "predicted" and video not in named:
            left_out[video] = "video that the predictions do not name"
    kept, rows = without_videos(annotations, given, left_out, tally)
    ordered = [name for name in annotations.classes if name in wanted]
    kept, rows = of_classes(kept, in_subset(kept, subset), rows, source, classes=ordered, tally=tally)
    scored = score(replace(protocol, class_count=None), kept, rows, source)
    merge(scored.joined.tally, tally)
    return _Split(
        scored=scored,
        per_class=_rounded(protocol, classes, scored.per_class) if protocol.rounded else scored.per_class,
        predicted=frozenset(given.videos[video] for video in np.unique(given.video_idx)),
        given=len(given),
    )


def _rounded(
    protocol: ZeroShotProtocol, classes: tuple[str, ...], per_class: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """All listed classes with AP rounded to 0.1 per cent, 0 without ground truth; `AP` is the mean of the rounded."""
    names = [f"AP@{threshold_name(each)}" for each in protocol.tiou]
    absent = {"ground_truth": 0.0, **dict.fromkeys(names, 0.0)}
    found = {}
    for label in classes:
        values = per_class.get(label, absent)
        rounded = rounded_percent(np.array([values[name] for name in names]))
        found[label] = {"AP": float(rounded.mean()), **dict(zip(names, rounded.tolist(), strict=True))}
        found[label]["ground_truth"] = values["ground_truth"]
    return found


def _told_results(results: Mapping[str, _Split]) -> list[str]:
    """What the splits' readers should know, each text once, a few of many."""
    texts: dict[str, list[str]] = {}
    for name, result in results.items():
        for text in result.scored.joined.tally.warnings:
            texts.setdefault(text, []).append(name)
    told = [text if len(found) == len(results) else f"{', '.join(found)}: {text}" for text, found in texts.items()]
    return told[:3] + ([f"{len(told) - 3} more notes on single splits"] if len(told) > 3 else [])


def _counted(results: list[_Split]) -> Tally:
    """What was left out, summed over the splits."""
    whole = Tally()
    for result in results:
        merge(whole, result.scored.joined.tally)
    return whole


def _means(protocol: ZeroShotProtocol, results: list[_Split], names: list[str]) -> dict[str, float]:
    """Mean and deviation over the splits, then each split; the deviation divides by the number of splits."""
    keys = ["AP", *(f"AP@{threshold_name(each)}" for each in protocol.tiou)]
    classes = [list(result.per_class.values()) for result in results]
    values = np.array([[np.mean([row[key] for row in rows]) for key in keys] for rows in classes])
    table = {"": values.mean(axis=0), "deviation/": values.std(axis=0)}
    table |= {f"{name}/": row for name, row in zip(names, values, strict=True)}
    return {f"{name}m{key}": float(value) for name, row in table.items() for key, value in zip(keys, row, strict=True)}


def _class_means(results: list[_Split]) -> dict[str, dict[str, float]]:
    """Mean over the splits in which a class is unseen; `splits` is their number."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        for name, values in result.per_class.items():
            found.setdefault(name, []).append(values)
    return {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} | {"splits": len(rows)}
        for name, rows in sorted(found.items())
    }
