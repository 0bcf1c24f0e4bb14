"""What is asked of videos: the sentences of any annotation file, with or without the moments that answer them."""

from dataclasses import dataclass
from pathlib import Path

from tal.annotations import files, qvhighlights
from tal.annotations.csv import video_id
from tal.annotations.moment_results import Query
from tal.annotations.reading import read_annotations
from tal.annotations.records import Annotations
from tal.errors import AnnotationError

_EXPECTED = 'one object per line: {"qid", "query", "vid", "duration"}; or annotations with sentences'


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One sentence asked of one video.

    Args:
        query: Id, video and text.
        duration_s: The video's; None where the file does not say.
    """

    query: Query
    duration_s: float | None = None


def read_queries(path: Path | str, *, subset: str | None = None) -> list[Asked]:
    """The queries of a file in its order: JSON lines with or without answers, or any annotations with sentences.

    Raises:
        AnnotationError: a file that cannot be read, without a query, or with two queries of one id.
    """
    content = files.read_bytes(path)
    found = None
    if files.looks_like_json_lines(content) and subset is None:
        rows = files.to_json_lines(content, path)
        if qvhighlights.looks_like([row for _, row in rows]):
            found = [_of_row(row, f"{path}: line {line}") for line, row in rows]
    if found is None:
        found = of_annotations(read_annotations(path), subset=subset)
    if not found:
        raise AnnotationError(f"{path} holds no query", expected=_EXPECTED)
    seen: set[str] = set()
    for each in found:
        if each.query.qid and each.query.qid in seen:
            raise AnnotationError(f"{path}: qid {each.query.qid} twice", expected="an id of its own for every query")
        seen.add(each.query.qid)
    return found


def of_annotations(annotations: Annotations, *, subset: str | None = None) -> list[Asked]:
    """The queries of annotations, in the order of their file."""
    found = [
        (moment.place, Asked(query=Query(qid=moment.qid, video=video, text=moment.text), duration_s=record.duration_s))
        for video, record in annotations.videos.items()
        if subset is None or record.subset.lower() == subset.lower()
        for moment in record.moments
    ]
    return [asked for _, asked in sorted(found, key=lambda pair: pair[0])]


def _of_row(row: object, where: str) -> Asked:
    if not isinstance(row, dict) or not {"query", "vid"} <= set(row):
        raise AnnotationError(f"{where} is {row!r:.80}", expected=_EXPECTED)
    qid, duration = row.get("qid"), row.get("duration")
    if duration is not None and not (isinstance(duration, int | float) and 0 < duration < float("inf")):
        raise AnnotationError(f"{where}: duration {duration!r}", expected="seconds")
    query = Query(qid="" if qid is None else str(qid), video=video_id(str(row["vid"])), text=str(row["query"]))
    return Asked(query=query, duration_s=None if duration is None else float(duration))
