"""Which files of what the user named are videos."""

from collections.abc import Sequence
from pathlib import Path

from tal.errors import TalError

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
    for item in map(Path, inputs):
        if item.is_dir():
            paths = sorted(path for path in item.rglob("*") if _looks_like_video(path, item))
        elif item.exists():
            paths = [item]
        else:
            raise TalError(f"{item}: no such file or folder", todo="check the path; the shell expands * only unquoted")
        for path in paths:
            found.setdefault(path.resolve(), path)
    if not found:
        raise TalError(
            "no videos in " + (", ".join(map(str, inputs)) or "an empty list of inputs"),
            expected="files ending in " + " ".join(sorted(SUFFIXES)),
            todo="name the files one by one if their suffix is another",
        )
    return list(found.values())


def _looks_like_video(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
