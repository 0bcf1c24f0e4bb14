"""Records of a store: what stands in its json files, and how they are called."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from tal.errors import FeatureError
from tal.features.files import read_json
from tal.features.fingerprint import Fingerprint
from tal.version import STORE_SCHEMA
from tal.video.ids import safe_name

FAILED = ".failed.json"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{5,180}")  # shorter ones may be names that are reserved
_AGAIN = "run tal extract again, which makes this video's features anew"
_RECORD_KEYS = {"id", "grid", "duration_s", "source", "array"}
_FAILURE_KEYS = {"id", "stage", "error", "attempts", "source"}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video whose features could not be made.

    Args:
        video: The id.
        stage: "open", "probe", "decode", "network", "store".
        error: One line.
        attempts: How often it was tried.
        source: Path and fingerprint of the file, where it could be read at all.
    """

    video: str
    stage: str
    error: str
    attempts: int = 1
    source: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """What is written."""
        values = asdict(self)
        return {"schema": STORE_SCHEMA, "id": values.pop("video"), **values}


def file_stem(video: str) -> str:
    """The id's file name without suffix; never that of the spec, nor, having no dot, of another video's failure."""
    if _PLAIN.fullmatch(video):
        return video
    name = safe_name(video).replace(".", "%2E")
    return f"%{ord(name[0]):02X}{name[1:]}" if name.lower() == "spec" else name


def video_of(stem: str) -> str | None:
    """The inverse of `file_stem`, without looking into the file; None for a long id, of which the name keeps a hash."""
    if "~~" in stem:  # a tilde of an id is encoded
        return None
    if "%" not in stem:
        return stem
    return unquote_to_bytes(stem.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def read_record(path: Path) -> dict[str, Any] | None:
    """A finished video's record; None if there is none.

    Raises:
        FeatureError: a damaged one.
    """
    return _whole(read_json(path, todo=_AGAIN), path, _RECORD_KEYS)


def read_failure(path: Path) -> Failure | None:
    """A recorded failure; None if there is none.

    Raises:
        FeatureError: a damaged one.
    """
    values = _whole(read_json(path, todo=_AGAIN), path, _FAILURE_KEYS)
    if values is None:
        return None
    return Failure(video=values["id"], **{key: values[key] for key in ("stage", "error", "attempts", "source")})


def is_of(source: Mapping[str, Any], path: Path, *, touched: bool) -> bool | None:
    """Whether what `source` tells was made from the file that is at `path` now; None where it cannot be told.

    Args:
        source: Of a record or failure.
        path: The file.
        touched: Whether a file that was only copied or touched counts as the same.
    """
    try:
        known = Fingerprint.from_dict(source)
        return known.matches(path) if touched else known.unchanged(path)
    except (OSError, KeyError):
        return None


def same_source(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two sources are one file's content."""
    return all(before.get(key) == after.get(key) for key in ("size", "edges_hash"))


def _whole(values: dict[str, Any] | None, path: Path, keys: set[str]) -> dict[str, Any] | None:
    if values is not None and not (keys <= set(values) and isinstance(values["source"], Mapping)):
        raise FeatureError(f"{path} is damaged: it holds {sorted(values)}", expected=f"{sorted(keys)}", todo=_AGAIN)
    return values
