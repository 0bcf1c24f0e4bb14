"""Opening annotation and prediction files: every way in which that fails gives one clear error."""

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tal.errors import AnnotationError

_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_BINARY = {
    b"PK\x03\x04": "a zip archive (a spreadsheet or a .pt file?)",
    b"\x1f\x8b": "gzip-compressed",
    b"%PDF": "a pdf",
}
_HEAD = 1_000_000
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16."""
_BLANK = b" \t\r\n\v\f\x00\xef\xbb\xbf\xff\xfe"
"""White space, byte order marks, and the zeros of a file that was never filled."""


def read_bytes(path: Path | str, *, binary: bool = False, pickles: bool = False) -> bytes:
    """The file's content.

    Args:
        path: The file.
        binary: The caller reads more than text, as npz archives and images: only pickles are refused.
        pickles: The caller reads pickles, with `tal.annotations.pickles`.

    Raises:
        AnnotationError: missing, a folder, unreadable, empty, or a kind that is never read (pickle, archive).
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        beside = sorted(each.name for each in path.parent.iterdir() if each.is_file()) if path.parent.is_dir() else []
        said = f"in that folder: {', '.join(beside[:8])}" if beside else f"there is no folder {path.parent}"
        raise AnnotationError(f"{path}: no such file", todo=said if beside else f"check the path; {said}") from None
    except IsADirectoryError:
        raise AnnotationError(f"{path} is a folder", expected="a file with annotations or predictions") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror}") from error
    except MemoryError:
        raise too_large(path) from None
    if not content[:_HEAD].strip(_BLANK) and not content.strip(_BLANK):
        raise AnnotationError(f"{path} is empty", cause="an interrupted download or write", todo="get the file again")
    if content.startswith(_PICKLE_STARTS) and not pickles:
        raise AnnotationError(
            f"{path} is a Python pickle",
            expected="JSON, CSV or XML",
            cause="some repositories ship predictions as .pkl",
            todo="convert it to JSON where you trust it; loading a pickle can run any code. Those of JHMDB and "
            "UCF101-24 are read by their protocols, with a reader that runs none",
        )
    for start, kind in _BINARY.items():
        if content.startswith(start) and not binary:
            raise AnnotationError(
                f"{path} is {kind}", expected="JSON, CSV or XML text", todo="unpack or export it first"
            )
    return content


def too_large(path: Path | str) -> AnnotationError:
    """The error for a file that does not fit into memory."""
    return AnnotationError(
        f"{path}: {Path(path).stat().st_size / 2**30:.1f} GiB do not fit into this machine's memory",
        todo="keep only the best predictions of each video (benchmarks look at 100 to 2000), or use a larger machine",
    )


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


def looks_like_json(content: bytes) -> bool:
    """Whether text, in any encoding that is read, begins as a JSON object or list does."""
    return content[:200].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] in (b"{", b"[")


def to_text(content: bytes, path: Path | str) -> str:
    """UTF-8 text (UTF-16 with a byte order mark too, as spreadsheets export it)."""
    wide = content.startswith(_WIDE)
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path}: not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}",
            cause="a binary file, or text in another encoding",
            todo="save it as UTF-8",
        ) from None


def to_json(content: bytes, path: Path | str) -> Any:
    """The parsed JSON.

    Raises:
        AnnotationError: not JSON, with line and column, or truncated.
    """
    text = to_text(content, path)
    with reading_json(text, path):
        return json.loads(text)


def to_unique_json(content: bytes, path: Path | str) -> Any:
    """The parsed JSON, in which no object has a key twice: of two, a reader would silently take the last.

    Raises:
        AnnotationError: not JSON, truncated, or a key that stands twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise AnnotationError(
                f"{path}: {twice!r} stands twice in one object",
                expected="every id once",
                todo="remove one of the two",
            )
        return found

    text = to_text(content, path)
    with reading_json(text, path):
        return json.loads(text, object_pairs_hook=unique)


@contextmanager
def reading_json(text: str, path: Path | str) -> Iterator[None]:
    """Parse JSON inside: what is wrong with it is told with line and column, and the garbage collector pauses.

    Raises:
        AnnotationError: not JSON, or truncated.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # Millions of small objects are made and none is freed: the collector only costs time.
    try:
        yield
    except json.JSONDecodeError as error:
        truncated = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated")
        in_lines = error.msg == "Extra data" and looks_like_json_lines(text[:_HEAD].encode())
        raise AnnotationError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno} "
            f"(character {error.pos} of {len(text)}): {error.msg}",
            cause="the file is truncated: an interrupted download or write"
            if truncated
            else "JSON lines, a form of moment retrieval"
            if in_lines
            else "",
        ) from None
    except RecursionError:
        raise AnnotationError(f"{path}: JSON nested too deeply", cause="not an annotation file") from None
    except ValueError as error:  # Python's limit on the digits of a whole number.
        raise AnnotationError(f"{path}: a value that cannot be read: {error}", cause="not an annotation file") from None
    finally:
        if was_enabled:
            gc.enable()


def to_json_lines(content: bytes, path: Path | str) -> list[tuple[int, Any]]:
    """(line number, parsed JSON) of each line that is not blank.

    Raises:
        AnnotationError: a line is not JSON (line and column are told), or the last one is truncated.
    """
    found = []
    lines = to_text(content, path).rstrip().split("\n")  # Text may hold other separators of lines.
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            if isinstance(error, json.JSONDecodeError):
                told = f"column {error.colno}: {error.msg}"
            raise AnnotationError(
                f"{path}: line {number} of {len(lines)} is not valid JSON: {told}",
                expected="one JSON object per line",
                cause="the file is truncated: an interrupted download or write" if number == len(lines) else "",
            ) from None
    return found


def looks_like_json_lines(content: bytes) -> bool:
    """Whether each line is an object of its own: a second one follows, or the only one names a query by `qid`."""
    if content.startswith(_WIDE):
        content = content.decode("utf-16", "ignore").encode("utf-8", "replace")
    first, _, rest = content.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not (first.startswith(b"{") and first.rstrip().endswith(b"}")):
        return False
    return rest.lstrip().startswith(b"{") if rest.strip() else first.lstrip(b"{ ").startswith(b'"qid"')
