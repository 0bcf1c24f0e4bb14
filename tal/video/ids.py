"""Video ids: from file to id, and from id to a name that any file system takes."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import quote_from_bytes

from tal.errors import TalError, unknown_name

_LONGEST = 180
_SAFE = "_- ()[]{},;=@#&+!'"
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789")}


def assign_ids(
    paths: Sequence[Path], roots: Sequence[Path] = (), rule: Literal["stem", "path"] = "stem"
) -> dict[str, Path]:
    """An id for every file.

    Args:
        paths: Video files.
        roots: What the user named: folders, or the files themselves. With "path" an id is relative to the innermost
            of these folders that holds the file, and is the bare name for a file that was named itself.
        rule: "stem", the file's name without suffix, as annotations use it; or "path", the relative path with suffix
            and "/" between its parts.

    Returns:
        id -> path, in the order of `paths`.

    Raises:
        TalError: two files with one id; they are listed.
    """
    if rule not in ("stem", "path"):
        raise unknown_name("id rule", rule, ("stem", "path"))
    owners: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        video = path.stem if rule == "stem" else _relative(path, roots)
        owners.setdefault(video, []).append(path)
    clashes = {video: files for video, files in owners.items() if len(files) > 1}
    if clashes:
        rows = [f"\n  {video}: " + ", ".join(map(str, files)) for video, files in clashes.items()]
        raise TalError(
            f"{len(clashes)} video ids belong to more than one file:" + "".join(rows),
            expected="one file per id",
            todo="use --id path" if rule == "stem" else "name one folder that holds them all, or rename the files",
        )
    return {video: files[0] for video, files in owners.items()}


def _relative(path: Path, roots: Sequence[Path]) -> str:
    whole = path.resolve()
    folders = [root for root in (Path(each).resolve() for each in roots) if root != whole and root in whole.parents]
    if not folders:
        return path.name
    return whole.relative_to(max(folders, key=lambda folder: len(folder.parts))).as_posix()


def safe_name(video: str, *, dots: bool = False) -> str:
    """A file name, without suffix, for an id: percent-encoded, at most 180 bytes, different for different ids.

    Letters of every script, digits and common punctuation stay as they are. What a file system could take for a folder,
    a device, a hidden file or another file of the same store is encoded: separators, control characters, blanks at
    the ends, every dot (so that id "a.failed" does not share a file with id "a"), Windows' reserved names. A longer
    name becomes its beginning, two tildes and a hash of the id. The id itself stands in the json beside the features.

    Args:
        video: The id.
        dots: Keep all dots but a leading one, for files that players look for by the video's name, such as subtitles.

    Raises:
        TalError: an empty id.
    """
    if not video:
        raise TalError("an empty video id", expected="at least one character")
    name = "".join("." if dots and position and each == "." else _encoded(each) for position, each in enumerate(video))
    if name[0] == " ":
        name = "%20" + name[1:]
    if name[-1] == " ":
        name = name[:-1] + "%20"
    if name.partition(".")[0].lower() in _RESERVED:  # Windows takes "nul.x" for the device too
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name.encode()) <= _LONGEST:
        return name
    digest = sha256(video.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    head = name.encode()[: _LONGEST - len(digest) - 2].decode(errors="ignore")
    return f"{head}~~{digest}"


def _encoded(character: str) -> str:
    if character.isascii():
        return character if character.isalnum() or character in _SAFE else f"%{ord(character):02X}"
    if character.isprintable() and not 0xD800 <= ord(character) <= 0xDFFF:
        return character
    return quote_from_bytes(character.encode("utf-8", "surrogatepass"))
