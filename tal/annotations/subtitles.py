"""Subtitles: segments as WebVTT or SRT, which every player shows over the video."""

from collections.abc import Callable
from pathlib import Path

from tal.annotations.showing import NO_LABEL, one_line, shown
from tal.atomic import write_text
from tal.segments import Segments

_QUOTES = {
    ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
}


def write_vtt(path: Path | str, segments: Segments, *, scores: bool = True) -> int:
    """Write WebVTT, a cue per segment in order of start.

    Args:
        path: The file.
        segments: Of one video.
        scores: End each cue's text with the score.

    Returns:
        The number of cues: segments that cannot be shown are left out, see `showing.shown`.
    """
    cues = _cues(segments, ".", _escaped, scores)
    write_text(Path(path), "\n".join(["WEBVTT\n", *cues]))
    return len(cues)


def write_srt(path: Path | str, segments: Segments, *, scores: bool = True) -> int:
    """Write SubRip, a numbered cue per segment in order of start; arguments and result as for `write_vtt`.

    Players take <b> for bold and know no common escape: angle brackets become single quotation marks of their shape.
    """
    cues = _cues(segments, ",", lambda text: text.translate(_QUOTES), scores)
    write_text(Path(path), "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, 1)))
    return len(cues)


def _cues(segments: Segments, point: str, escaped: Callable[[str], str], scores: bool) -> list[str]:
    return [
        f"{_clock(each.start_ms, point)} --> {_clock(each.end_ms, point)}\n"
        + escaped(one_line(each.name) or NO_LABEL)
        + (f" {each.score:.2f}\n" if scores else "\n")
        for each in shown(segments)
    ]


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
