"""Charades-STA text: `VIDEO START END##sentence` per line, seconds (jiyanggao/TALL). The split is the file.

The file tells no durations; they stand in Charades' own CSV. Some ends lie after their video's.
"""

from collections.abc import Sequence
from pathlib import Path

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.records import Annotations, Moment
from tal.atomic import write_text
from tal.errors import AnnotationError

_EXPECTED = "VIDEO START END##sentence"


def looks_like(text: str) -> bool:
    """Whether the first line is of this kind."""
    head, marks, _ = text.lstrip().partition("\n")[0].partition("##")
    return bool(marks) and len(head.split()) == 3


def parse(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records with moments.

    Raises:
        AnnotationError: a line of another kind.
    """
    videos: dict[str, RawVideo] = {}
    place = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source}: line {number}"
        head, marks, sentence = line.rstrip("\r").partition("##")
        parts = head.split()
        if len(parts) != 3 or not marks:
            raise AnnotationError(f"{where} is {line!r:.80}", expected=_EXPECTED)
        span = (seconds(parts[1], where), seconds(parts[2], where))
        raw = videos.setdefault(parts[0], RawVideo())
        raw.moments = (*raw.moments, Moment(text=sentence, spans_s=(span,), place=place))
        place += 1
    return build(videos, source=source, reader="charades-sta", classes=classes)


def write(path: Path | str, annotations: Annotations) -> None:
    """Write one line per span, in the order of the file that the moments were read from.

    Raises:
        AnnotationError: a video id with a blank, or a sentence of several lines, which the format cannot hold.
    """
    rows = [(moment.place, video, moment) for video, each in annotations.videos.items() for moment in each.moments]
    lines = []
    for _, video, moment in sorted(rows, key=lambda row: row[0]):
        if len(video.split()) != 1 or "\n" in moment.text:
            raise AnnotationError(
                f"video {video!r}, {moment.text!r:.60}: not to be written as {_EXPECTED}",
                todo="write QVHighlights jsonl, which holds any text",
            )
        lines += [f"{video} {start_s!r} {end_s!r}##{moment.text}\n" for start_s, end_s in moment.spans_s]
    write_text(Path(path), "".join(lines))
