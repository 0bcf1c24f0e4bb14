"""Subtitles: segments as WebVTT or SRT, which every player shows over the video."""

from collections.abc import Iterator
from pathlib import Path

from tal.atomic import write_text
from tal.segments import Segments


def write_vtt(path: Path | str, segments: Segments) -> None:
    """Write WebVTT, a cue per segment in order of start."""
    cues = [f"{start} --> {end}\n{_escaped(text)}\n" for start, end, text in _cues(segments, ".")]
    write_text(Path(path), "\n".join(["WEBVTT\n", *cues]))


def write_srt(path: Path | str, segments: Segments) -> None:
    """Write SubRip, a numbered cue per segment in order of start.

    Players take <b> for bold and know no common escape: angle brackets become single quotation marks of their shape.
    """
    cues = (
        f"{number}\n{start} --> {end}\n{_without_tags(text)}\n"
        for number, (start, end, text) in enumerate(_cues(segments, ","), 1)
    )
    write_text(Path(path), "\n".join(cues))


def _cues(segments: Segments, point: str) -> Iterator[tuple[str, str, str]]:
    """(start, end, text); segments that a player cannot show (empty, reversed, before 0) are clipped or left out."""
    names = segments.names
    for row_idx in sorted(range(len(segments)), key=lambda row: (segments.start_s[row], segments.end_s[row])):
        start_ms = max(0, round(1000 * float(segments.start_s[row_idx])))
        end_ms = round(1000 * float(segments.end_s[row_idx]))
        if end_ms > start_ms:
            text = " ".join((names[row_idx] or "segment").split())
            yield _clock(start_ms, point), _clock(end_ms, point), f"{text} {segments.score[row_idx]:.2f}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _without_tags(text: str) -> str:
    return text.translate(
        {
            ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
            ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
        }
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
