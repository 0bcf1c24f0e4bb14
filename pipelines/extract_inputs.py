"""What `tal extract` is pointed at: files, folders, globs, tables, annotation files, lists: ids and their files."""

import csv
import glob
import hashlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tal.annotations import files
from tal.annotations.reading import parse_annotations
from tal.errors import AnnotationError, ConfigError, TalError
from tal.video import assign_ids, list_videos
from tal.video.files import SUFFIXES, resolved

_PATHS = ("path", "file", "filename", "file_name", "video_path")
_IDS = ("id", "video", "video_id", "videoid", "video_name", "vid", "name")
_SUBSETS = ("subset", "split", "set")
_TABLES = (".csv", ".tsv")
_ANNOTATIONS = (".json", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The videos to work on.

    Args:
        videos: id -> file, in the order in which they were named.
        missing: id -> why it has no file. Nothing that was named is left out silently.
        repeated: How many files were named more than once.
    """

    videos: Mapping[str, Path] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.videos) + len(self.missing)

    def ids(self) -> list[str]:
        """All ids, those without a file too."""
        return [*self.videos, *self.missing]


@dataclass(frozen=True, kw_only=True)
class _Named:
    """One entry of a table or annotation file."""

    video: str
    path: Path | None = None
    subset: str = ""


def read_inputs(
    words: Sequence[str | Path],
    *,
    videos: Path | None = None,
    rule: Literal["stem", "path"] = "stem",
    subset: Sequence[str] = (),
    shard: str | None = None,
) -> Inputs:
    """The videos that the words of a command line mean.

    Args:
        words: Files; folders, searched for videos; globs; .csv and .tsv tables with a column for the path, the id or
            both, and optionally the subset; annotation files (.json) by the ids in them; "-": paths on standard
            input, one a line (or ended by NUL, as find -print0 writes them).
        videos: Folder in which ids without a path are looked for, by stem or path, and from which a table's relative
            paths count; the table's own folder if None.
        rule: What a video is called that no table names; see `assign_ids`.
        subset: Only these splits of tables and annotation files.
        shard: "2/8": the second of eight parts; see `in_shard`.

    Raises:
        TalError: no videos, a word that means nothing, one id for two files, or no such subset.
    """
    named: list[_Named] = []
    plain: list[Path] = []
    roots: list[Path] = []
    repeated = 0
    for word in words:
        entries, paths = _of_word(str(word), videos, rule)
        named += entries
        plain += paths
        roots.append(Path(word))
    named = _of_subsets(named, subset)
    found, missing = _resolved(named, videos)
    folders: dict[Path, Path] = {}
    taken = {resolved(path, folders) for path in found.values()}
    listed: dict[Path, Path] = {}
    for path in plain:
        whole = resolved(path, folders)
        repeated += whole in listed or whole in taken
        if whole not in taken:
            listed.setdefault(whole, path)
    for video, path in assign_ids(list(listed.values()), roots, rule).items():
        if video in found:
            raise _clash(video, found[video], path)
        missing.pop(video, None)
        found[video] = path
    if not found and not missing:
        raise TalError(
            "no videos in " + (", ".join(map(str, words)) or "an empty list of inputs"),
            expected="files ending in " + " ".join(sorted(SUFFIXES)),
            todo="name the files one by one if their suffix is another",
        )
    inputs = Inputs(videos=found, missing=missing, repeated=repeated)
    return inputs if shard is None else in_shard(inputs, shard)


def in_shard(inputs: Inputs, shard: str) -> Inputs:
    """The part of the inputs that one of several jobs does.

    A video's part depends on its id alone, so that further videos move none from one job to another.

    Args:
        inputs: All of them.
        shard: "i/n", i from 1 to n.

    Raises:
        ConfigError: no such part.
    """
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(
            f"--shard {shard}", expected="i/n with i from 1 to n, as 3/8", todo="number the jobs of an array from 1 on"
        )

    def mine(video: str) -> bool:
        digest = hashlib.sha256(video.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % int(count) == int(number) - 1

    return Inputs(
        videos={video: path for video, path in inputs.videos.items() if mine(video)},
        missing={video: reason for video, reason in inputs.missing.items() if mine(video)},
        repeated=inputs.repeated,
    )


def _of_word(word: str, videos: Path | None, rule: str) -> tuple[list[_Named], list[Path]]:
    """(entries of a table or annotation file, plain paths) that one word means."""
    if word == "-":
        return [], list(_listed(sys.stdin.buffer.read()))
    path = Path(word)
    if path.suffix.lower() in _TABLES and path.is_file():
        return _of_table(path, videos, rule), []
    if path.suffix.lower() in _ANNOTATIONS and path.is_file():
        return _of_annotations(path), []
    if not path.exists() and glob.has_magic(word):
        found = [Path(each) for each in sorted(glob.glob(word, recursive=True))]
        if not found:
            raise TalError(f"{word}: nothing has such a name")
        return [], [each for path in found for each in (_in_folder(path) if path.is_dir() else [path])]
    return [], _in_folder(path) if path.is_dir() else list_videos([path])


def _in_folder(folder: Path) -> list[Path]:
    try:
        return list_videos([folder])
    except TalError:
        return []  # other inputs may have videos; that none has is told at the end


def _listed(data: bytes) -> Iterator[Path]:
    """Paths on standard input. A file that is not there is taken, and fails by itself."""
    for line in data.split(b"\0" if b"\0" in data else b"\n"):
        name = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if name.strip():
            yield Path(name)


def _of_table(path: Path, videos: Path | None, rule: str) -> list[_Named]:
    """Rows of a table with a header line; a row without an id is called as `rule` says."""
    text = files.to_text(files.read_bytes(path), path)
    delimiter = max(",;\t", key=text.splitlines()[0].count)
    rows = list(csv.reader(io.StringIO(text, newline=None), delimiter=delimiter))
    header = [cell.strip().lower().replace("-", "_").replace(" ", "_") for cell in rows[0]]
    columns = {
        name: next((header.index(alias) for alias in aliases if alias in header), None)
        for name, aliases in (("path", _PATHS), ("video", _IDS), ("subset", _SUBSETS))
    }
    if columns["path"] is None and columns["video"] is None:
        raise AnnotationError(
            f"{path}: no column for the videos; the header has {', '.join(header)!r:.200}",
            expected=f"a column {', '.join(_PATHS)}, or one with ids: {', '.join(_IDS)}",
        )
    entries: dict[tuple[str, str], _Named] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise AnnotationError(f"{path}: row {number} has {len(cells)} cells, the header {len(header)}")
        values = {name: "" if at is None else cells[at].strip() for name, at in columns.items()}
        file, video = values["path"], values["video"]
        if not file and Path(video).suffix.lower() in SUFFIXES:
            file, video = video, ""
        if not file and not video:
            raise AnnotationError(f"{path}: row {number} has neither a path nor an id")
        video = video or (Path(file).stem if rule == "stem" else file)
        whole = (videos or path.parent) / file if file else None
        entries.setdefault((video, file), _Named(video=video, path=whole, subset=values["subset"]))
    return list(entries.values())


def _of_annotations(path: Path) -> list[_Named]:
    """The videos of an annotation file, by their ids, and by their paths where it has them."""
    annotations = parse_annotations(files.read_bytes(path), path)
    return [
        _Named(video=video, path=path.parent / record.path if record.path else None, subset=record.subset)
        for video, record in annotations.videos.items()
    ]


def _of_subsets(named: list[_Named], subset: Sequence[str]) -> list[_Named]:
    wanted = {name.lower() for name in subset}
    there = {each.subset.lower() for each in named}
    if wanted - there:
        raise ConfigError(
            f"no video is in subset {', '.join(sorted(wanted - there))}",
            expected=f"among {', '.join(sorted(there - {''})) or 'none: no table or annotation file names subsets'}",
        )
    return [each for each in named if not wanted or each.subset.lower() in wanted]


def _resolved(named: Sequence[_Named], videos: Path | None) -> tuple[dict[str, Path], dict[str, str]]:
    """(id -> file, id -> why there is none) of a table's or annotation file's entries."""
    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    by_name = _names_below(videos) if videos is not None else {}
    for entry in named:
        path, reason = _file_of(entry, by_name, videos)
        known = found.get(entry.video)
        if path is None:
            missing[entry.video] = reason
        elif known is not None and known.resolve() != path.resolve():
            raise _clash(entry.video, known, path)
        else:
            found[entry.video] = path
    return found, {video: reason for video, reason in missing.items() if video not in found}


def _names_below(folder: Path) -> dict[str, list[Path]]:
    """Every name that a video file below the folder may go by -> the files."""
    if not folder.is_dir():
        raise ConfigError(f"--videos {folder}", expected="a folder with videos")
    by_name: dict[str, list[Path]] = {}
    for path in _in_folder(folder):
        inside = path.relative_to(folder)
        for name in {path.stem, inside.as_posix(), inside.with_suffix("").as_posix()}:
            by_name.setdefault(name, []).append(path)
    return by_name


def _file_of(entry: _Named, by_name: Mapping[str, list[Path]], videos: Path | None) -> tuple[Path | None, str]:
    """The entry's file, or why there is none."""
    if entry.path is not None and entry.path.exists():
        return entry.path, ""
    # ActivityNet's ids lack the "v_" that its files begin with.
    files_there = by_name.get(entry.video) or by_name.get(f"v_{entry.video}") or []
    if len(files_there) > 1:
        raise TalError(
            f"{entry.video}: {len(files_there)} files have this name: {', '.join(map(str, files_there[:4]))}",
            expected="one file per id",
            todo="write paths below the folder as ids, or keep one of them in it",
        )
    if files_there:
        return files_there[0], ""
    if entry.path is not None:
        return None, f"{entry.path}: no such file"
    where = f"below {videos}" if videos is not None else "is given: say where the videos are with --videos FOLDER"
    return None, f"no file of this name {where}"


def _clash(video: str, first: Path, second: Path) -> TalError:
    return TalError(
        f"video id {video!r} belongs to more than one file: {first}, {second}",
        expected="one file per id",
        todo="use --id path, or give each file its own id in a table",
    )
