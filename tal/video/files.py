"""Which files of what the user named are videos, and which can be none."""

import stat
from collections.abc import Sequence
from pathlib import Path

from tal.errors import TalError, VideoError

_CONTAINERS = "3gp asf avi divx flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv h264 hevc"
SUFFIXES = frozenset(f".{name}" for name in _CONTAINERS.split())


def list_videos(inputs: Sequence[Path | str]) -> list[Path]:
    """The videos among files and folders.

    Args:
        inputs: A file is taken whatever its name, so that a wrong one is reported where it fails; a folder gives
            every file below it that has a video's suffix, sorted, without hidden ones.

    Returns:
        Paths as given or below the given folders, each file once.

    Raises:
        TalError: an input that does not exist, or no video at all.
    """
    found: dict[Path, Path] = {}
    folders: dict[Path, Path] = {}
    for item in map(Path, inputs):
        if item.is_dir():
            paths = sorted(path for path in item.rglob("*") if _looks_like_video(path, item))
        elif item.exists():
            paths = [item]
        else:
            raise TalError(f"{item}: no such file or folder", todo="check the path; the shell expands * only unquoted")
        for path in paths:
            found.setdefault(resolved(path, folders), path)
    if not found:
        raise TalError(
            "no videos in " + (", ".join(map(str, inputs)) or "an empty list of inputs"),
            expected="files ending in " + " ".join(sorted(SUFFIXES)),
            todo="name the files one by one if their suffix is another",
        )
    return list(found.values())


def resolved(path: Path, folders: dict[Path, Path]) -> Path:
    """`path.resolve()` for one of many files, with one look at each folder.

    Args:
        path: A file.
        folders: What was found out before; filled here.
    """
    if path.name in ("", "..") or path.is_symlink():
        return path.resolve()
    if path.parent not in folders:
        folders[path.parent] = path.parent.resolve()
    return folders[path.parent] / path.name


def _looks_like_video(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def check_file(path: Path) -> None:
    """Refuse what is no file that can be read to its end, without waiting for it.

    Raises:
        VideoError: stage "open", with the reason and what to do.
    """
    todo = "check the path"
    try:
        status = path.stat()
    except FileNotFoundError:
        raise VideoError(path, "open", "no such file", todo=todo) from None
    except (OSError, ValueError) as error:
        raise VideoError(path, "open", str(error), cause="a name or place that cannot be read", todo=todo) from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(path, "open", "a folder, not a file", todo="name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "open", "not a regular file", todo="copy its content to a file first")
    if status.st_size == 0:
        cause = "an interrupted download or copy"
        raise VideoError(path, "open", "the file is empty (0 bytes)", cause=cause, todo="copy or download it again")
    try:
        path.open("rb").close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise VideoError(path, "open", reason, cause="the file's permissions", todo="make it readable") from error
