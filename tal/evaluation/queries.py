"""Queries of the annotations and the predictions that answer them: the join that every task with text shares."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.moment_results import MomentTable, Query, parse_moments
from tal.annotations.records import Annotations, Moment
from tal.annotations.subsets import in_subset, listed
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally, some
from tal.metrics.moments import Windows
from tal.segments import Segments

Ints = NDArray[np.int64]
Predictions = Mapping[str, Segments] | MomentTable | Path | str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One query of the ground truth.

    Args:
        video: The video's id.
        moment: Text and answer.
        duration_s: The video's; None where unknown.
    """

    video: str
    moment: Moment
    duration_s: float | None = None

    @property
    def name(self) -> str:
        """For messages: the id, or video and text."""
        return f"qid {self.moment.qid}" if self.moment.qid else f"{self.video}: {self.moment.text.strip()}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Predictions in the order of the asked queries.

    Args:
        windows: In ranked order; `query_idx` counts the asked queries.
        record: (Q,) index into the table's queries; -1 for a query that the predictions do not name.
        asked: The Q queries.
        table: The predictions as read.
        foreign: What the predictions answer and the annotations do not ask.
    """

    windows: Windows
    record: Ints
    asked: Sequence[Asked]
    table: MomentTable
    foreign: tuple[str, ...] = ()

    @property
    def unnamed(self) -> list[Asked]:
        """Queries that the predictions do not name."""
        return [self.asked[query] for query in np.flatnonzero(self.record < 0).tolist()]

    @property
    def unanswered(self) -> list[Asked]:
        """Queries without any window, named or not."""
        missing = np.setdiff1d(np.arange(len(self.asked)), self.windows.query_idx)
        return [self.asked[query] for query in missing.tolist()]


def read_asked(
    annotations: Annotations | Path | str, inputs: Inputs, *, subset: str | None = None
) -> tuple[Annotations, list[Asked]]:
    """(records, queries of the split in the order of their file).

    Raises:
        AnnotationError: a file that cannot be read, an unknown subset, or annotations without queries.
    """
    annotations = inputs.annotations(annotations)
    if not any(record.moments for record in annotations.videos.values()):
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: {len(annotations)} videos, none with a query",
            expected="sentences with the times that answer them",
            cause="annotations of another task",
            todo="Charades-STA text, TACoS or ActivityNet Captions JSON, QVHighlights JSON lines, UAL-Bench JSON",
        )
    records = in_subset(annotations, subset)
    found = [
        Asked(video=video, moment=moment, duration_s=record.duration_s)
        for video, record in records.items()
        for moment in record.moments
    ]
    if not found:
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: no query in the {len(records)} videos of subset {subset!r}",
            todo=f"choose another subset; there are {listed(annotations)}",
        )
    return annotations, sorted(found, key=lambda each: each.moment.place)


def read_predictions(predictions: Predictions, inputs: Inputs) -> tuple[MomentTable, str]:
    """(predictions, their name in messages); times and scores are finite numbers.

    Raises:
        AnnotationError: a file that cannot be read, none at all, NaN or infinity.
    """
    if isinstance(predictions, Path | str):
        source, table = str(predictions), parse_moments(inputs.read(predictions), predictions)
        if not table.queries:
            raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
    else:
        source = "predictions"
        table = predictions if isinstance(predictions, MomentTable) else MomentTable.from_segments(predictions)
    for name, column in (("start", table.start_s), ("end", table.end_s), ("score", table.score)):
        wrong = np.empty(0, np.int64) if column is None else np.flatnonzero(~np.isfinite(column))
        if len(wrong):
            number = int(table.query_idx[wrong[0]])
            query = table.queries[number]
            raise AnnotationError(
                f"{source}: {len(wrong)} windows whose {name} is NaN or infinite, the first of "
                f"{query.qid or query.video or f'query {number}'!r}",
                expected="numbers",
                cause="a training run that diverged" if name == "score" else "",
                todo="look at the model's output; such windows cannot be ranked or placed",
            )
    return table, source


def join(asked: Sequence[Asked], table: MomentTable, source: str, tally: Tally) -> Answers:
    """Give each query the predictions that name it; what answers none is counted.

    By position if the file only lists windows; by query id where both sides have ids; else by video and text, or by
    video alone where the predictions have no text. Where several queries share video and text, either one answer serves
    all of them, or there are as many answers, taken in order.

    Raises:
        AnnotationError: another number of lists than queries, no query in common, or answers that cannot be told apart.
    """
    record = _in_order(asked, table, source) if table.in_order else _by_name(asked, table, source)
    foreign = np.setdiff1d(np.arange(len(table.queries)), record)
    names = tuple(_name(table.queries[number]) for number in foreign.tolist())
    if names:
        tally.drop("query not in the annotations", int(np.isin(table.query_idx, foreign).sum()))
        tally.warn(f"{len(foreign)} queries of the predictions are not in the annotations: {some(names)}")
    _tell_other_texts(asked, table, record, tally)
    first = np.searchsorted(table.query_idx, record, "left")
    count = np.where(record < 0, 0, np.searchsorted(table.query_idx, record, "right") - first)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    windows = Windows(
        query_idx=np.repeat(np.arange(len(asked)), count),
        start_s=table.start_s[rows],
        end_s=table.end_s[rows],
        score=None if table.score is None else table.score[rows],
    )
    return Answers(windows=windows, record=record, asked=asked, table=table, foreign=names)


def _tell_other_texts(asked: Sequence[Asked], table: MomentTable, record: Ints, tally: Tally) -> None:
    """Ids decide, as in the official tools; that the rest differs is worth a note."""
    other = []
    for each, number in zip(asked, record.tolist(), strict=True):
        query = table.queries[number] if number >= 0 else None
        if query is None or not (each.moment.qid and query.qid):
            continue
        same_text = not query.text or _plain(query.text) == _plain(each.moment.text)
        if not same_text or query.video not in ("", each.video):
            other.append(each.name)
    if other:
        tally.warn(f"{len(other)} predictions name another video or text than the query of their id: {some(other)}")


def _name(query: Query) -> str:
    return query.qid or f"{query.video}: {query.text}"


def _in_order(asked: Sequence[Asked], table: MomentTable, source: str) -> Ints:
    if len(table.queries) != len(asked):
        raise AnnotationError(
            f"{source}: {len(table.queries)} lists of windows for {len(asked)} queries",
            expected="one list per query, in the order of the annotations",
            cause="predictions of another split, or queries that were left out while loading",
            todo="name the queries instead: JSON lines with qid, or with vid and query",
        )
    return np.arange(len(asked))


def _by_name(asked: Sequence[Asked], table: MomentTable, source: str) -> Ints:
    if not table.queries:
        return np.full(len(asked), -1)
    if all(each.moment.qid for each in asked) and any(query.qid for query in table.queries):
        record = _matched(
            [(each.moment.qid,) for each in asked], [(query.qid,) for query in table.queries], source=source
        )
    elif any(query.text for query in table.queries):
        record = _matched(
            [(each.video, _plain(each.moment.text)) for each in asked],
            [(query.video, _plain(query.text)) for query in table.queries],
            source=source,
        )
    else:
        record = _matched(
            [(each.video,) for each in asked],
            [(query.video or query.qid,) for query in table.queries],
            source=source,
            one_serves_all=False,
        )
    if (record < 0).all():
        raise AnnotationError(
            f"{source}: none of its {len(table.queries)} queries is in the annotations: "
            f"{some([_name(query) for query in table.queries])}",
            expected=f"queries such as {some([each.name for each in asked])}",
            cause="predictions of another split or benchmark",
        )
    return record


def _plain(text: str) -> str:
    """A sentence without what loaders change: blanks at the ends and doubled, and the final stop."""
    return " ".join(text.split()).rstrip(".").rstrip()


def _matched(
    wanted: Sequence[tuple[str, ...]],
    given: Sequence[tuple[str, ...]],
    *,
    source: str,
    one_serves_all: bool = True,
) -> Ints:
    """(Q,) index into `given` for each of `wanted`; -1 for none."""
    places: dict[tuple[str, ...], list[int]] = {}
    for position, key in enumerate(given):
        places.setdefault(key, []).append(position)
    repeats: dict[tuple[str, ...], list[int]] = {}
    for position, key in enumerate(wanted):
        repeats.setdefault(key, []).append(position)
    record = np.full(len(wanted), -1)
    for key, queries in repeats.items():
        answers = places.get(key, [])
        if len(answers) == 1 and one_serves_all:
            answers = answers * len(queries)
        if answers and len(answers) != len(queries):
            raise AnnotationError(
                f"{source}: {len(answers)} answers to {len(queries)} queries {key[0]!r}, {' '.join(key[1:])!r:.60}",
                expected="an answer for each of them, in the order of the annotations",
                todo="name the queries by qid, or by video and text",
            )
        record[queries] = answers or -1
    return record


def truth_windows(asked: Sequence[Asked], source: str) -> Windows:
    """The spans of all queries.

    Raises:
        AnnotationError: a query without spans, or a span without a time.
    """
    for each in asked:
        if not each.moment.spans_s or not all(math.isfinite(time) for span in each.moment.spans_s for time in span):
            raise AnnotationError(
                f"{source}: {each.name} has {'a time missing' if each.moment.spans_s else 'no window'}",
                expected="start and end of at least one window per query",
                cause="a split whose ground truth is not published",
            )
    spans = np.array([span for each in asked for span in each.moment.spans_s], np.float64).reshape(-1, 2)
    count = [len(each.moment.spans_s) for each in asked]
    return Windows(query_idx=np.repeat(np.arange(len(asked)), count), start_s=spans[:, 0], end_s=spans[:, 1])


def tell_missing(answers: Answers, tally: Tally, fate: str) -> None:
    """Note the queries without any window, and what becomes of them."""
    missing = answers.unanswered
    if missing:
        names = some([each.name for each in missing])
        tally.warn(f"{len(missing)} of {len(answers.asked)} queries have no prediction and {fate}: {names}")


def query_counts(
    answers: Answers, answered: Ints, tally: Tally, *, ground_truth: int, evaluated: int
) -> dict[str, object]:
    """The counts of an evaluation whose units are queries; `answered` are the numbers of those with predictions."""
    return tally.counts(
        videos=list(dict.fromkeys(each.video for each in answers.asked)),
        with_predictions={answers.asked[query].video for query in answered.tolist()},
        queries=len(answers.asked),
        queries_with_predictions=len(answered),
        missing_queries=len(answers.asked) - len(answered),
        ground_truth=ground_truth,
        predictions=len(answers.table),
        predictions_evaluated=evaluated,
    )
